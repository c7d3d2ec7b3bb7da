"""A share of a processor's core, as Linux's control groups hand it out: a quota in each period."""

from collections.abc import Sequence
from math import ceil, floor

PERIOD_NS = 10_000_000
"""of the quota, here and on emulated hosts: kernels with 250 ticks a second do not keep shorter ones"""


class Quota:
    """One node's time on its core: ``share`` of every period, as soon as it can use it, then nothing until the next.

    This is CFS bandwidth control (Turner, Rao & Rao 2010, "CPU bandwidth control for CFS", Linux Symposium) without
    bursts: what is not used in a period is lost. A node that comes back from a wait therefore finds a whole quota and
    is fast for a moment; one that computes on and on gets its share of the core, exactly.

    phase: where in its period the node begins, 0 to 1. A share of 1 or more is the whole core.
    warm_up: of the quota, what is lost when the node begins to compute in a period, as caches are cold (ns).
    """

    def __init__(self, share: float, phase: float = 0.0, warm_up: int = 0) -> None:
        self._quota = min(PERIOD_NS, max(1, round(share * PERIOD_NS)))
        self._offset = round(phase * PERIOD_NS) % PERIOD_NS
        self._warm_up = min(warm_up, self._quota // 2)
        self.used = (-1, 0, -1)
        """the last period in which it ran, how much of its quota is gone (ns), and the last in which it computed"""

    def until(self, now: int, share: float) -> int:
        """Until when (ns) something can go on that needs a share of the core, before the quota or the period ends."""
        period, into = divmod(now + self._offset, PERIOD_NS)
        return now + min(floor((self._quota - self._gone(period)) / share), PERIOD_NS - into)

    def _gone(self, period: int) -> int:
        return self.used[1] if self.used[0] == period else 0

    def run(self, start: int, work: int, share: float = 1.0) -> int:
        """The time (ns) at which so much work is done that begins at a time (ns) and needs a share of the core while it
        goes on: by itself it takes ``work`` (ns), and it stands still while the quota is used up.

        What begins in a period that is over already, because something else was asked for first, leaves no trace.
        """
        if self._quota == PERIOD_NS or (start + self._offset) // PERIOD_NS < self.used[0]:
            return start + work
        warm_up = self._warm_up if share == 1.0 else 0
        each = min(PERIOD_NS, floor((self._quota - warm_up) / share))  # of the work, in a whole period
        now, left = start, work
        while left:
            period, into = divmod(now + self._offset, PERIOD_NS)
            gone, warm = self._gone(period), self.used[2]
            if share == 1.0 and warm != period:
                lost = min(warm_up, self._quota - gone, PERIOD_NS - into)
                now, into, gone, warm = now + lost, into + lost, gone + lost, period
            ran = min(left, floor((self._quota - gone) / share), PERIOD_NS - into)
            self.used = period, gone + ceil(ran * share), warm
            left -= ran
            if not left:
                return now + ran
            whole = (left - 1) // each  # periods that are used up after this one
            now, left = now - into + (1 + whole) * PERIOD_NS, left - whole * each
        return now


def together(quotas: Sequence[Quota], start: int, work: int, share: float) -> int:
    """When work is done (ns) in which all take part at once, each with a share of its core: it stands still while any
    has used up its quota."""
    now, left = start, work
    while left:
        # Each goes on from the other's stop: a nanosecond at least, so that it comes to an end.
        stops = [quota.until(now, share) for quota in quotas]
        ran = min(left, max(1, min(stops) - now))
        end = max([quota.run(now, ran, share) for quota in quotas])
        now, left = end, left - ran
    return now
