"""The summary table: one row per series, its columns written once for the terminal and the page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from manyhands.report import numbers
from manyhands.report.figure import Table as PageTable
from manyhands.report.series import Series, collect_series
from manyhands.runs import reading
from manyhands.runs.reading import RunView
from manyhands.statistics import Estimate

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table; each quantity is a mean over the series' seeds, None where it is not known."""

    series: Series
    accuracy: Estimate | None
    loss: Estimate | None
    seconds: Estimate | None
    speedup: Estimate | None
    efficiency: Estimate | None
    bytes_per_worker: Estimate | None
    in_communication: Estimate | None

    @property
    def status(self) -> str:
        """Empty for finished runs, else how far it came: ``running at epoch 3.0``."""
        run = next((run for run in self.series.runs if not run.finished), None)
        if run is None:
            return ""
        epoch = reading.final(run, "epoch")
        return run.status if epoch is None else f"{run.status} at epoch {epoch:.3g}"


@dataclass(frozen=True)
class Column:
    """A column: ``heading`` on the page, ``short`` in the terminal (to fit 80 columns), ``meaning`` with formula."""

    heading: str
    short: str
    text: Callable[[Row], str]
    meaning: str = ""


COLUMNS = (
    Column("Strategy", "strategy", lambda row: row.series.name),
    Column("Clock", "clock", lambda row: row.series.clock),
    Column("Workers", "work-\ners", lambda row: f"{row.series.workers:,}"),
    Column(
        "Final test accuracy",
        "test\naccuracy",
        lambda row: numbers.percent(row.accuracy),
        "Share of the test samples classified rightly at the last evaluation. It is never the best of "
        "several: the test set selects nothing. With several seeds: mean ± 95 % interval, "
        "t(0.975; n − 1) · s / √n over n seeds, s their standard deviation. "
        "An interval that rounds to zero is not shown.",
    ),
    Column("Test loss", "test\nloss", lambda row: numbers.plain(row.loss)),
    Column(
        "Time",
        "time",
        lambda row: numbers.duration(row.seconds),
        "Time on the cluster's clock up to the last evaluation. A simulated clock follows a model of devices "
        "and network, a real clock is measured. The two are never compared with each other.",
    ),
    Column(
        "Speedup",
        "speed-\nup",
        lambda row: numbers.times(row.speedup),
        "T₁ / Tₙ, the time of the baseline single over that of n workers: on the same clock, for the same "
        "task, at an equal number of epochs.",
    ),
    Column(
        "Efficiency",
        "effi-\nciency",
        lambda row: numbers.percent(row.efficiency, 0),
        "T₁ / (n · Tₙ), the speedup divided by the number of workers; 100 % would be ideal. "
        "A server does not count as a worker.",
    ),
    Column(
        "Bytes per worker",
        "bytes/\nworker",
        lambda row: numbers.size(row.bytes_per_worker),
        "Mean of the bytes each worker sent, as the strategy asks for them (algorithmic bytes: no protocol "
        "headers, no retransmission). 1 MB = 10⁶ bytes.",
    ),
    Column(
        "Time in communication",
        "comm.\ntime",
        lambda row: numbers.percent(row.in_communication, 0),
        "(exposed communication + waiting) / (compute + compression + exposed communication + waiting), summed over "
        "the workers. Communication hidden behind computation costs no time and is left out.",
    ),
)


def summary_rows(runs: Sequence[RunView]) -> list[Row]:
    """One row for each series of the runs."""
    return [_row(series) for series in collect_series(runs)]


def _row(series: Series) -> Row:
    return Row(
        series=series,
        accuracy=series.estimate(lambda run: reading.final(run, "test_accuracy")),
        loss=series.estimate(lambda run: reading.final(run, "test_loss")),
        seconds=series.estimate(reading.seconds),
        speedup=series.against_baseline(reading.speedup),
        efficiency=series.against_baseline(reading.efficiency),
        bytes_per_worker=series.estimate(reading.bytes_per_worker),
        in_communication=series.estimate(
            lambda run: shares.in_communication if (shares := reading.time_shares(run)) else None
        ),
    )


def summary_table(rows: Sequence[Row]) -> PageTable:
    """The table for files; for programs each quantity is three columns: mean, half of its 95 % interval, seeds."""
    quantities = [field.name for field in fields(Row) if field.name != "series"]
    header = ["strategy", "label", "task", "clock", "workers", "partition", "stragglers", "faults"]
    header += [f"{name}{part}" for name in quantities for part in ("", "_half", "_n")]
    plain: list[list[object]] = []
    for row in rows:
        run = row.series.runs[0]
        line: list[object] = [run.strategy, row.series.label, row.series.task, run.clock, run.workers]
        line += [run.partition_text, run.stragglers, run.faults]
        for value in (getattr(row, name) for name in quantities):
            line += [None, None, None] if value is None else [value.mean, value.half, value.n]
        plain.append(line)
    return PageTable(
        key="performance_comparison",
        title="Performance comparison",
        words=" ".join(f"{column.heading}: {column.meaning}" for column in COLUMNS if column.meaning),
        header=[COLUMNS[0].heading, "Details", *(column.heading for column in COLUMNS[1:])],
        rows=[
            [COLUMNS[0].text(row), ", ".join(row.series.details), *(column.text(row) for column in COLUMNS[1:])]
            for row in rows
        ],
        plain=(header, plain),
    )


def terminal_table(rows: Sequence[Row], title: str | None = None) -> "Table":
    """The table for ``rich.print``; names are shown as they are, never read as markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    heading = None if title is None else Text(title)
    table = Table(title=heading, box=box.SIMPLE_HEAD, padding=0, show_edge=False)  # 80 columns are narrow
    for index, column in enumerate(COLUMNS):
        justify: Literal["left", "right"] = "left" if index < 2 else "right"
        table.add_column(column.short, justify=justify, no_wrap=index > 0, overflow="fold")
    for row in rows:
        cells = [Text(column.text(row).replace(" ±", "\n±")) for column in COLUMNS]
        cells[1] = Text(row.series.clock.removesuffix("ulated"))
        if row.status:
            cells[0].append(f" ({row.status})", style="yellow")
        table.add_row(*cells)
    return table
