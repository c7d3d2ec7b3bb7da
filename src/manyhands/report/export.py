"""The tables of a report as files, for papers, slides and programs: CSV, Markdown, LaTeX; and a summary as JSON."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from manyhands.errors import UserError
from manyhands.report.comparison import comparison_json
from manyhands.report.contents import Contents
from manyhands.report.figure import Table
from manyhands.runs import reading
from manyhands.runs.files import finite
from manyhands.runs.reading import RunView

SUMMARY = "test_summary.json"


def write_tables(contents: Contents, folder: Path) -> list[Path]:
    """Write every table as ``folder/KEY.csv``, ``.md`` and ``.tex``, and ``test_summary.json``; returns the files.

    Among them ``performance_comparison.csv``, a row for each series with all its quantities as plain numbers in SI
    units: mean, half of the 95 % interval, and seeds. ``test_summary.json`` has the final evaluation of each run, and
    who was first and by how much. Raises UserError where the folder cannot be written.
    """
    files = files_of(contents.tables) | {SUMMARY: json.dumps(summary(contents), indent=1) + "\n"}
    return write_texts(files, folder)


def files_of(tables: Sequence[Table]) -> dict[str, str]:
    """The tables by the names of their files."""
    return {f"{table.key}.{ending}": text(table) for table in tables for ending, text in FORMATS.items()}


def write_texts(files: dict[str, str], folder: Path) -> list[Path]:
    """Write texts by name into a folder; raises UserError where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"cannot write into {folder}: {error.strerror}; name another folder") from None
    return [folder / name for name in files]


# ---- one table as text


def to_csv(table: Table) -> str:
    """The plain numbers where there are some, else the cells as they are written."""
    header, rows = table.plain or (table.header, table.rows)
    box = io.StringIO()
    writer = csv.writer(box, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_plain(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return box.getvalue()


def to_markdown(table: Table) -> str:
    """A table of GitHub's Markdown under its title, and what its columns mean."""
    lines = [table.header, ["---", *["---:"] * (len(table.header) - 1)], *table.rows]
    cells = [[cell if place == 1 else _markdown(cell) for cell in line] for place, line in enumerate(lines)]
    drawn = "\n".join(f"| {' | '.join(line)} |" for line in cells)
    return f"**{_markdown(table.title)}**\n\n{drawn}\n\n{_markdown(table.words)}\n"


def to_latex(table: Table) -> str:
    """A table environment for ``\\usepackage{booktabs}``."""
    lines = [" & ".join(map(_latex, line)) + r" \\" for line in (table.header, *table.rows)]
    columns = "l" + "r" * (len(table.header) - 1)
    body = "\n".join([r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"])
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{_latex(table.title)}}}\n\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}\n\\end{{table}}\n"
    )


FORMATS: dict[str, Callable[[Table], str]] = {"csv": to_csv, "md": to_markdown, "tex": to_latex}


def _plain(text: str) -> str:
    return " ".join(text.replace("\u00a0", " ").split())


def _markdown(text: str) -> str:
    """As text: neither a column, nor HTML, nor a link begins in it."""
    for mark in "\\`*_[]|":
        text = text.replace(mark, f"\\{mark}")
    return _plain(text).replace("&", "&amp;").replace("<", "&lt;")


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "×": r"$\times$", "−": "$-$", "·": r"$\cdot$", "–": "--", "µ": r"$\mu$", "≥": r"$\ge$",
    "≤": r"$\le$", "α": r"$\alpha$", "τ": r"$\tau$", "ε": r"$\varepsilon$", "δ": r"$\delta$", "₁": "$_1$",
    "ₙ": "$_n$", "\u00a0": "~",
}  # fmt: skip


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split(" ")).replace("\n", " "))


# ---- the summary


def summary(contents: Contents) -> dict[str, Any]:
    """Of each run its final evaluation, and of each task who was first in what, and by how much; null: not known."""
    return {
        "title": contents.collection.title,
        "runs": [_run(run) for run in contents.collection.runs],
        "comparison": [comparison_json(answers) for answers in contents.answers],
        "time_to_accuracy": [table.to_json() for table in contents.times],
        "problems": list(contents.collection.problems),
    }


def _run(run: RunView) -> dict[str, Any]:
    evaluation, report = run.evaluation or {}, (run.evaluation or {}).get("report")
    macro = report.get("macro") if isinstance(report, dict) else None
    macro = macro if isinstance(macro, dict) else {}
    classes = zip(evaluation.get("classes", ()), evaluation.get("per_class_accuracy", ()), strict=False)
    return {
        "name": run.name,
        "folder": str(run.folder),
        "status": run.status,
        "strategy": run.strategy,
        "workers": run.workers,
        "seed": run.seed,
        "clock": run.clock,
        "seconds": reading.seconds(run),
        "bytes_per_worker": reading.bytes_per_worker(run),
        "accuracy": evaluation.get("accuracy", reading.final(run, "test_accuracy")),
        "loss": finite(evaluation.get("loss", reading.final(run, "test_loss"))),
        "samples": sum(map(sum, evaluation.get("confusion", ()))) or None,
        "macro_precision": finite(macro.get("precision")),
        "macro_recall": finite(macro.get("recall")),
        "macro_f1": finite(macro.get("f1")),
        "per_class_accuracy": {str(name): value for name, value in classes},
        "problems": list(run.problems),
    }
