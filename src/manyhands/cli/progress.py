"""What a person sees while something goes on, on standard error: bars in a terminal; in a log a line for each run."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from manyhands import terminal
from manyhands.errors import RunError
from manyhands.measure.results import Say
from manyhands.report.numbers import count, duration, percent
from manyhands.report.replies import counted
from manyhands.runs.recorder import Observer, Row
from manyhands.runs.specification import Specification
from manyhands.terminal import Bar, Gauge


class Watcher:
    """Follows one run after another: each has a bar of its own; several have one together, and a line at their ends."""

    def __init__(self, runs: int, whole: Bar) -> None:
        self._runs, self._done, self._line = runs, 0, Bar("", None, "")
        whole.follow(lambda: (self._done + self._line.share) / runs)

    @contextmanager
    def run(self, label: str, specification: Specification) -> Iterator[Observer]:
        """Show one run while it goes on; gives the observer that is to be told of its rows."""
        outcome, start = "stopped", time.monotonic()
        with terminal.bar(label, specification.total, f"{specification.strategy.unit}s") as self._line:
            observer = _OfRun(self._line)
            try:
                yield observer
                outcome = observer.outcome
            except RunError as error:
                outcome = f"failed: {error}"
                raise
            finally:
                self._done, self._line = self._done + 1, Bar("", None, "")
                if self._runs > 1:
                    terminal.tell(f"{self._done}/{self._runs} {label}: {outcome} ({time.monotonic() - start:.0f} s)")


class _OfRun:
    """Moves a run's bar: between evaluations by the training's own gauge."""

    def __init__(self, line: Bar) -> None:
        self._line, self.outcome = line, ""

    def __call__(self, row: Row) -> None:
        skipped = _skipped(row)
        self.outcome = f"test accuracy {percent(row['test_accuracy'])}{skipped}"
        state = f"{percent(row['test_accuracy'], 1)} at {duration(row['seconds'])}{skipped}"
        self._line.move(row["completed"], state=state)

    def follow(self, progress: Gauge) -> None:
        self._line.follow(progress)


def _skipped(row: Row) -> str:
    """How many rounds a federated run has skipped, if any."""
    skipped = counted(row).get("skipped")
    return f", {count(skipped, 'round')} skipped" if skipped else ""


@contextmanager
def watching(runs: int) -> Iterator[Watcher]:
    """Follow so many runs."""
    with terminal.bar("all", runs, "runs") if runs > 1 else nullcontext(Bar("", runs, "runs")) as whole:
        yield Watcher(runs, whole)


@contextmanager
def counting(things: int, what: str, unit: str = "") -> Iterator[Callable[[object], None]]:
    """One bar for many things; gives a function to be told of each before it is done."""
    with terminal.bar(what, things, unit) as line:
        begun = -1

        def begin(thing: object) -> None:
            nonlocal begun
            begun += 1
            line.move(begun, state=str(thing))

        yield begin


class Saying(Say):
    """Shows on a bar what a benchmark measures."""

    def __init__(self, line: Bar) -> None:
        self._line, self._begun = line, -1

    def expect(self, things: int) -> None:
        self._line.move(total=(self._line.total or 0) + things)

    def __call__(self, words: str) -> None:
        self._begun += 1
        self._line.move(self._begun, state=words)
