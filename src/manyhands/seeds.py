"""Private streams of random numbers: one for each (seed, node, purpose), whatever the other nodes draw."""

import hashlib

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray


def entropy(*keys: int | str) -> int:
    """A 128-bit number that depends on every key and on their order, the same on every machine."""
    text = "\x1f".join([f"{type(key).__name__}:{key}" for key in keys])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")


def stream(*keys: int | str) -> np.random.Generator:
    """A generator of its own for these keys, e.g. ``stream(seed, rank, "order", 3)``."""
    return np.random.Generator(np.random.Philox(_Key(entropy(*keys))))  # type: ignore[arg-type]


class _Key(ISeedSequence):
    """What Philox is given for its key, as ``Philox(key=…)`` is, but for a seed of the system's that takes as long."""

    def __init__(self, key: int) -> None:
        self._key = key

    def generate_state(self, n_words: int, dtype: object = np.uint32) -> NDArray[np.uint64]:
        """The key, in two words of 64 bits."""
        return np.array([self._key & (2**64 - 1), self._key >> 64], dtype=np.uint64)
