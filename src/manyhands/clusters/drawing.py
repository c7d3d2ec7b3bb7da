"""What a node draws: batches of its samples, and lots."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from manyhands import seeds
from manyhands.training.plan import Plan
from manyhands.training.sampler import Batch, Sampler


class Drawing:
    """The part of `manyhands.clusters.node.Node` that draws."""

    seed: int
    plan: Plan
    sampler: Sampler | None

    def next_batch(self, step: int = 0) -> Batch:
        """The next batch of the endless stream of this worker's samples."""
        assert self.sampler is not None, "servers hold no samples"
        number = self.sampler.drawn
        ends_epoch = (step + 1) % self.plan.steps_per_epoch == 0
        return Batch(self.sampler.next_batch(), number, step, ends_epoch)

    def local_batches(self, epochs: int, steps: int = 0) -> list[Batch]:
        """The batches of so many whole passes over this worker's samples; or ``steps`` of the endless stream."""
        assert self.sampler is not None, "servers hold no samples"
        if steps:
            return [self.next_batch() for _ in range(steps)]
        batches = []
        for _ in range(epochs):
            number = self.sampler.drawn
            batches += [Batch(indices, number + i) for i, indices in enumerate(self.sampler.one_pass())]
        return batches

    def whole_batch(self) -> Batch:
        """All of this worker's samples in one batch."""
        assert self.sampler is not None, "servers hold no samples"
        number = self.sampler.drawn
        return Batch(np.concatenate(self.sampler.one_pass()), number)

    def batch_of(self, inputs: Tensor, targets: Tensor, number: int) -> Batch:
        """A batch of samples that were sent: inputs [b, …], targets int64 [b]; ``number`` is its sender's count."""
        return Batch(np.empty(0, dtype=np.int64), number, tensors=(inputs, targets))

    def choose(
        self, candidates: Sequence[int], size: int, *purpose: int | str, shares: Sequence[float] | None = None
    ) -> list[int]:
        """``size`` of the candidates, without replacement, in ascending order; the same at every node.

        ``shares``: the probability of each candidate to be drawn first, adding up to 1; uniform by default.
        """
        chosen = seeds.stream(self.seed, *purpose).choice(len(candidates), size, replace=False, p=shares)
        return [candidates[i] for i in sorted(chosen.tolist())]
