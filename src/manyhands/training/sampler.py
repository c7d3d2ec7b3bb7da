"""In which order a worker goes through its own samples."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from manyhands import seeds


@dataclass(frozen=True, eq=False)
class Batch:
    """Which samples to compute on; the images themselves are fetched where the computation takes place."""

    indices: np.ndarray
    """int64 [b]: positions in the task's training set"""
    number: int
    """how many batches this worker drew before: the key of the batch's random augmentation"""
    step: int = 0
    """the global step, from 0, where the strategy counts steps"""
    ends_epoch: bool = False
    tensors: tuple[Tensor, Tensor] | None = None
    """the samples themselves, where they were sent: inputs [b, …], targets int64 [b]"""
    part: int = 0
    """which of the micro-batches of a larger batch, from 0"""

    def __len__(self) -> int:
        return len(self.indices if self.tensors is None else self.tensors[1])


def micro_sizes(samples: int, micro_batch: int | None) -> list[int]:
    """How a batch is cut into micro-batches, computed one after another: full ones, then the rest; None is no limit."""
    if micro_batch is None or samples <= micro_batch:
        return [samples]
    full, rest = divmod(samples, micro_batch)
    return [micro_batch] * full + [rest] * (rest > 0)


class Sampler:
    """An endless stream of a worker's samples: one fresh permutation after another, each from its own seed.

    Permutation p depends on (seed, rank, p) alone, so three integers are its whole state.
    """

    def __init__(self, samples: np.ndarray, batch_size: int, seed: int, rank: int) -> None:
        self.samples = samples
        self.batch_size = min(batch_size, len(samples))
        self.seed, self.rank = seed, rank
        self.passes = 0
        """permutations begun"""
        self.offset = len(samples)
        """samples used up of the present permutation"""
        self.drawn = 0
        """batches drawn"""
        self._order: np.ndarray | None = None

    def next_batch(self) -> np.ndarray:
        """The next ``batch_size`` samples of the stream; a batch may span two permutations."""
        indices = self._take(self.batch_size)
        if len(indices) < self.batch_size:
            indices = np.concatenate([indices, self._take(self.batch_size - len(indices))])
        self.drawn += 1
        return indices

    def one_pass(self) -> list[np.ndarray]:
        """One fresh permutation, cut into batches; the last may be smaller."""
        self.offset = len(self.samples)
        order = self._take(len(self.samples))
        batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
        self.drawn += len(batches)
        return batches

    def _take(self, count: int) -> np.ndarray:
        if self.offset == len(self.samples):
            self.passes, self.offset, self._order = self.passes + 1, 0, None
        if self._order is None:
            self._order = seeds.stream(self.seed, self.rank, "order", self.passes).permutation(self.samples)
        taken = self._order[self.offset : self.offset + count]
        self.offset += len(taken)
        if self.offset == len(self.samples):
            self._order = None  # used up: of thousands of clients most have nothing to do for a while
        return taken

    def state(self) -> dict[str, int]:
        return {"passes": self.passes, "offset": self.offset, "drawn": self.drawn}

    def restore(self, state: dict[str, int]) -> None:
        self.passes, self.offset, self.drawn = state["passes"], state["offset"], state["drawn"]
        self._order = None
