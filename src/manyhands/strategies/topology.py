"""Who talks to whom: graphs over the workers, with the weights by which neighbours average."""

from dataclasses import dataclass

from manyhands.errors import UserError
from manyhands.values import Family, Value


@dataclass(frozen=True)
class Topology(Value):
    """An undirected graph over ``size`` workers."""

    def neighbours(self, rank: int, size: int) -> list[int]:
        """The ranks that ``rank`` exchanges weights with, in ascending order, without itself."""
        raise NotImplementedError

    def check(self, size: int) -> None:
        """Raise UserError if the graph makes no sense for so many workers."""
        if size < 1:
            raise UserError(f"topology {self} needs at least one worker, not {size}")

    def mixing(self, rank: int, size: int) -> dict[int, float]:
        """Row ``rank`` of the Metropolis-Hastings matrix: doubly stochastic for every undirected graph.

        w_ij = 1 / (1 + max(degree_i, degree_j)) for neighbours; the rest stays with i itself.
        Xiao & Boyd 2004, Fast linear iterations for distributed averaging,
        https://doi.org/10.1016/j.sysconle.2004.02.022
        """
        mine = self.neighbours(rank, size)
        weights = {other: 1 / (1 + max(len(mine), len(self.neighbours(other, size)))) for other in mine}
        weights[rank] = 1 - sum(weights.values())
        return dict(sorted(weights.items()))


TOPOLOGIES: Family[Topology] = Family("topology", Topology)


@TOPOLOGIES.register("ring")
@dataclass(frozen=True)
class Ring(Topology):
    """Each worker talks to the one before and the one after it."""

    def neighbours(self, rank: int, size: int) -> list[int]:
        return sorted({(rank - 1) % size, (rank + 1) % size} - {rank})


@TOPOLOGIES.register("complete")
@dataclass(frozen=True)
class Complete(Topology):
    """Everybody talks to everybody."""

    def neighbours(self, rank: int, size: int) -> list[int]:
        return [other for other in range(size) if other != rank]


@TOPOLOGIES.register("exponential")
@dataclass(frozen=True)
class Exponential(Topology):
    """Each worker talks to those 1, 2, 4, … places before and after it: log N neighbours, a gap that stays wide.

    The undirected form of the static exponential graph: Ying et al. 2021, https://arxiv.org/abs/2110.13363
    """

    def neighbours(self, rank: int, size: int) -> list[int]:
        hops = [1 << power for power in range(max(1, (size - 1).bit_length()))]
        return sorted({(rank + sign * hop) % size for hop in hops for sign in (-1, 1)} - {rank})
