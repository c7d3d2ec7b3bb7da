"""The page, the pictures and the terminal's tables of a benchmark: of its ``result.json`` and nothing else."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from manyhands.errors import UserError
from manyhands.report.bench_charts import cell_text
from manyhands.report.figure import Figure
from manyhands.report.figure import Table as PageTable
from manyhands.runs.files import Json, read_record

if TYPE_CHECKING:
    from rich.table import Table

RESULT = "result.json"
PAGE = "report.html"


@dataclass(frozen=True, kw_only=True)
class BenchView:
    """A benchmark's folder as it is on disk now; ``record`` is its result.json."""

    folder: Path
    record: Json

    @classmethod
    def read(cls, folder: Path) -> "BenchView":
        """Raises UserError where result.json is missing, damaged or of a newer format."""
        file = folder / RESULT
        record = read_record(
            file, "benchmark", ("kind", "title", "conditions", "tables", "sentences", "notes", "status")
        )
        try:
            for table in record["tables"]:
                keys = {
                    column["key"] for column in table["columns"] if isinstance(column["heading"] + column["unit"], str)
                }
                whole = isinstance(table["key"] + table["title"] + table["words"], str)
                if not whole or not all(set(row) <= keys for row in table["rows"]):
                    raise ValueError
            for text in (*record["sentences"], *record["notes"], *record["conditions"].values()):
                if not isinstance(text, str):
                    raise ValueError
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UserError(f"{file} is damaged: its tables must have columns, and rows of these") from None
        return cls(folder=folder, record=record)

    @property
    def tables(self) -> list[Json]:
        """Those that have rows, with the columns that have a value in any of them."""
        return [_filled(table) for table in self.record["tables"] if table["rows"]]

    def table(self, key: str) -> Json | None:
        """One of them by its key."""
        return next((table for table in self.tables if table["key"] == key), None)


def _filled(table: Json) -> Json:
    known = {key for row in table["rows"] for key, cell in row.items() if cell is not None}
    return {**table, "columns": [column for column in table["columns"] if column["key"] in known]}


def is_bench(folder: Path) -> bool:
    """Whether a folder is a benchmark's."""
    return (folder / RESULT).is_file()


def write_bench(
    folder: Path, page: Path | None = None, *, figures: bool = True, tables: bool = False
) -> tuple[Path, dict[str, list[Path]]]:
    """Write the page of a benchmark's folder, by default ``report.html`` in it; returns it and all other files.

    ``figures``: also ``figures/*.png|svg`` beside it. ``tables``: also ``tables/*.md|tex``, where the benchmark itself
    writes its CSV.
    """
    from manyhands.report.bench_figures import bench_figures
    from manyhands.report.export import files_of, write_texts
    from manyhands.report.figures import write_charts
    from manyhands.report.page import write_html

    view = BenchView.read(folder)
    page = page or folder / PAGE
    sections = bench_figures(view.tables)
    files: dict[str, list[Path]] = {"figures": [], "tables": []}
    if figures:
        drawn = [figure for group in sections.values() for figure in group]
        files["figures"] = write_charts(drawn, page.parent / "figures")
    if tables:
        texts = files_of([_as_table(table) for table in view.tables])
        texts = {name: text for name, text in texts.items() if not name.endswith(".csv")}
        files["tables"] = write_texts(texts, page.parent / "tables")
    return write_html(_render(view, sections), page), files


def _as_table(table: Json) -> PageTable:
    meanings = [f"{column['heading']}: {column['meaning']}." for column in table["columns"] if column.get("meaning")]
    return PageTable(
        key=table["key"],
        title=table["title"],
        words=" ".join(filter(None, [table["words"], *meanings])),
        header=[column["heading"] for column in table["columns"]],
        rows=[
            [cell_text(row.get(column["key"]), column["unit"]) for column in table["columns"]] for row in table["rows"]
        ],
    )


def _render(view: BenchView, sections: dict[str, list[Figure]]) -> str:
    """The page's HTML. ``sections``: the figures by the key of the table that they show."""
    from manyhands.report.page import fill

    record = view.record
    return fill(
        "bench.html.j2",
        [figure for figures in sections.values() for figure in figures],
        title=record["title"],
        kind=f"Benchmark · {record['kind']}",
        facts=[*record["conditions"].items(), *_machine(record)],
        sentences=record["sentences"],
        problems=_problems(record),
        notes=record["notes"],
        tables=view.tables,
        sections=sections,
        text=cell_text,
        command=record.get("command") or "",
    )


def _machine(record: Json) -> list[tuple[str, str]]:
    hardware, versions = _mapping(record.get("hardware")), _mapping(record.get("versions"))
    units = {"cpu": "{}", "cores": "{} cores", "memory_gib": "{} GiB", "accelerator": "{}"}
    machine = ", ".join(form.format(hardware[key]) for key, form in units.items() if hardware.get(key))
    pairs = [("machine", machine), ("versions", ", ".join(f"{name} {text}" for name, text in versions.items()))]
    pairs += [("revision", str(record.get("revision") or "")), ("measured", str(record.get("created") or ""))]
    return [(name, text) for name, text in pairs if text]


def _mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _problems(record: Json) -> list[str]:
    if record["status"] == "finished":
        return []
    error = f": {record['error']}" if record.get("error") else ""
    return [f"This benchmark is {record['status']}{error}. What it had measured until then is shown."]


def terminal_tables(view: BenchView) -> list["Table"]:
    """The tables for ``rich``, with the columns for which a terminal of 80 columns has room."""
    return [_terminal_table(table) for table in view.tables]


def _terminal_table(table: Json) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=Text(table["title"]), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    drawn.title_justify = "left"
    columns = [column for column in table["columns"] if column.get("short")]
    for index, column in enumerate(columns):
        words = all(isinstance(row.get(column["key"]), str) for row in table["rows"])
        justify: Literal["left", "right"] = "left" if index == 0 or words else "right"
        drawn.add_column(column["short"], justify=justify, no_wrap=index > 0, overflow="fold")
    for row in table["rows"]:
        drawn.add_row(*(Text(_short(row.get(column["key"]), column)) for column in columns))
    return drawn


def _short(cell: Any, column: Json) -> str:
    """A cell in a terminal, without its spread where there is no room for it."""
    if isinstance(cell, dict) and not column.get("spread"):
        cell = cell["value"]
    return cell_text(cell, column["unit"])
