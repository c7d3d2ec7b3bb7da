"""How far the workers of a parameter server may drift apart."""

from dataclasses import dataclass
from math import inf

from manyhands.errors import UserError
from manyhands.values import Family, Value


@dataclass(frozen=True)
class Consistency(Value):
    """A worker's step number is its *clock*; an update of the weights makes a new *version* of them."""

    @property
    def slack(self) -> float:
        """How many clocks a worker may be ahead of the slowest."""
        raise NotImplementedError

    @property
    def waits(self) -> bool:
        """Whether an update is made of the gradients of all workers at one clock, instead of each by itself."""
        return self.slack < inf


CONSISTENCIES: Family[Consistency] = Family("consistency", Consistency)


@CONSISTENCIES.register("sync")
@dataclass(frozen=True)
class Sync(Consistency):
    """All workers compute at the same weights."""

    slack = 0


@CONSISTENCIES.register("async")
@dataclass(frozen=True)
class Async(Consistency):
    """Nobody waits for anybody."""

    slack = inf


@CONSISTENCIES.register("ssp")
@dataclass(frozen=True)
class StaleSynchronous(Consistency):
    """The fastest worker may be ``bound`` clocks ahead of the slowest; with 0 it is sync.

    Ho et al. 2013, https://papers.nips.cc/paper/4894, with the whole clocks of Li et al. 2014's bounded delay: an
    update holds all workers' gradients of a clock, so that the equality with sync holds for every optimiser.
    """

    bound: int

    def __post_init__(self) -> None:
        if self.bound < 0:
            raise UserError(f"the staleness bound must be zero or more, not {self.bound}")

    @property
    def slack(self) -> float:
        return self.bound
