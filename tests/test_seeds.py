"""Streams of random numbers are those of Philox with the key that their names make."""

import numpy as np
import pytest

from manyhands import seeds


@pytest.mark.parametrize("keys", [(0,), (1, 2, "order", 3), ("a", -5), (2**70, "b")])
def test_a_stream_is_philox_with_its_key(keys: tuple[int | str, ...]) -> None:
    """Whatever is spared in making one: numpy's own way of giving it a key is the measure."""
    expected = np.random.Generator(np.random.Philox(key=seeds.entropy(*keys)))
    stream = seeds.stream(*keys)
    assert stream.integers(2**63, size=50).tolist() == expected.integers(2**63, size=50).tolist()
    assert stream.standard_normal(5).tolist() == expected.standard_normal(5).tolist()
