"""What a terminal shows while a run goes on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from manyhands.runs.specification import Specification

console = Console()
"""for what a person reads"""


class Watcher:
    """Shows the rows of the histories of one or more runs as they come; silent where nobody looks."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress

    @contextmanager
    def run(self, label: str, specification: Specification) -> "Iterator[Any]":
        """Show one run; gives the observer to hand to it."""
        if self._progress is None:
            yield None
            return
        progress = self._progress
        bar = progress.add_task(label, total=specification.total, status="starts")

        def observe(row: dict[str, Any]) -> None:
            status = f"{row['test_accuracy']:6.1%}  {row['seconds']:.1f} s on its clock"
            progress.update(bar, completed=row["completed"], status=status)

        yield observe
        progress.update(bar, refresh=True)


@contextmanager
def watching(quiet: bool) -> Iterator[Watcher]:
    """Live progress bars, if the output is a terminal and not to be quiet."""
    if quiet or not console.is_terminal:
        yield Watcher(None)
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as progress:
        yield Watcher(progress)
