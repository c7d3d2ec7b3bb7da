"""Time to accuracy: when each strategy was first that accurate, under each condition, on the cluster's clock."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from manyhands.errors import UserError
from manyhands.report import numbers
from manyhands.report.conditions import UNDISTURBED, conditions
from manyhands.report.figure import Table as PageTable
from manyhands.report.series import Series
from manyhands.report.tables import Row
from manyhands.runs.reading import seconds_to_accuracy
from manyhands.statistics import Estimate, estimate

if TYPE_CHECKING:
    from rich.table import Table

_TARGETS = (0.995, 0.99, 0.98, 0.97, 0.95, *(percent / 100 for percent in range(90, 0, -5)))
ALL = "all"  # the one column where no strategy was put under several conditions


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One strategy under one condition. ``factor`` is how many times as long as under the reference it took."""

    text: str  # the seconds, or why there are none
    seconds: Estimate | None
    factor: Estimate | None


@dataclass(frozen=True, kw_only=True)
class Line:
    """One strategy, with a cell for each condition; None where it was not put under it."""

    series: Series
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, kw_only=True)
class Times:
    """The table of one task and clock. ``rule`` says how the target was chosen, ``reference`` is a condition.

    ``baseline`` is set where the conditions are no baseline's; otherwise it has a line like all others.
    """

    task: str
    clock: str
    target: float
    rule: str
    conditions: tuple[str, ...]
    reference: str | None
    lines: tuple[Line, ...]
    baseline: Cell | None

    @property
    def crossed(self) -> bool:
        return self.conditions != (ALL,)

    @property
    def goal(self) -> str:
        return goal(self.target)

    @property
    def words(self) -> str:
        """What the numbers are, in sentences."""
        said = [
            f"Seconds on the {self.clock} clock up to the first evaluation with a test accuracy of {self.goal} or "
            f"more. {self.rule}"
        ]
        if self.reference is not None:
            said.append(f"Below each time: how many times as long as under {self.reference}, seed by seed.")
        if self.baseline is not None:
            said.append(f"The baseline single, one worker with all the data: {self.baseline.text}.")
        return " ".join(said)

    def as_table(self, key: str) -> PageTable:
        """For files: two columns for each condition."""
        names = [name if self.crossed else "Time" for name in self.conditions]
        header = ["Strategy", *(text for name in names for text in (name, *self._factors(name)))]
        rows = [
            [
                line.series.subject if self.crossed else line.series.label,
                *(text for name, cell in zip(names, line.cells, strict=True) for text in self._texts(name, cell)),
            ]
            for line in self.lines
        ]
        title = f"Time to {self.goal}, {self.task}, {self.clock} clock"
        return PageTable(key=key, title=title, words=self.words, header=header, rows=rows)

    def _factors(self, name: str) -> list[str]:
        return [f"{name}: factor"] if self.reference not in (None, name) else []

    def _texts(self, name: str, cell: Cell | None) -> list[str]:
        text, factor = (numbers.NONE, None) if cell is None else (cell.text, cell.factor)
        return [text, *(numbers.times(factor) for _ in self._factors(name))]

    def to_json(self) -> dict[str, Any]:
        """For programs: seconds and factors as {"mean", "half", "n"}, null where the target was not reached."""
        return {
            "task": self.task,
            "clock": self.clock,
            "target": self.target,
            "reference": self.reference,
            "times": [
                {
                    "strategy": line.series.subject,
                    "condition": line.series.condition if not self.crossed else condition,
                    "seconds": cell.seconds and asdict(cell.seconds),
                    "factor": cell.factor and asdict(cell.factor),
                }
                for line in self.lines
                for condition, cell in zip(self.conditions, line.cells, strict=True)
                if cell is not None
            ],
        }


def check_target(target: float | None) -> None:
    """Raise UserError unless it is a share of one, or None."""
    if target is not None and not 0 < target <= 1:
        raise UserError(f"--target is an accuracy above 0 and up to 1, e.g. 0.95 for 95 %, not {target:g}")


def goal(target: float) -> str:
    """An accuracy as it is spoken of: ``97.5 %``."""
    return f"{100 * target:.4g}\u00a0%"


def times_tables(rows: Sequence[Row], target: float | None = None) -> list[Times]:
    """A table for each task and clock, at the target given; or at `common_target`, where there is one."""
    keys = dict.fromkeys((row.series.task, row.series.clock) for row in rows)
    groups = {key: [row for row in rows if (row.series.task, row.series.clock) == key] for key in keys}
    tables = [_table(*key, group, target) for key, group in groups.items()]
    return [table for table in tables if table is not None]


def common_target(rows: Sequence[Row]) -> float | None:
    """The highest of some round accuracies that half of the series (and two) reached with every seed.

    Where strategies were put under several conditions, half of them under each, so that each can be compared; if there
    is no such accuracy, half of all. What the untrained model reached is no target.
    """
    return _choose(rows)[0]


def _choose(rows: Sequence[Row]) -> tuple[float | None, str]:
    rows = [row for row in rows if row.series.finished]
    names = conditions(rows)
    rivals = [row for row in rows if not row.series.is_baseline]
    groups = [[row for row in rivals if row.series.condition == name] for name in names]
    if names and all(groups) and (target := _highest(groups, least=1)) is not None:
        return target, "It is the highest round accuracy that, under each condition, half of the strategies reached."
    return _highest([rows], least=2), "It is the highest round accuracy that half of all reached."


def _highest(groups: Sequence[Sequence[Row]], least: int) -> float | None:
    """The highest that half of each group reached, and ``least`` of them."""

    def enough(group: Sequence[Row], target: float) -> bool:
        return len(times_to(group, target)) >= max(least, (len(group) + 1) // 2)

    return next((target for target in _TARGETS if all(enough(group, target) for group in groups)), None)


def times_to(rows: Sequence[Row], target: float) -> list[tuple[Row, Estimate]]:
    """The rows that reached the target with every seed, but not untrained, and when."""
    times = ((row, row.series.estimate(lambda run: seconds_to_accuracy(run, target))) for row in rows)
    return [(row, time) for row, time in times if time is not None and time.mean > 0]


def terminal_times(table: Times) -> "Table":
    """The table for ``rich.print``, one column for each condition; in brackets the factors."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    factors = f"; in brackets: how many times as long as {table.reference}" if table.reference else ""
    title = Text(f"Time to {table.goal}, {table.clock} clock{factors}")
    shown = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, title_justify="left")
    shown.add_column("strategy", overflow="fold")
    for name in table.conditions:
        shown.add_column(Text(name.replace(", ", "\n")), justify="right", overflow="fold")
    for line in table.lines:
        texts = [
            numbers.NONE
            if cell is None
            else f"{cell.text} ({numbers.times(cell.factor)})"
            if cell.factor
            else cell.text
            for cell in line.cells
        ]
        shown.add_row(Text(line.series.subject), *(Text(text.replace(" ±", "\n±")) for text in texts))
    return shown


def _table(task: str, clock: str, rows: Sequence[Row], given: float | None) -> Times | None:
    target, rule = (given, "It was asked for.") if given is not None else _choose(rows)
    if target is None:
        return None
    names = conditions(rows)
    singles = [row.series for row in rows if row.series.is_baseline]
    rivals = [row.series for row in rows if not (names and row.series.is_baseline)]
    reference = next((name for name in (UNDISTURBED, *names) if name in names and "slow" not in name), None)
    lines = []
    for subject in dict.fromkeys(one.subject if names else one.label for one in rivals):
        own = {
            one.condition if names else ALL: one for one in rivals if subject == (one.subject if names else one.label)
        }
        cells = [_cell(own.get(name), own.get(reference or ""), target) for name in names or (ALL,)]
        lines.append(Line(series=next(iter(own.values())), cells=tuple(cells)))
    return Times(
        task=task,
        clock=clock,
        target=target,
        rule=rule,
        conditions=names or (ALL,),
        reference=reference,
        lines=tuple(lines),
        baseline=_cell(singles[0], None, target) if len(singles) == 1 and names else None,
    )


def _cell(series: Series | None, reference: Series | None, target: float) -> Cell | None:
    if series is None:
        return None
    seconds = {run.seed: seconds_to_accuracy(run, target) for run in series.runs}
    known = [value for value in seconds.values() if value is not None]
    mean = estimate(known) if series.finished and len(known) == len(seconds) else None
    if mean is not None:
        text = numbers.duration(mean)
    elif not series.finished:
        text = next(run.status for run in series.runs if not run.finished)
    elif all(row["test_accuracy"] is None for run in series.runs for row in run.history):
        text = "not measured"
    elif known:
        text = f"{len(known)} of {len(seconds)} seeds"
    else:
        text = "not reached"
    factor = None
    if mean is not None and reference is not None and reference is not series and reference.finished:
        before = {run.seed: seconds_to_accuracy(run, target) for run in reference.runs}
        pairs = [(seconds[seed], before.get(seed)) for seed in seconds]
        if all(value and usual for value, usual in pairs):
            factor = estimate([value / usual for value, usual in pairs if value and usual])
    return Cell(text=text, seconds=mean, factor=factor)
