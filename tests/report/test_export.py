"""Tables as files, and the summary for programs."""

import csv
import json
from pathlib import Path
from types import ModuleType

import pytest

from manyhands.errors import UserError
from manyhands.report.contents import Contents
from manyhands.report.export import to_csv, to_latex, to_markdown, write_tables
from manyhands.report.figure import Table

EVIL = 'a|b & 50 % <i>_x_</i> \\end{tabular} "q"\nc'


def table(*rows: tuple[str, ...]) -> Table:
    return Table(key="key", title="Title", words="Words.", header=("Name", "Value"), rows=rows)


def test_cells_are_text_in_every_format() -> None:
    one = table((EVIL, "1 ±\u00a02 %"))
    assert list(csv.reader(to_csv(one).splitlines()))[1] == [EVIL.replace("\n", " "), "1 ± 2 %"]
    markdown = to_markdown(one).splitlines()
    assert markdown[2:4] == ["| Name | Value |", "| --- | ---: |"]
    assert "<i>" not in to_markdown(one)
    assert markdown[4].count(" | ") == 1
    latex = to_latex(one)
    assert latex.count("\\end{tabular}") == 1
    assert "50 \\% \\textless{}i\\textgreater{}\\_x\\_" in latex
    assert "1 $\\pm$~2 \\%" in latex


def test_every_table_of_the_page_is_written_three_times(fake: ModuleType, study: Path, tmp_path: Path) -> None:
    files = write_tables(Contents.read([study]), tmp_path / "tables")
    names = {file.name for file in files}
    assert {f"{key}.{end}" for key in ("performance_comparison", "comparison") for end in ("csv", "md", "tex")} <= names
    assert {"accuracy-by-epoch.csv", "run-0-confusion.md", "run-3-times.tex", "time-to-accuracy-0.csv"} <= names
    assert len(names) == len(files)
    assert all(file.stat().st_size for file in files)
    rows = list(csv.DictReader((tmp_path / "tables" / "performance_comparison.csv").open(encoding="utf-8")))
    (gossip,) = [row for row in rows if row["strategy"] == "gossip"]
    assert float(gossip["accuracy"]) == pytest.approx(0.94, abs=0.01)
    assert int(gossip["accuracy_n"]) == 2
    assert float(gossip["accuracy_half"]) > 0
    assert gossip["workers"] == "8"


def test_the_summary_has_each_final_evaluation_and_who_was_first(fake: ModuleType, study: Path, tmp_path: Path) -> None:
    write_tables(Contents.read([study]), tmp_path)
    summary = json.loads((tmp_path / "test_summary.json").read_text(encoding="utf-8"))
    assert len(summary["runs"]) == 14
    run = summary["runs"][0]
    assert run["samples"] == 1000
    assert run["per_class_accuracy"].keys() == set("0123456789")
    assert all(0.9 < run[key] <= 1 for key in ("accuracy", "macro_precision", "macro_recall", "macro_f1"))
    assert summary["comparison"][0]["questions"][0]["winner"] == "all-reduce"


def test_what_is_not_known_of_a_run_is_null(fake: ModuleType, tmp_path: Path) -> None:
    run = fake.write_run(tmp_path / "run", "gossip")
    for name in ("evaluation.json", "ledger.json", "history.jsonl"):
        (run / name).unlink()
    write_tables(Contents.read([run]), tmp_path / "tables")
    (told,) = json.loads((tmp_path / "tables" / "test_summary.json").read_text(encoding="utf-8"))["runs"]
    assert told["accuracy"] is told["samples"] is told["macro_f1"] is told["seconds"] is None
    assert len(told["problems"]) == 3


def test_a_folder_that_cannot_be_written_is_told(fake: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "tables").write_text("a file")
    with pytest.raises(UserError, match="cannot write into"):
        write_tables(Contents.read([fake.write_run(tmp_path / "run", "single")]), tmp_path / "tables")
