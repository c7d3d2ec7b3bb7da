"""What all partitions have in common, how they are written, and the plainest of them."""

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from manyhands.errors import UserError
from manyhands.values import Family, Value

if TYPE_CHECKING:
    from torch import Tensor

    from manyhands.tasks.partition.features import FeatureSkew

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Partition(Value):
    """Base of the partitions: a member says who owns each sample, or how the inputs that a worker owns are changed."""

    owns: ClassVar[bool] = True
    """whether it says who owns each sample"""

    @property
    def about(self) -> str:
        """What it does, in a sentence."""
        return inspect.cleandoc(type(self).__doc__ or "").partition("\n")[0].replace("`", "")

    def split(
        self, targets: Indices, workers: int, rng: np.random.Generator, groups: Indices | None = None
    ) -> list[Indices]:
        """Share the samples with classes `targets` (int64 [n]) among `workers`.

        `groups`: the natural group of each sample, int64 [n], where the task has them. Returns each worker's sample
        indices, sorted. Raises UserError where that cannot be done or would leave a worker without samples.
        """
        if workers < 1:
            raise UserError(f"there must be at least 1 worker, not {workers}")
        if workers > len(targets):
            raise UserError(f"{workers:,} workers cannot share {len(targets):,} samples: at most one worker a sample")
        owners = self._owners_by(groups, np.asarray(targets, np.int64), workers, rng)
        sizes = np.bincount(owners, minlength=workers)
        if not sizes.all():
            raise UserError(
                f"partition '{self}' leaves worker {int(sizes.argmin())} of {workers:,} without samples: "
                "use fewer workers or more samples"
            )
        return np.split(np.argsort(owners, kind="stable"), np.cumsum(sizes)[:-1])

    def _owners_by(self, groups: Indices | None, targets: Indices, workers: int, rng: np.random.Generator) -> Indices:
        """As `_owners`, for those that go by the samples' natural groups."""
        return self._owners(targets, workers, rng)

    def _owners(self, targets: Indices, workers: int, rng: np.random.Generator) -> Indices:
        """The worker of each sample, int64 [n]."""
        raise NotImplementedError

    @property
    def skews(self) -> "tuple[FeatureSkew, ...]":
        """How the inputs that a worker owns are changed, in this order; of most partitions nothing is."""
        return ()

    def check_inputs(self, inputs: "Tensor") -> None:
        """Raise UserError if inputs of this type and shape, [n, …], cannot be changed as the partition says."""
        for skew in self.skews:
            skew.check(inputs)


class _Partitions(Family[Partition]):
    """A text may join several members: ``dirichlet:0.3+noise:0.1``."""

    def parse(self, text: str) -> Partition:
        # Not every + joins: there is 1e+5, and a file may be called a+b.npy.
        parts = [super(_Partitions, self).parse(part) for part in re.split(r"\+(?=\s*[a-z][a-z-]*\s*(?:[:+]|$))", text)]
        if len(parts) == 1:
            return parts[0]
        try:
            return Mixed(tuple(parts))
        except UserError as error:
            raise UserError(f"{self.title} '{text}': {error}") from None

    def usage(self) -> str:
        return f"{super().usage()}; or one joined with feature skews, e.g. dirichlet:0.3+noise:0.1"

    def _usage(self, member: type[Partition]) -> str:
        optional = [f"[:{field.name.upper()}]" for field in fields(member) if field.default == ""]
        return "".join([super()._usage(member), *optional])


PARTITIONS: Family[Partition] = _Partitions("partition", Partition)


@dataclass(frozen=True)
class Mixed(Partition):
    """Several at once: one says who owns each sample, the others change the inputs, in the order written."""

    parts: tuple[Partition, ...]

    name = "mixed"

    def __post_init__(self) -> None:
        owners = [part for part in self.parts if part.owns]
        if len(owners) > 1:
            raise UserError(
                f"both {owners[0]} and {owners[1]} say who holds which samples: keep one, and join it with "
                "noise:SIGMA or rotation:DEGREES alone"
            )

    def __str__(self) -> str:
        return "+".join(map(str, self.parts))

    @property
    def about(self) -> str:
        return " ".join(part.about for part in self.parts)

    def _owners_by(self, groups: Indices | None, targets: Indices, workers: int, rng: np.random.Generator) -> Indices:
        part = next((part for part in self.parts if part.owns), self.parts[0])
        return part._owners_by(groups, targets, workers, rng)

    @property
    def skews(self) -> "tuple[FeatureSkew, ...]":
        return tuple(skew for part in self.parts for skew in part.skews)


@PARTITIONS.register("iid")
@dataclass(frozen=True)
class Iid(Partition):
    """Uniformly at random; sizes differ by at most one."""

    def _owners(self, targets: Indices, workers: int, rng: np.random.Generator) -> Indices:
        return rng.permutation(len(targets)) % workers


@dataclass(frozen=True)
class Concentrated(Partition):
    """Base of those that draw shares from a symmetric Dirichlet distribution."""

    alpha: float
    """Concentration: towards 0 each class or worker is on its own, towards infinity all are alike."""
    least: int = 1
    """Samples that every worker holds at least."""

    def __post_init__(self) -> None:
        if not 1e-9 <= self.alpha <= 1e9:
            raise UserError(f"alpha must be positive, from 1e-9 to 1e9, not {self.alpha:g}")
        if self.least < 1:
            raise UserError(f"least must be at least 1, not {self.least}")

    def _check_least(self, samples: int, workers: int) -> None:
        if workers * self.least > samples:
            raise UserError(
                f"{workers:,} workers with at least {self.least:,} samples each need more than the "
                f"{samples:,} there are: use fewer workers or least={samples // workers}"
            )


def class_counts(parts: Sequence[Indices], targets: Indices, classes: int) -> list[list[int]]:
    """Samples of each class at each worker: ``counts[worker][class]``."""
    return [np.bincount(targets[part], minlength=classes).tolist() for part in parts]


def largest_remainders(
    weights: NDArray[np.int64] | NDArray[np.float64], total: int, rng: np.random.Generator | None = None
) -> Indices:
    """`total` shared out in proportion to the weights (not negative, [k]) in whole numbers, int64 [k].

    Hamilton's method: quotas are cut, and what is left over goes to those of whom most was cut; among equals to the
    first, or with `rng` to any.
    """
    whole, cut = np.divmod(weights * total, weights.sum())
    sizes: Indices = whole.astype(np.int64)
    ties = np.arange(len(sizes)) if rng is None else rng.permutation(len(sizes))
    sizes[np.lexsort((ties, -cut))[: total - int(sizes.sum())]] += 1
    return sizes
