"""What a person sees while runs go on, on standard error: live bars in a terminal, else a line for each run."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from manyhands.errors import RunError
from manyhands.report.numbers import count, duration, percent
from manyhands.report.replies import counted
from manyhands.runs.recorder import Observer
from manyhands.runs.specification import Specification


class Watcher:
    """Follows the histories of runs; this one shows nothing."""

    @contextmanager
    def run(self, label: str, specification: Specification) -> Iterator[Observer | None]:
        """Show one run while it goes on; gives the observer that is to be told of its rows."""
        yield None


class Lines(Watcher):
    """A line at the end of each run, for logs."""

    def __init__(self, console: Console, runs: int) -> None:
        self._console, self._runs, self._done = console, runs, 0

    @contextmanager
    def run(self, label: str, specification: Specification) -> Iterator[Observer | None]:
        rows: list[dict[str, Any]] = []
        outcome, start = "stopped", time.monotonic()
        try:
            yield rows.append
            outcome = f"test accuracy {percent(rows[-1]['test_accuracy'])}{_skipped(rows[-1])}"
        except RunError as error:
            outcome = f"failed: {error}"
            raise
        finally:
            self._done += 1
            text = f"{self._done}/{self._runs} {label}: {outcome} ({time.monotonic() - start:.0f} s)"
            self._console.print(Text(text), soft_wrap=True)


class Bars(Watcher):
    """A live bar for each run."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    @contextmanager
    def run(self, label: str, specification: Specification) -> Iterator[Observer | None]:
        bar = self._progress.add_task(label, total=specification.total, state="")

        def observe(row: dict[str, Any]) -> None:
            state = f"{percent(row['test_accuracy'], 1)} at {duration(row['seconds'])}{_skipped(row)}"
            self._progress.update(bar, completed=row["completed"], state=state)

        try:
            yield observe
        except RunError:
            self._progress.update(bar, state="failed")
            raise
        finally:
            self._progress.stop_task(bar)


def _skipped(row: dict[str, Any]) -> str:
    """How many rounds a federated run has skipped, if any."""
    skipped = counted(row).get("skipped")
    return f", {count(skipped, 'round')} skipped" if skipped else ""


@contextmanager
def watching(runs: int, *, silent: bool) -> Iterator[Watcher]:
    """Follow so many runs in the way that suits where standard error leads to."""
    console = Console(stderr=True)
    if silent:
        yield Watcher()
    elif not console.is_terminal:
        yield Lines(console, runs) if runs > 1 else Watcher()
    else:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            yield Bars(progress)


@contextmanager
def counting(things: int, what: str, *, silent: bool) -> Iterator[Callable[[object], None]]:
    """One bar for many quick things, in a terminal; gives a function to be told of each before it is done."""
    console = Console(stderr=True)
    if silent or not console.is_terminal:
        yield lambda thing: None
        return
    columns = (BarColumn(bar_width=16), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as progress:
        bar, begun = progress.add_task(what, total=things), itertools.count()
        yield lambda thing: progress.update(bar, completed=next(begun), description=f"{what}: {thing}")
