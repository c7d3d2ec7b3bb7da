from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.errors import UserError
from manyhands.tasks.datasets.cifar import read_records


@given(seed=st.integers(0, 999), size=st.integers(1, 4), label_bytes=st.integers(1, 2))
@settings(deadline=None, max_examples=25)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, seed: int, size: int, label_bytes: int) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (size, 3, 32, 32), np.uint8)
    labels = rng.integers(0, 100, (size, label_bytes), np.uint8)
    path = tmp_path_factory.mktemp("cifar") / "batch.bin"
    path.write_bytes(b"".join(bytes(label) + image.tobytes() for label, image in zip(labels, images, strict=True)))
    read_images, read_labels = read_records(path, label_bytes)
    assert read_images.dtype == read_labels.dtype == np.uint8
    assert (read_images == images).all()
    assert (read_labels == labels[:, -1]).all()


@pytest.mark.parametrize("size", [0, 1, 3072, 3074])
def test_a_wrong_size(tmp_path: Path, size: int) -> None:
    path = tmp_path / "batch.bin"
    path.write_bytes(bytes(size))
    with pytest.raises(UserError, match=r"batch\.bin holds .* bytes, not a whole number of records of 3,073"):
        read_records(path, 1)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*: No such file"):
        read_records(tmp_path / "none.bin", 1)
