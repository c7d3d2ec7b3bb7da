"""Who takes part in a round."""

from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from manyhands import seeds
from manyhands.errors import RunError, UserError
from manyhands.strategies.availability import Trace
from manyhands.values import Family, Value

if TYPE_CHECKING:
    from manyhands.clusters.node import Node


@dataclass(frozen=True)
class Cohort(Value):
    """How a server chooses the clients of a round."""

    clocked: ClassVar[bool] = False
    """whether it depends on what the cluster's clock shows"""

    def check(self, size: int, workers: int) -> None:
        """Raise UserError if so many clients can never be chosen of so many."""

    async def choose(self, node: "Node", size: int, number: int) -> list[int]:
        """The ranks of at most ``size`` clients for round ``number``, ascending."""
        raise NotImplementedError


COHORTS: Family[Cohort] = Family("cohort", Cohort)


@COHORTS.register("uniform")
@dataclass(frozen=True)
class Uniform(Cohort):
    """Uniformly at random, none twice."""

    async def choose(self, node: "Node", size: int, number: int) -> list[int]:
        return node.choose(node.workers, size, "cohort", number)


@COHORTS.register("weighted")
@dataclass(frozen=True)
class Weighted(Cohort):
    """At random, who holds more samples more probably, none twice.

    It goes with ``aggregation=uniform``: a mean that is weighted by samples would count them a second time. Li et al.
    2020, On the Convergence of FedAvg on Non-IID Data, https://arxiv.org/abs/1907.02189, has it with replacement
    (scheme I); without, those with most samples are chosen somewhat less often than in proportion.
    """

    async def choose(self, node: "Node", size: int, number: int) -> list[int]:
        samples = np.array([node.samples_of(worker) for worker in node.workers], dtype=np.float64)
        return node.choose(node.workers, size, "cohort", number, shares=(samples / samples.sum()).tolist())


@dataclass(frozen=True)
class _Clocked(Cohort):
    """Uniformly among those who are available now, or all of them if they are fewer.

    If nobody is, the server waits until somebody is.
    """

    clocked = True

    def there(self, node: "Node", now: float) -> list[int]:
        """Who is available at a time, in seconds on the cluster's clock."""
        raise NotImplementedError

    def wait(self, node: "Node", now: float) -> float:
        """In how many seconds somebody is, where nobody is now; infinity if nobody ever will be."""
        raise NotImplementedError

    async def choose(self, node: "Node", size: int, number: int) -> list[int]:
        while not (there := self.there(node, now := await node.now())):
            wait = self.wait(node, now)
            if wait == inf:
                raise RunError(
                    f"cohort {self}: nobody is available after {now:g} s, when round {number} is to begin; "
                    "a period would let the trace begin again"
                )
            await node.sleep(max(wait, 1e-6))  # or rounding could make it a wait for nothing
        return node.choose(there, min(size, len(there)), "cohort", number)


@COHORTS.register("available")
@dataclass(frozen=True)
class Available(_Clocked):
    """Uniformly among those whom a file says to be available now.

    The file has the intervals of each client, in seconds on the cluster's clock, such as those that phones were
    charging and idle in (Yang et al. 2021, https://arxiv.org/abs/2006.06983): JSON, ``{"0": [[0, 3600]], "1": []}``,
    or CSV with the columns ``client,start,end``.
    """

    file: str
    period: float = 0.0
    """seconds after which it begins again; 0: it does not"""

    def __post_init__(self) -> None:
        if not 0 <= self.period < inf:
            raise UserError(f"the period must be a number of seconds, zero or more and finite, not {self.period}")

    @cached_property
    def trace(self) -> Trace:
        return Trace.read(self.file, self.period)

    def check(self, size: int, workers: int) -> None:
        if missing := set(range(workers)) - self.trace.named:
            raise UserError(
                f"availability trace '{self.file}' has no client {min(missing)}: it must name all of 0 … {workers - 1}"
            )
        if size > (most := self.trace.first(workers).most):
            raise UserError(
                f"a round chooses {size} clients, but in availability trace '{self.file}' there are never more than "
                f"{most} at once: lower --strategy.fraction"
            )

    def there(self, node: "Node", now: float) -> list[int]:
        return self.trace.first(len(node.workers)).at(now)

    def wait(self, node: "Node", now: float) -> float:
        return self.trace.first(len(node.workers)).wait(now)


@COHORTS.register("diurnal")
@dataclass(frozen=True)
class Diurnal(_Clocked):
    """Uniformly among those who are available now: each a share of every period, beginning at a time of its own.

    Like devices all over the world that take part at night, as in Eichner et al. 2019, Semi-Cyclic Stochastic Gradient
    Descent, https://arxiv.org/abs/1904.10120. When each begins is drawn from the run's seed.
    """

    period: float
    """seconds"""
    share: float
    """of the period, above 0 and up to 1"""

    def __post_init__(self) -> None:
        if not 0 < self.period < inf:
            raise UserError(f"the period must be a positive number of seconds, not {self.period}")
        if not 0 < self.share <= 1:
            raise UserError(f"the share must lie in (0, 1], not {self.share}")

    def there(self, node: "Node", now: float) -> list[int]:
        there: list[int] = np.flatnonzero(self._positions(node, now) < self.share).tolist()
        return there

    def wait(self, node: "Node", now: float) -> float:
        return float((1 - self._positions(node, now)).min()) * self.period

    def _positions(self, node: "Node", now: float) -> NDArray[np.float64]:
        """How much of each client's own period is over, 0 to 1 [workers]."""
        phases = seeds.stream(node.seed, "availability").random(len(node.workers))
        return (now / self.period + phases) % 1.0
