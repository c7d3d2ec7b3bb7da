"""What the models get wrong."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import vl_convert

from manyhands.report.figure import THEME, Figure
from manyhands.report.mistakes import MOST_PAIRS, class_figures, confused_figures
from manyhands.report.pictures import MOST_CLASSES
from manyhands.report.series import Series
from manyhands.report.tables import Row
from manyhands.runs.reading import RunView

RowsOf = Callable[[Path], list[Row]]


def draw(figure: Figure) -> str:
    wide = {"width": 500} if figure.wide else {}
    drawing: str = vl_convert.vegalite_to_svg(figure.spec | {"config": THEME} | wide)
    return drawing


def test_each_class_of_each_series_has_its_mean_over_the_seeds(series: list[Series]) -> None:
    (figure,) = class_figures(series)
    assert len(figure.rows) == 7
    first = series[0]
    values = [run.evaluation["per_class_accuracy"][3] for run in first.runs if run.evaluation]
    (cell,) = [
        cell
        for cell in figure.spec["datasets"]["cells"]
        if (cell["series"], cell["class"]) == (first.label, "3")
    ]  # fmt: skip
    assert cell["value"] == pytest.approx(sum(values) / len(values), abs=1e-3)
    assert "mean over the seeds" in figure.caption
    assert draw(figure).startswith("<svg")


def test_of_very_many_classes_the_least_accurate_are_drawn(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    for name in ("gossip", "fedavg"):
        fake.write_run(tmp_path / name, name, classes=tuple(f"class {place}" for place in range(100)))
    (figure,) = class_figures([row.series for row in rows_of(tmp_path)])
    assert len({cell["class"] for cell in figure.spec["datasets"]["cells"]}) == MOST_CLASSES
    assert len(figure.rows[0]) == 101
    assert "least accurate of 100" in figure.caption


def test_one_series_or_other_classes_have_no_common_picture(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.write_run(tmp_path / "a", "gossip")
    fake.write_run(tmp_path / "b", "fedavg", classes=("x", "y"))
    assert class_figures([row.series for row in rows_of(tmp_path)]) == []


def test_confused_pairs_have_their_pictures(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    run = fake.with_mistakes(fake.write_run(tmp_path / "a", "fedavg"))
    fake.write_run(tmp_path / "b", "gossip")
    (figure,) = confused_figures([row.series for row in rows_of(tmp_path)])
    told = fake.read_json(run / "evaluation.json")["confused"]
    assert [list(row[:3]) for row in figure.rows] == [
        [str(pair["true"]), str(pair["predicted"]), str(pair["count"])] for pair in told
    ]
    assert len(figure.spec["datasets"]["tiles"]) == sum(len(pair["images"]) for pair in told)
    assert draw(figure).count("<image") == len(figure.spec["datasets"]["tiles"])


def test_several_series_show_fewer_pairs(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    for name in ("gossip", "fedavg", "local-sgd", "parameter-server"):
        fake.with_mistakes(fake.write_run(tmp_path / name, name))
    figures = confused_figures([row.series for row in rows_of(tmp_path)])
    assert len(figures) == 4
    assert all(len(figure.rows) <= MOST_PAIRS for figure in figures)


@pytest.mark.parametrize(
    "change",
    [{"true": 99}, {"predicted": "1"}, {"count": None}, {"images": ['"><script>']}, {"images": [3]}],
)
def test_damaged_pairs_are_named(fake: ModuleType, tmp_path: Path, change: dict[str, object]) -> None:
    run = fake.with_mistakes(fake.write_run(tmp_path / "a", "gossip"))
    evaluation = fake.read_json(run / "evaluation.json")
    evaluation["confused"][0] |= change
    fake.write_json(run / "evaluation.json", evaluation)
    assert "evaluation.json is damaged and left out" in RunView.read(run).problems
