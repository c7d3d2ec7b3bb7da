"""Private streams of random numbers: one for each (seed, node, purpose), whatever the other nodes draw."""

import hashlib

import numpy as np


def entropy(*keys: int | str) -> int:
    """A 128-bit number that depends on every key and on their order, the same on every machine."""
    text = "\x1f".join(f"{type(key).__name__}:{key}" for key in keys)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")


def stream(*keys: int | str) -> np.random.Generator:
    """A generator of its own for these keys, e.g. ``stream(seed, rank, "order", 3)``."""
    return np.random.Generator(np.random.Philox(key=entropy(*keys)))
