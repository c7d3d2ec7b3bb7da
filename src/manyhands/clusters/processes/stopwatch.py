"""The clock of a real run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from manyhands.clusters.processes.counters import Meter


class Stopwatch:
    """Real time in nanoseconds: the run's own, without the pauses in which it is measured and saved, and all of it.

    ``meter``: counts bytes while the run's own time goes on.
    """

    def __init__(self, meter: Meter | None = None) -> None:
        self._meter = meter
        self._origin, self._pauses = time.perf_counter_ns(), 0
        self._stopped: int | None = None

    def now(self) -> int:
        """The run's own time."""
        return (self.wall() if self._stopped is None else self._stopped) - self._pauses

    def wall(self) -> int:
        """The time with all pauses."""
        return time.perf_counter_ns() - self._origin

    @property
    def origin(self) -> int:
        """When `wall` was zero, on the machine's monotonic clock, which all its processes share."""
        return self._origin

    @property
    def stopped(self) -> bool:
        return self._stopped is not None

    def start(self, now: int = 0, wall: int = 0) -> None:
        """Begin, or go on from these times."""
        self._origin = time.perf_counter_ns() - wall
        self._pauses = wall - now
        if self._meter:
            self._meter.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._stopped = self.wall()
        if self._meter:
            self._meter.stop()
        yield
        if self._meter:
            self._meter.start()
        self._pauses += self.wall() - self._stopped
        self._stopped = None
