"""The figures that have a name of their own as files."""

from pathlib import Path
from types import ModuleType

import altair
import pytest
import vl_convert

from manyhands.report.contents import Contents
from manyhands.report.figure import THEME, Figure
from manyhands.report.panels import MOST_CHARTS, named_figures

NAMES = {
    "training_curves": 5,
    "speedup_analysis": 2,
    "per_class_accuracy": 1,
    "confusion_matrix": 7,
    "baseline_vs_distributed_comparison": 3,
}


def draw(figure: Figure) -> str:
    width = {"width": 500} if figure.wide else {}
    altair.Chart.from_dict(figure.spec | {"config": THEME})  # raises where it breaks Vega-Lite's schema
    drawing: str = vl_convert.vegalite_to_svg(figure.spec | {"config": THEME} | width)
    return drawing


def test_all_are_there_with_their_charts(study: Path) -> None:
    figures = {figure.key: figure for figure in named_figures(Contents.read([study]))}
    assert figures.keys() == NAMES.keys()
    assert {key: len(figure.spec.get("concat", [1])) for key, figure in figures.items()} == NAMES
    drawing = draw(figures["training_curves"])
    for title in ("Test accuracy by epoch", "Test loss by epoch", "Training loss by epoch", "real clock"):
        assert title in drawing
    assert "NaN" not in drawing


def test_the_counts_of_all_seeds_are_added_up(study: Path) -> None:
    contents = Contents.read([study])
    (figure,) = [figure for figure in named_figures(contents) if figure.key == "confusion_matrix"]
    series = contents.rows[0].series
    cells = figure.spec["datasets"]["0-cells"]
    assert sum(cell["n"] for cell in cells) == 1000 * len(series.runs)


def test_every_chart_beside_others_keeps_its_data(study: Path) -> None:
    for figure in named_figures(Contents.read([study])):
        text = str(figure.spec)
        assert all(f"{{'name': '{name}'}}" in text for name in figure.spec["datasets"])


def test_conditions_are_named_and_there_are_not_too_many_charts(fake: ModuleType, tmp_path: Path) -> None:
    figures = {figure.key: figure for figure in named_figures(Contents.read([fake.conditions(tmp_path)]))}
    titles = [chart["title"]["text"] for chart in figures["training_curves"].spec["concat"]]
    assert titles[0] == "Test accuracy by epoch: iid"
    assert len(titles) == MOST_CHARTS


@pytest.mark.parametrize("missing", ["evaluation.json", "ledger.json", "history.jsonl"])
def test_what_is_not_known_is_left_out(fake: ModuleType, tmp_path: Path, missing: str) -> None:
    run = fake.write_run(tmp_path / "run", "gossip")
    (run / missing).unlink()
    for figure in named_figures(Contents.read([run])):
        assert draw(figure).startswith("<svg")


def test_one_run_has_its_own_bars_and_matrix(fake: ModuleType, tmp_path: Path) -> None:
    fake.write_run(tmp_path / "run", "single")
    figures = {figure.key: figure for figure in named_figures(Contents.read([tmp_path]))}
    assert "concat" not in figures["confusion_matrix"].spec
    assert len(figures["per_class_accuracy"].rows) == 10
    assert all(draw(figure) for figure in figures.values())
