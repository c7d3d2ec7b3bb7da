"""The clock of a real run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Real time in nanoseconds, without the pauses in which a run is measured and saved."""

    def __init__(self) -> None:
        self._start = time.perf_counter_ns()
        self._stopped: int | None = None

    def now(self) -> int:
        return time.perf_counter_ns() - self._start if self._stopped is None else self._stopped

    @property
    def stopped(self) -> bool:
        return self._stopped is not None

    def set(self, now: int) -> None:
        self._start = time.perf_counter_ns() - now

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._stopped = self.now()
        yield
        self.set(self._stopped)
        self._stopped = None
