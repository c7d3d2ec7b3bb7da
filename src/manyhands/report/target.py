"""How soon strategies that count rounds were first that accurate: in rounds, in seconds of the clock, in bytes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from manyhands.report import numbers
from manyhands.report.figure import Table as PageTable
from manyhands.report.series import Series
from manyhands.report.tables import Row
from manyhands.report.times import goal
from manyhands.runs.files import Json
from manyhands.runs.reading import RunView
from manyhands.statistics import Estimate

if TYPE_CHECKING:
    from rich.table import Table

HEADER = ("Strategy", "Rounds", "Time", "Bytes sent")


@dataclass(frozen=True, kw_only=True)
class Reach:
    """One series: means over its seeds, None unless each of them reached the target."""

    series: Series
    rounds: Estimate | None
    seconds: Estimate | None
    bytes: Estimate | None
    why: str
    """what is said where there are no rounds"""

    @property
    def texts(self) -> tuple[str, ...]:
        """A cell for each of `HEADER`."""
        told = numbers.general(self.rounds) if self.rounds else self.why
        if self.rounds and self.rounds.half:
            told += f" ±\u00a0{self.rounds.half:,.3g}"
        return self.series.label, told, numbers.duration(self.seconds), numbers.size(self.bytes)


@dataclass(frozen=True, kw_only=True)
class Reached:
    """The table of one task and clock."""

    task: str
    clock: str
    target: float
    lines: tuple[Reach, ...]
    header = HEADER

    @property
    def caption(self) -> str:
        return f"Rounds to {goal(self.target)}, {self.task}, {self.clock} clock"

    @property
    def words(self) -> str:
        """What the numbers are, in sentences."""
        return (
            f"Of each run the first evaluation with a test accuracy of {goal(self.target)} or more: the rounds done by "
            f"then, the seconds of the {self.clock} clock, and the bytes that all nodes had sent, servers included. "
            "With several seeds: mean ± 95 % interval, where all of them reached it."
        )

    @property
    def rows(self) -> list[tuple[str, ...]]:
        return [line.texts for line in self.lines]

    def as_table(self, key: str) -> PageTable:
        """For the page and for files."""
        return PageTable(key=key, title=self.caption, words=self.words, header=self.header, rows=self.rows)

    def to_json(self) -> dict[str, Any]:
        """For programs: each quantity as {"mean", "half", "n"}, null where the target was not reached."""
        return {
            "task": self.task,
            "clock": self.clock,
            "target": self.target,
            "series": [
                {
                    "series": line.series.label,
                    "strategy": line.series.strategy,
                    "rounds": line.rounds and asdict(line.rounds),
                    "seconds": line.seconds and asdict(line.seconds),
                    "bytes": line.bytes and asdict(line.bytes),
                }
                for line in self.lines
            ],
        }


def rounds_tables(rows: Sequence[Row], target: float | None) -> list[Reached]:
    """A table for each task and clock with runs whose length was given in rounds; none without a target."""
    if target is None:
        return []
    counted = [row.series for row in rows if row.series.runs[0].specification.get("rounds") is not None]
    keys = dict.fromkeys((series.task, series.clock) for series in counted)
    return [
        Reached(
            task=task,
            clock=clock,
            target=target,
            lines=tuple(_reach(series, target) for series in counted if (series.task, series.clock) == (task, clock)),
        )
        for task, clock in keys
    ]


def terminal_rounds(table: Reached) -> "Table":
    """The table for ``rich.print``."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    title = Text(table.caption)
    shown = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, title_justify="left")
    for place, name in enumerate(table.header):
        shown.add_column(name.lower(), justify="right" if place else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*map(Text, row))
    return shown


def _reach(series: Series, target: float) -> Reach:
    def quantity(name: str) -> Estimate | None:
        return series.estimate(lambda run: _at(run, target, name)) if series.finished else None

    known = [run for run in series.runs if _at(run, target, "completed") is not None]
    why = f"{len(known)} of {len(series.runs)} seeds" if known else "not reached"
    if not series.finished:
        why = next(run.status for run in series.runs if not run.finished)
    return Reach(
        series=series,
        rounds=quantity("completed"),
        seconds=quantity("seconds"),
        bytes=quantity("bytes"),
        why=why,
    )


def _at(run: RunView, target: float, name: str) -> float | None:
    """A quantity of the history's first row that is so accurate."""
    row: Json = next((row for row in run.history if (row["test_accuracy"] or 0.0) >= target), {})
    value = row.get(name)
    return value if isinstance(value, int | float) else None
