"""Quantity skew: workers hold more or fewer samples than the others, of the same mix."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manyhands.errors import UserError
from manyhands.tasks.partition.base import PARTITIONS, Concentrated, Indices, Partition, largest_remainders


@PARTITIONS.register("portions")
@dataclass(frozen=True)
class Portions(Partition):
    """Uniformly at random, worker i holding the i-th of the given fractions of all samples."""

    fractions: tuple[float, ...]

    def __post_init__(self) -> None:
        if not all(0 < fraction <= 1 for fraction in self.fractions):
            raise UserError(f"fractions must be above 0 and at most 1, not {', '.join(map(str, self.fractions))}")
        if not math.isclose(sum(self.fractions), 1, abs_tol=1e-6):
            raise UserError(f"fractions must add up to 1, not {sum(self.fractions):g}")

    def _owners(self, targets: Indices, workers: int, rng: np.random.Generator) -> Indices:
        if len(self.fractions) != workers:
            raise UserError(
                f"partition '{self}' is for {len(self.fractions)} workers, not {workers:,}: a fraction each"
            )
        cuts = np.rint(np.cumsum(self.fractions[:-1]) * len(targets))
        return np.searchsorted(cuts, rng.permutation(len(targets)), side="right")


@PARTITIONS.register("quantity")
@dataclass(frozen=True)
class Quantity(Concentrated):
    """Sizes are drawn from Dir(alpha), the samples uniformly at random.

    The quantity skew of NIID-Bench, Li et al. 2022 (https://arxiv.org/abs/2102.02079; `iid-diff-quantity` in the
    authors' code). They draw anew until every worker holds ten samples; here one draw is kept, and a worker below
    `least` is topped up from the largest.
    """

    def _owners(self, targets: Indices, workers: int, rng: np.random.Generator) -> Indices:
        self._check_least(len(targets), workers)
        sizes = largest_remainders(rng.dirichlet(np.full(workers, self.alpha)), len(targets))
        for worker in np.flatnonzero(sizes < self.least):
            while sizes[worker] < self.least:
                giver = sizes.argmax()
                moved = max(1, min(self.least - sizes[worker], (sizes[giver] - self.least) // 2))
                sizes[giver] -= moved
                sizes[worker] += moved
        return _dealt(sizes, rng)


@dataclass(frozen=True)
class _ByNumber(Partition):
    """Sizes go by the workers' numbers."""

    def _owners(self, targets: Indices, workers: int, rng: np.random.Generator) -> Indices:
        return _dealt(largest_remainders(self._weights(workers), len(targets)), rng)

    def _weights(self, workers: int) -> NDArray[np.float64]:
        """In proportion to which the workers hold samples, [workers]."""
        raise NotImplementedError


@PARTITIONS.register("linear")
@dataclass(frozen=True)
class Linear(_ByNumber):
    """Sizes are proportional to the worker's number, counted from 1; the samples uniformly at random.

    Flower's LinearPartitioner (Beutel et al. 2020, https://arxiv.org/abs/2007.14390;
    https://flower.ai/docs/datasets/ref-api/flwr_datasets.partitioner.LinearPartitioner.html), which gives all that
    rounding leaves over to the last worker; here those get it of whom most was cut.
    """

    def _weights(self, workers: int) -> NDArray[np.float64]:
        return np.arange(1.0, workers + 1)


@PARTITIONS.register("square")
@dataclass(frozen=True)
class Square(_ByNumber):
    """Sizes are proportional to the square of the worker's number, counted from 1; the samples uniformly at random.

    Flower's SquarePartitioner
    (https://flower.ai/docs/datasets/ref-api/flwr_datasets.partitioner.SquarePartitioner.html), rounded as `linear`.
    """

    def _weights(self, workers: int) -> NDArray[np.float64]:
        return np.arange(1.0, workers + 1) ** 2


@PARTITIONS.register("exponential")
@dataclass(frozen=True)
class Exponential(_ByNumber):
    """Sizes are proportional to e to the power of the worker's number; the samples uniformly at random.

    Flower's ExponentialPartitioner
    (https://flower.ai/docs/datasets/ref-api/flwr_datasets.partitioner.ExponentialPartitioner.html), rounded as
    `linear`. Each worker holds 2.7 times as much as the one before, so that 60,000 samples are
    enough for about eleven.
    """

    def _weights(self, workers: int) -> NDArray[np.float64]:
        powers: NDArray[np.float64] = np.exp(np.arange(1.0 - workers, 1.0))
        return powers  # the last is 1: the exponential of a large number is none


def _dealt(sizes: Indices, rng: np.random.Generator) -> Indices:
    """Owners of samples, each of so many, in random order."""
    return rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
