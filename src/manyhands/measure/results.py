"""What a benchmark leaves on disk: numbers with their spread, in tables that state their units and formulas.

A folder holds ``result.json``, with everything, and ``tables/NAME.csv``. Trainings of the benchmark are ordinary run
folders in ``runs/``. Pictures and the page are made of ``result.json`` by `manyhands.report`.
"""

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from typing import Any

from manyhands.errors import UserError
from manyhands.runs.environment import hardware, revision, versions
from manyhands.runs.folder import FORMAT, RunFolder, disk_errors
from manyhands.statistics import estimate

RESULT = "result.json"
TABLES = "tables"
RUNS = "runs"


class Say:
    """Is told of a benchmark while it goes on. This one keeps it to itself."""

    def expect(self, things: int) -> None:
        """So many more things will be measured, which take about as long as each other."""

    def __call__(self, words: str) -> None:
        """One of them begins; ``words`` say which."""


@dataclass(frozen=True)
class Spread:
    """A value of ``n`` repeats and the ends of its spread: what these are, the column says."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The median of the repeats, with their lower and upper quartile."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        low, middle, high = quantiles(values, n=4, method="inclusive")
        return cls(middle, low, high, len(values))

    @classmethod
    def of_mean(cls, values: Iterable[float | None]) -> "Spread | None":
        """The mean over seeds with the ends of its 95 % interval (`estimate`), which a single seed has not."""
        found = estimate(values)
        if found is None:
            return None
        half = found.half or 0.0
        return cls(found.mean, found.mean - half, found.mean + half, found.n)

    def map(self, function: Callable[[float], float]) -> "Spread":
        """The same of a monotonous function of the value; one that falls exchanges the ends."""
        low, high = sorted((function(self.low), function(self.high)))
        return Spread(function(self.value), low, high, self.n)


def percent(share: float, decimals: int = 0, sign: str = "") -> str:
    """``0.123`` as ``12 %``, the space one that does not break."""
    return f"{100 * share:{sign}.{decimals}f}\u00a0%"


Cell = Spread | float | int | str | None
Row = Mapping[str, Cell]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One quantity. ``unit`` is ``s``, ``B``, ``B/s``, ``1/s``, ``FLOP/s``, ``share``, ``×`` or empty."""

    key: str
    heading: str
    short: str = ""
    """the heading in a terminal, where there are 80 columns in all; empty for what has no room there"""
    spread: bool = False
    """whether the spread is shown in a terminal too"""
    unit: str = ""
    meaning: str = ""
    """with the formula"""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells by column key; ``words`` say what the table shows."""

    key: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    words: str = ""

    def __post_init__(self) -> None:
        known = {column.key for column in self.columns}
        assert all(row.keys() <= known for row in self.rows), (self.key, known)

    def to_json(self) -> dict[str, Any]:
        rows = [
            {key: asdict(cell) if isinstance(cell, Spread) else cell for key, cell in row.items()} for row in self.rows
        ]
        columns = [asdict(column) for column in self.columns]
        return {"key": self.key, "title": self.title, "words": self.words, "columns": columns, "rows": rows}

    def to_csv(self) -> str:
        """A column for each, with its unit; where a cell has a spread, three more: low, high and n."""
        spread = {c.key for c in self.columns if any(isinstance(row.get(c.key), Spread) for row in self.rows)}
        header: list[str] = []
        for column in self.columns:
            unit = f" [{column.unit}]" if column.unit else ""
            header.append(f"{column.key}{unit}")
            if column.key in spread:
                header += [f"{column.key}_low{unit}", f"{column.key}_high{unit}", f"{column.key}_n"]
        box = io.StringIO()
        writer = csv.writer(box, lineterminator="\n")
        writer.writerow(header)
        for row in self.rows:
            cells: list[Any] = []
            for column in self.columns:
                cell = row.get(column.key)
                if column.key not in spread:
                    cells.append(cell)
                elif isinstance(cell, Spread):
                    cells += [cell.value, cell.low, cell.high, cell.n]
                else:
                    cells += [cell, None, None, None]
            writer.writerow(cells)
        return box.getvalue()


@dataclass(kw_only=True)
class Result:
    """A benchmark's outcome. ``conditions`` are what all numbers were measured under, in words by name."""

    kind: str
    title: str
    conditions: Mapping[str, str]
    tables: list[Table] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    """the findings, each in one sentence"""
    notes: list[str] = field(default_factory=list)
    """what to bear in mind when reading the numbers"""

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "title": self.title,
            "conditions": dict(self.conditions),
            "sentences": self.sentences,
            "notes": self.notes,
            "tables": [table.to_json() for table in self.tables],
        }


class BenchFolder:
    """The folder of one benchmark while it is measured: whoever looks sees what has been measured so far."""

    def __init__(self, folder: RunFolder, result: Result) -> None:
        self.path = folder.path
        self.result = result
        self._folder = folder

    def run_path(self, name: str) -> Path:
        """A new place for a training's run folder."""
        return self.path / RUNS / name

    def save(self) -> None:
        """Write what the result has now."""
        self._update(**self.result.to_json())
        with disk_errors(self.path):
            (self.path / TABLES).mkdir(exist_ok=True)
        for table in self.result.tables:
            self._folder.write_bytes(f"{TABLES}/{table.key}.csv", table.to_csv().encode())

    def _update(self, **changes: Any) -> None:
        self._folder.write_json(RESULT, _finite(self._folder.read_json(RESULT) | changes))


@contextmanager
def bench_folder(path: Path, result: Result, command: str) -> Iterator[BenchFolder]:
    """Make the folder of a benchmark, save the result at the end, and note how it ended.

    Raises UserError if the folder holds something already. What could not even begin leaves none behind.
    """
    head = {
        "format": FORMAT,
        "status": "running",
        "error": None,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "versions": versions(),
        "hardware": hardware(),
        "revision": revision(),
    }
    bench = BenchFolder(RunFolder.create(path, {RESULT: head | result.to_json()}), result)
    try:
        yield bench
        bench.save()
    except KeyboardInterrupt:
        bench.save()
        bench._update(status="stopped", error="interrupted")
        raise KeyboardInterrupt(f"what was measured so far is in {path}" if result.tables else "") from None
    except Exception as error:
        if isinstance(error, UserError) and not result.tables:
            bench._folder.discard()
        else:
            bench.save()
            bench._update(status="failed", error=str(error) or type(error).__name__)
        raise
    bench._update(status="finished")


def _finite(value: Any) -> Any:
    """JSON knows no infinities: they become null."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
