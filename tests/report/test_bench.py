"""The page, the pictures and the terminal's tables of a benchmark, of its result.json alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from manyhands.errors import UserError
from manyhands.report.bench import BenchView, is_bench, terminal_tables, write_bench
from manyhands.report.bench_charts import cell_text, interval_figure, line_figure, stacked_figure
from manyhands.report.bench_figures import bench_figures

SPREAD = {"value": 0.0123, "low": 0.0119, "high": 0.0127, "n": 5}


def record(**changes: Any) -> dict[str, Any]:
    columns = [
        {"key": "batch", "heading": "Batch <size>", "short": "batch", "unit": "", "meaning": ""},
        {"key": "step", "heading": "Step", "short": "step", "unit": "s", "meaning": "t & more", "spread": True},
        {"key": "epoch", "heading": "Epoch", "short": "", "unit": "s", "meaning": ""},
        {"key": "rate", "heading": "Rate", "short": "rate", "unit": "1/s", "meaning": "b / t"},
        {"key": "share", "heading": "Share", "short": "share", "unit": "share", "meaning": ""},
    ]
    rows = [
        {"batch": batch, "step": SPREAD, "epoch": SPREAD, "rate": {**SPREAD, "value": 10.0 * batch}, "share": None}
        for batch in (8, 32)
    ]
    table = {"key": "batch-size", "title": "Batches", "words": "Words.", "columns": columns, "rows": rows}
    whole = {
        "format": 1, "status": "finished", "error": None, "kind": "batch-size", "title": "A bench",
        "conditions": {"task": "toy"}, "sentences": ["Fast <b>."], "notes": [], "tables": [table],
        "command": "manyhands bench batch-size", "hardware": {"cpu": "Abacus", "cores": 2}, "versions": {"torch": "2"},
        "revision": None, "created": "today",
    }  # fmt: skip
    return whole | changes


def write(folder: Path, content: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "result.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_page_and_pictures(tmp_path: Path) -> None:
    folder = write(tmp_path / "bench", record())
    assert is_bench(folder)
    page, files = write_bench(folder)
    text = page.read_text()
    assert "Batch &lt;size&gt;" in text
    assert "Fast &lt;b&gt;." in text
    assert "12.3 ± 0.4\u00a0ms" in text or "12.3 ±\u00a00.4\u00a0ms" in text
    assert "Abacus, 2 cores" in text
    assert "Share" not in text.partition("<script")[0]  # a column without any value
    assert sorted(path.name for path in files["figures"]) == [
        f"{name}.{kind}" for name in ("images-per-second", "seconds-per-epoch") for kind in ("png", "svg")
    ]
    assert all(path.stat().st_size > 1000 for path in files["figures"])


def test_an_unfinished_one_says_so(tmp_path: Path) -> None:
    page, _ = write_bench(write(tmp_path / "bench", record(status="failed", error="no room")))
    assert "This benchmark is failed: no room" in page.read_text()


def test_one_without_any_table_has_a_page(tmp_path: Path) -> None:
    page, files = write_bench(write(tmp_path / "bench", record(tables=[])))
    assert page.exists()
    assert not any(files.values())


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        record(format=99),
        record(tables=[{}]),
        record(tables=[{**record()["tables"][0], "rows": [{"unknown": 1}]}]),
        record(tables=[{**record()["tables"][0], "columns": [{"key": "batch"}]}]),
        record(sentences=[1]),
        {key: value for key, value in record().items() if key != "title"},
    ],
)
def test_a_damaged_result_is_one_line(content: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"result\.json"):
        BenchView.read(write(tmp_path / "bench", content))


def test_a_folder_without_a_result(tmp_path: Path) -> None:
    assert not is_bench(tmp_path)
    with pytest.raises(UserError, match="is missing"):
        BenchView.read(tmp_path)


def test_the_terminal_shows_what_has_room(tmp_path: Path) -> None:
    (table,) = terminal_tables(BenchView.read(write(tmp_path / "bench", record())))
    assert [column.header for column in table.columns] == ["batch", "step", "rate"]
    assert [next(iter(column.cells)).plain for column in table.columns] == ["8", "12.3 ±\u00a00.4\u00a0ms", "80.0/s"]


@pytest.mark.parametrize(
    ("cell", "unit", "text"),
    [
        (None, "s", "–"),
        (None, "B/s", "–"),
        ("yes", "", "yes"),
        (2048, "", "2,048"),
        (16_777_216, "", "16,777,216"),
        (0.0666, "", "0.0666"),
        (0.5, "share", "50.0\u00a0%"),
        (1.5, "×", "1.50×"),
        (1.25e9, "B/s", "1.25\u00a0GB/s"),
        (3.2e9, "FLOP/s", "3.20\u00a0GFLOP/s"),
        (1234.0, "1/s", "1,234/s"),
        ({"value": 2.0, "low": 1.5, "high": 2.5, "n": 1}, "s", "2.00\u00a0s"),
    ],
)
def test_cells(cell: Any, unit: str, text: str) -> None:
    assert cell_text(cell, unit) == text


def test_figures_without_numbers_are_left_out() -> None:
    table = {**record()["tables"][0], "rows": [{"batch": 8, "step": None}]}
    words = {"key": "k", "title": "t", "caption": "c"}
    assert line_figure(table, "batch", "step", by=None, **words) == []
    assert stacked_figure(table, {"step": "step"}, label=str, **words) == []
    assert interval_figure(table, "step", margin=0.1, label=str, **words) == []


def test_single_is_the_first_point_of_every_line(tmp_path: Path) -> None:
    columns = [
        {"key": key, "heading": key, "unit": unit}
        for key, unit in (("strategy", ""), ("workers", ""), ("speedup", "×"), ("efficiency", "share"))
    ]
    rows = [
        {"strategy": name, "workers": count, "speedup": 1.0 * count, "efficiency": 1.0}
        for name, count in (("single", 1), ("all-reduce", 2), ("gossip", 2))
    ]
    strong = {"key": "strong", "title": "Strong", "words": "", "columns": columns, "rows": rows}
    view = BenchView.read(write(tmp_path / "bench", record(tables=[strong])))
    speedup = next(one for one in bench_figures(view.tables)["strong"] if one.key == "strong-speedup")
    assert [row[:2] for row in speedup.rows] == [
        ["all-reduce", "1"],
        ["gossip", "1"],
        ["all-reduce", "2"],
        ["gossip", "2"],
    ]
