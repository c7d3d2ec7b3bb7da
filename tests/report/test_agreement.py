"""Predictions beside what was measured."""

import json
from pathlib import Path
from typing import Any

import vl_convert

from manyhands.report.bench import BenchView, write_bench
from manyhands.report.bench_figures import bench_figures
from manyhands.report.figure import THEME


def validation(folder: Path, **first: Any) -> Path:
    """A benchmark's folder as ``manyhands validate`` leaves it."""
    units = {"configuration": "", "predicted": "s", "measured": "s", "error": "share"}
    columns = [{"key": key, "heading": key.capitalize(), "unit": unit, "meaning": ""} for key, unit in units.items()]
    rows: list[dict[str, Any]] = [
        {
            "configuration": f"gossip ×{workers}",
            "predicted": 0.01 * workers,
            "measured": {"value": 0.011 * workers, "low": 0.0105 * workers, "high": 0.012 * workers, "n": 5},
            "error": -0.09,
        }
        for workers in (2, 4)
    ]
    rows[0] |= first
    table = {"key": "configurations", "title": "Each", "words": "", "columns": columns, "rows": rows}
    record = {
        "format": 1, "status": "finished", "kind": "validate", "title": "Validity", "conditions": {}, "sentences": [],
        "notes": [], "tables": [table],
    }  # fmt: skip
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps(record))
    return folder


def test_each_prediction_is_drawn_against_its_measurement_and_with_its_error(tmp_path: Path) -> None:
    figures = bench_figures(BenchView.read(validation(tmp_path / "v")).tables)["configurations"]
    both, error = figures
    assert (both.key, error.key) == ("predicted-against-measured", "prediction-error")
    assert "gossip ×2: 20.0\u00a0ms predicted, 22.0 ±" in both.alt
    assert error.rows[0] == ["gossip ×2", "-9.0%"]
    for figure in figures:
        wide = {"width": 400} if figure.wide else {}
        drawing = vl_convert.vegalite_to_svg(figure.spec | {"config": THEME} | wide)
        assert drawing.startswith("<svg")
        assert "NaN" not in drawing


def test_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    folder = validation(tmp_path / "v", measured=None, error=None)
    both, error = bench_figures(BenchView.read(folder).tables)["configurations"]
    assert len(both.rows) == len(error.rows) == 1


def test_the_page_and_its_tables_can_lie_elsewhere(tmp_path: Path) -> None:
    folder = validation(tmp_path / "v")
    page, files = write_bench(folder, tmp_path / "new" / "page.html", figures=False, tables=True)
    assert "Predicted against measured" in page.read_text(encoding="utf-8")
    assert {file.name for file in files["tables"]} == {"configurations.md", "configurations.tex"}
    assert list(folder.iterdir()) == [folder / "result.json"]
