"""The time of an epoch from a few of its steps: short epochs are rehearsed, and stand for a whole one.

Let T(k) be the time of an epoch of k steps, and c the cycle after which a strategy's steps begin again
(`Strategy.cycle`: 1 for all-reduce, the period of local SGD, log₂ N for one-peer graphs). Of an epoch of S steps two
short ones are rehearsed, of a and b = a + c steps, a ≡ S (mod c):

    T(S) = T(a) + (S - a) / (b - a) · (T(b) - T(a))

What happens once an epoch (averaging at its end, farewells, filling the pipe) is in T(a), and so is counted once. It is
exact where steps repeat, as those of synchronous strategies do without jitter and quotas once they have settled: a
grows until a third epoch, of b + c steps, is as much longer than the second as that is than the first. Asynchronous
strategies settle into a rhythm slowly: they are rehearsed whole, or over some thousand steps of all workers, and the
same line is an approximation. Strategies in rounds are rehearsed whole. The same holds for the seconds on each account,
and for bytes.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands.clusters.cluster import Simulated
from manyhands.clusters.simulated.profile import DeviceProfile
from manyhands.clusters.simulated.rehearsal import Outline, Rehearsal, Subject, rehearse
from manyhands.errors import RunError

_WARM = 3
"""steps after which those of synchronous strategies are first expected to repeat"""
_LONG = 24
"""steps of the longer epoch of others, at least, the shorter one having a third of them"""
_WORK = 12_000
"""steps of all workers together that others are given, and after which a strategy is taken not to settle"""
_SAME = 1e-7
"""relative difference of two steps that is due to rounding to whole nanoseconds"""


class Epoch(NamedTuple):
    """An epoch's seconds, the workers' seconds on each account summed, and the bytes that were sent."""

    seconds: float
    compute: float
    exposed: float
    waiting: float
    compression: float
    worker_bytes: float
    server_bytes: float

    @property
    def in_communication(self) -> float:
        """(exposed + waiting) / (compute + exposed + waiting + compression)"""
        whole = self.compute + self.exposed + self.waiting + self.compression
        return (self.exposed + self.waiting) / whole if whole else 0.0


class Window(NamedTuple):
    """The two short epochs that are rehearsed, in steps; ``first`` is 0 where a whole one is."""

    first: int
    second: int
    exact: bool


@dataclass(eq=False)
class Epochs:
    """An epoch of one training on devices of one profile or another; the profile given here finds what is short."""

    outline: Outline
    subject: Subject
    profile: DeviceProfile

    def __post_init__(self) -> None:
        self._totals: dict[int, NDArray[np.float64]] = {}

    @property
    def steps(self) -> int:
        """In a whole epoch."""
        return self.outline.plan.steps_per_epoch

    def on(self, profile: DeviceProfile) -> Epoch:
        """The mean epoch of the training. Raises RunError for a strategy that looks at values."""
        window = self.window
        if not window.first:
            rehearsal = rehearse(self.outline, profile, self.subject)
            rounds = self.outline.specification.strategy.unit == "round"
            if not rehearsal.samples:
                raise RunError("no client has begun to train when its round is over")
            epochs = rehearsal.samples / len(self.outline.task.train) if rounds else self.outline.specification.total
            return Epoch(*(_totals(self.outline, rehearsal) / epochs).tolist())
        first, second = (self._short(steps, profile) for steps in (window.first, window.second))
        whole = first + (second - first) * ((self.steps - window.first) / (window.second - window.first))
        return Epoch(*(whole / self.outline.specification.total).tolist())

    @cached_property
    def window(self) -> Window:
        specification = self.outline.specification
        cluster, strategy = specification.cluster, specification.strategy
        assert isinstance(cluster, Simulated)
        whole, cycle = Window(0, 0, True), strategy.cycle(specification.size)
        if strategy.unit == "round":
            return whole
        if not strategy.synchronous or cluster.jitter or cluster.cpus:
            long = max(_LONG, _WORK // specification.size)
            first = self._aligned(long // 3, cycle)
            second = first + cycle * math.ceil((long - first) / cycle)
            return Window(first, second, False) if second < self.steps else whole
        first = self._aligned(_WARM, cycle)
        while first + 2 * cycle < self.steps:
            times = [self._short(first + more * cycle, self.profile)[0] for more in range(3)]
            settled = math.isclose(times[2] - times[1], times[1] - times[0], rel_tol=_SAME)
            if settled or first * specification.size > _WORK:
                return Window(first, first + cycle, settled)
            first += cycle * math.ceil(first / cycle)
        return whole

    def _aligned(self, least: int, cycle: int) -> int:
        """At least so many steps, that leave whole cycles of the epoch."""
        return least + (self.steps - least) % cycle

    def _short(self, steps: int, profile: DeviceProfile) -> NDArray[np.float64]:
        """As `Epoch`, of the whole training with so many steps in an epoch."""
        if profile is self.profile and steps in self._totals:
            return self._totals[steps]
        outline = self.outline.shortened(steps)
        totals = _totals(outline, rehearse(outline, profile, self.subject))
        if profile is self.profile:
            self._totals[steps] = totals
        return totals


def _totals(outline: Outline, rehearsal: Rehearsal) -> NDArray[np.float64]:
    """As `Epoch`, of all epochs together."""
    workers = [rehearsal.ledgers[rank] for rank in outline.workers]
    servers = [rehearsal.ledgers[rank] for rank in outline.servers]
    times = [
        sum([getattr(ledger, kind) for ledger in workers]) / 1e9
        for kind in ("compute", "exposed", "waiting", "compression")
    ]
    sent = [sum([ledger.bytes_sent for ledger in nodes]) for nodes in (workers, servers)]
    return np.array([rehearsal.seconds, *times, *sent])
