"""Label skew: workers hold other classes, or other shares of them, than the others."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manyhands.errors import UserError
from manyhands.tasks.partition.base import PARTITIONS, Concentrated, Indices, Partition


@PARTITIONS.register("dirichlet")
@dataclass(frozen=True)
class Dirichlet(Concentrated):
    """Per class: the shares of each class over the workers are drawn from Dir(alpha); sizes differ as well.

    The label skew of Yurochkin et al. 2019 (https://arxiv.org/abs/1905.12022) and of NIID-Bench, Li et al.
    2022 (https://arxiv.org/abs/2102.02079). They draw anew until every worker holds ten samples, which need
    not end. Here one draw is kept; a worker below `least` is topped up with random samples of the largest.
    """

    balanced: bool = False
    """Who holds an even share of all samples gets none of the classes that follow, as in the code of NIID-Bench."""

    def _owners(self, targets: Indices, workers: int, rng: np.random.Generator) -> Indices:
        self._check_least(len(targets), workers)
        owners, sizes = np.empty(len(targets), np.int64), np.zeros(workers, np.int64)
        for label in np.unique(targets):
            samples = rng.permutation(np.flatnonzero(targets == label))
            shares = rng.dirichlet(np.full(workers, self.alpha))
            if self.balanced:
                shares = _of_the_open(shares, sizes * workers < len(targets))
            cuts = (np.cumsum(shares[:-1]) * len(samples)).astype(np.int64)
            owners[samples] = np.searchsorted(cuts, np.arange(len(samples)), side="right")
            sizes += np.bincount(owners[samples], minlength=workers)
        _top_up(owners, workers, self.least, rng)
        return owners


def _of_the_open(shares: NDArray[np.float64], is_open: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The shares of some workers, adding up to one; equal ones where these are too small for a number."""
    left = np.where(is_open, shares, 0.0)
    left = left if left.sum() > 0 else is_open.astype(np.float64)
    left /= left.sum()
    return left


def _top_up(owners: Indices, workers: int, least: int, rng: np.random.Generator) -> None:
    """Hand samples to the workers below `least`, in place, each from the worker that then holds most."""
    sizes = np.bincount(owners, minlength=workers)
    for worker in np.flatnonzero(sizes < least):
        while sizes[worker] < least:
            giver = sizes.argmax()
            owners[rng.choice(np.flatnonzero(owners == giver))] = worker
            sizes[giver] -= 1
            sizes[worker] += 1


@PARTITIONS.register("dirichlet-per-worker")
@dataclass(frozen=True)
class DirichletPerWorker(Concentrated):
    """Per worker: each draws its own shares of the classes from Dir(alpha * prior); sizes are even.

    Hsu, Qi & Brown 2019 (https://arxiv.org/abs/1909.06335), where the prior is the classes' share in all
    samples. A worker that draws a class which is used up draws again; workers are served in random order, for
    the last ones find few classes left.
    """

    def _owners(self, targets: Indices, workers: int, rng: np.random.Generator) -> Indices:
        self._check_least(len(targets), workers)
        _, labels, left = np.unique(targets, return_inverse=True, return_counts=True)
        sizes = np.full(workers, len(targets) // workers)
        sizes[: len(targets) % workers] += 1
        shares = rng.dirichlet(self.alpha * left / len(targets), size=workers)
        drawn = np.zeros((len(left), workers), np.int64)  # samples of a class at a worker
        for worker in rng.permutation(workers):
            drawn[:, worker] = _draw(int(sizes[worker]), shares[worker], left, rng)
            left -= drawn[:, worker]
        owners = np.empty(len(targets), np.int64)
        by_class = rng.permutation(len(targets))
        by_class = by_class[np.argsort(labels[by_class], kind="stable")]
        owners[by_class] = np.repeat(np.tile(np.arange(workers), len(left)), drawn.ravel())
        return owners


def _draw(size: int, shares: NDArray[np.float64], left: Indices, rng: np.random.Generator) -> Indices:
    """Samples of each class in `size` draws by `shares`, those of classes with none left drawn again."""
    drawn = np.zeros_like(left)
    while (missing := size - int(drawn.sum())) > 0:
        open_shares = np.where(drawn < left, shares, 0.0)
        if open_shares.sum() == 0:  # its classes are all used up: the others as they are left
            open_shares = (left - drawn).astype(np.float64)
        drawn += rng.multinomial(missing, open_shares / open_shares.sum())
        np.minimum(drawn, left, out=drawn)
    return drawn


@PARTITIONS.register("shards")
@dataclass(frozen=True)
class Shards(Partition):
    """Sort by class, cut into workers * per_worker shards of equal size, deal them out at random.

    McMahan et al. 2017 (https://arxiv.org/abs/1602.05629) take two.
    """

    per_worker: int

    def __post_init__(self) -> None:
        if self.per_worker < 1:
            raise UserError(f"per_worker must be at least 1, not {self.per_worker}")

    def _owners(self, targets: Indices, workers: int, rng: np.random.Generator) -> Indices:
        shards, samples = workers * self.per_worker, len(targets)
        if shards > samples:
            raise UserError(
                f"{workers:,} workers with {self.per_worker:,} shards each need {shards:,} samples, "
                f"and there are {samples:,}: use fewer workers or shards:{samples // workers}"
            )
        order = rng.permutation(samples)  # which samples of a class meet is chance too
        order = order[np.argsort(targets[order], kind="stable")]
        owners = np.empty(samples, np.int64)
        owners[order] = rng.permutation(shards)[np.arange(samples) * shards // samples] // self.per_worker
        return owners


@PARTITIONS.register("labels")
@dataclass(frozen=True)
class Labels(Partition):
    """Every worker holds exactly `per_worker` classes; a class is shared evenly among its holders.

    "#C = k" of NIID-Bench, Li et al. 2022 (https://arxiv.org/abs/2102.02079). Each worker takes the classes
    with the fewest holders so far, ties broken at random, so that all have equally many, give or take one.
    """

    per_worker: int

    def __post_init__(self) -> None:
        if self.per_worker < 1:
            raise UserError(f"per_worker must be at least 1, not {self.per_worker}")

    def _owners(self, targets: Indices, workers: int, rng: np.random.Generator) -> Indices:
        labels = np.unique(targets)
        if not self.per_worker <= len(labels) <= workers * self.per_worker:
            raise UserError(
                f"{workers:,} workers with {self.per_worker:,} classes each cannot share {len(labels):,} "
                f"classes: use labels:{-(-len(labels) // workers)} to labels:{len(labels)}"
            )
        holders = np.zeros(len(labels), np.int64)
        holds = np.zeros((len(labels), workers), bool)
        for worker in range(workers):
            chosen = np.lexsort((rng.random(len(labels)), holders))[: self.per_worker]
            holders[chosen] += 1
            holds[chosen, worker] = True
        owners = np.empty(len(targets), np.int64)
        for label, held in zip(labels, holds, strict=True):
            samples = rng.permutation(np.flatnonzero(targets == label))
            sharing = rng.permutation(np.flatnonzero(held))
            if len(samples) < len(sharing):
                raise UserError(
                    f"partition '{self}' wants class {label} at {len(sharing):,} of {workers:,} workers, "
                    f"and it has {len(samples):,} samples: use fewer workers"
                )
            owners[samples] = sharing[np.arange(len(samples)) % len(sharing)]
        return owners
