"""What all topologies have in common."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from manyhands.errors import UserError
from manyhands.values import Family, Value

T = TypeVar("T")
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Topology(Value):
    """A graph over ``size`` workers, the same at every one of them. It may change from step to step.

    Answers are kept, as strategies ask in every step: what is returned must not be changed.
    """

    @property
    def directed(self) -> bool:
        """Whether an edge may lead one way only."""
        return False

    def period(self, size: int) -> int:
        """After how many steps the graph repeats; 1 where it never changes."""
        return 1

    def check(self, size: int) -> None:
        """Raise UserError if the graph makes no sense for so many workers, or leaves some of them apart."""
        if size < 1:
            raise UserError(f"topology {self.label} needs at least one worker, not {size}")

    def neighbours(self, rank: int, size: int, step: int = 0) -> list[int]:
        """The workers that ``rank`` sends to, in ascending order, without itself."""
        return self._kept("neighbours", self._neighbours, rank, size, step % self.period(size))

    def sources(self, rank: int, size: int, step: int = 0) -> list[int]:
        """The workers that ``rank`` hears from, in ascending order, without itself."""
        return self._kept("sources", self._sources, rank, size, step % self.period(size))

    def mixing(self, rank: int, size: int, step: int = 0) -> dict[int, float]:
        """How ``rank`` weighs its sources and itself, by rank in ascending order: a row of the mixing matrix W.

        Undirected, these are the Metropolis-Hastings weights, with which W is symmetric and doubly stochastic:
        w_ij = 1 / (1 + max(degree_i, degree_j)) for neighbours, and the rest stays with i itself. Xiao & Boyd 2004,
        Fast linear iterations for distributed averaging, https://doi.org/10.1016/j.sysconle.2004.02.022

        Directed, j shares itself out equally to its d_j neighbours and itself: w_ij = 1 / (1 + d_j), as in push-sum.
        Columns sum to 1; rows do, too, where everybody sends to as many as it hears from.
        """
        return self._kept("mixing", self._mixing, rank, size, step % self.period(size))

    def balanced(self, size: int) -> bool:
        """Whether averaging keeps the mean of all at every step: mixing is doubly stochastic."""
        steps, ranks = range(self.period(size)), range(size)
        return not self.directed or all(
            abs(sum(self.mixing(rank, size, step).values()) - 1) < 1e-9 for step in steps for rank in ranks
        )

    def matrix(self, size: int, step: int = 0) -> Matrix:
        """W, float64 [size, size]: row i holds the weights by which worker i averages."""
        rows = np.zeros((size, size))
        for rank in range(size):
            mixing = self.mixing(rank, size, step)
            rows[rank, list(mixing)] = list(mixing.values())
        return rows

    def spectral_gap(self, size: int) -> float:
        """1 - ρ, where each step shrinks what workers differ by to a share ρ in the long run.

        ρ is the second largest |eigenvalue| of W; of a graph that changes, of the product of W over a period, and of
        this the geometric mean by step. 1: all agree at once; towards 0: they never do. Ying et al. 2021, Exponential
        Graph is Provably Efficient for Decentralized Deep Training, https://arxiv.org/abs/2110.13363

        Takes O(size³) time here, minutes for 10,000 workers; regular graphs know a shorter way.
        """
        period = self.period(size)
        product = reduce(lambda so_far, matrix: matrix @ so_far, (self.matrix(size, step) for step in range(period)))
        symmetric = np.array_equal(product, product.T)
        return gap(np.linalg.eigvalsh(product) if symmetric else np.linalg.eigvals(product), period)

    @property
    def label(self) -> str:
        """The topology's text, shortened to fit into a message."""
        text = str(self)
        return text if len(text) <= 60 else f"{text[:57]}..."

    # ---- what a member says

    def _sends_to(self, rank: int, size: int, phase: int) -> Iterable[int]:
        """The neighbours in any order; they may repeat and contain the worker itself."""
        raise NotImplementedError

    def _hears_from(self, rank: int, size: int, phase: int) -> Iterable[int]:
        return self._sends_to(rank, size, phase)

    # ---- what follows from it, worked out once

    def _neighbours(self, rank: int, size: int, phase: int) -> list[int]:
        return sorted({*self._sends_to(rank, size, phase)} - {rank})

    def _sources(self, rank: int, size: int, phase: int) -> list[int]:
        return sorted({*self._hears_from(rank, size, phase)} - {rank})

    def _mixing(self, rank: int, size: int, phase: int) -> dict[int, float]:
        own = len(self.neighbours(rank, size, phase))
        degrees = {other: len(self.neighbours(other, size, phase)) for other in self.sources(rank, size, phase)}
        if self.directed:
            weights = {other: 1 / (1 + degree) for other, degree in degrees.items()} | {rank: 1 / (1 + own)}
        else:
            weights = {other: 1 / (1 + max(own, degree)) for other, degree in degrees.items()}
            weights[rank] = 1 - sum(weights.values())
        return dict(sorted(weights.items()))

    @cached_property
    def _answers(self) -> dict[tuple[str, int, int, int], Any]:
        return {}

    def _kept(self, kind: str, work_out: Callable[[int, int, int], T], rank: int, size: int, phase: int) -> T:
        key = kind, rank, size, phase
        if key not in self._answers:
            self._answers[key] = work_out(rank, size, phase)
        answer: T = self._answers[key]
        return answer


TOPOLOGIES: Family[Topology] = Family("topology", Topology)


def gap(eigenvalues: NDArray[Any], period: int = 1) -> float:
    """The spectral gap by step, from the eigenvalues of the product of the mixing matrices over a period."""
    sizes = np.sort(np.abs(eigenvalues))
    second = float(sizes[-2]) if len(sizes) > 1 else 0.0
    if second < 1e-9:  # the rounding error of 0, of which a root would make something
        return 1.0
    return max(0.0, 1 - float(second ** (1 / period)))
