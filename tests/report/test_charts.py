from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import altair
import pytest
import vl_convert

from manyhands.report.charts import run_figures, study_figures, times_figures
from manyhands.report.figure import THEME, Figure
from manyhands.report.tables import Row
from manyhands.report.times import times_tables
from manyhands.runs.reading import RunView

RowsOf = Callable[[Path], list[Row]]
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def all_figures(rows: list[Row]) -> list[Figure]:
    first = rows[0].series.runs[0]
    return [figure for group in study_figures(rows).values() for figure in group] + run_figures(first, "run")


def by_key(rows: list[Row]) -> dict[str, Figure]:
    return {figure.key: figure for figure in all_figures(rows)}


@pytest.mark.parametrize(
    "key",
    ["accuracy-by-epoch", "loss-by-bytes", "time-shares", "speedup", "partition-1", "run-confusion", "run-classes"],
)
def test_a_chart_is_valid_and_can_be_drawn(rows: list[Row], key: str) -> None:
    check_drawing(by_key(rows)[key])


@pytest.mark.parametrize("seeds", [1, 2])
def test_charts_of_conditions_are_valid_and_can_be_drawn(
    fake: ModuleType, tmp_path: Path, rows_of: RowsOf, seeds: int
) -> None:
    rows = rows_of(fake.conditions(tmp_path, seeds))
    (server,) = [row for row in rows if row.series.label == "parameter-server · iid · slow 0:4"]
    for figure in [
        *times_figures(times_tables(rows)),
        *[figure for figure in all_figures(rows) if figure.key.endswith("consensus-by-epoch")],
        *[figure for figure in run_figures(server.series.runs[0], "run") if figure.key == "run-staleness"],
    ]:
        check_drawing(figure)


def check_drawing(figure: Figure) -> None:
    altair.Chart.from_dict(figure.spec | {"config": THEME})  # raises where it breaks Vega-Lite's schema
    svg = vl_convert.vegalite_to_svg(figure.spec | {"config": THEME} | ({"width": 400} if figure.wide else {}))
    assert svg.startswith("<svg")
    assert "NaN" not in svg


def test_every_chart_has_words_and_numbers(rows: list[Row]) -> None:
    figures = all_figures(rows)
    assert len({figure.key for figure in figures}) == len(figures)
    for figure in figures:
        assert figure.title
        assert figure.caption
        assert len(figure.alt) > 40
        assert figure.rows
        assert all(len(row) == len(figure.header) for row in figure.rows)


def test_time_shares_are_the_ledgers(rows: list[Row]) -> None:
    figure = by_key(rows)["time-shares"]
    shares = {row[0]: [float(cell.split("\u00a0")[0]) for cell in row[1:]] for row in figure.rows}
    assert shares["single · real"] == [100, 0, 0]
    assert all(sum(parts) == pytest.approx(100, abs=0.2) for parts in shares.values())
    bars: list[dict[str, Any]] = figure.spec["datasets"]["rows"]
    assert {bar["part"] for bar in bars} == {"compute", "communication", "waiting"}


def test_speedup_is_bars_for_one_number_of_workers_each(rows: list[Row]) -> None:
    figures = by_key(rows)
    assert "efficiency" not in figures
    bars = figures["speedup"].spec["datasets"]["rows"]
    assert [bar["ideal"] for bar in bars] == [2, 8, 8, 8, 8]
    assert not any("single" in row[0] for row in figures["speedup"].rows)


def test_speedup_is_lines_for_several_numbers_of_workers(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.write_run(tmp_path / "single", "single")
    for workers in (2, 4, 8):
        fake.write_run(tmp_path / f"{workers}", "all-reduce", workers=workers)
    figures = by_key(rows_of(tmp_path))
    for key in ("speedup", "efficiency"):
        points = figures[key].spec["datasets"]["rows"]
        assert [(point["family"], point["x"]) for point in points] == [("all-reduce", n) for n in (2, 4, 8)]
    assert [point["y"] for point in figures["speedup"].spec["datasets"]["ideal"]] == [2, 4, 8]


def test_a_partition_is_drawn_once_for_all_that_share_it(rows: list[Row]) -> None:
    figures = [figure for figure in all_figures(rows) if figure.key.startswith("partition")]
    assert [figure.title.replace("\u00a0", " ") for figure in figures] == [
        "iid, 2 workers",
        "dirichlet:0.3, 8 workers",
    ]
    assert "Used by parameter-server, gossip, local-sgd, fedavg" in figures[1].caption
    assert len(figures[1].rows) == 8


def test_a_large_partition_is_cut(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.write_run(tmp_path / "a", "gossip", workers=500, classes=tuple(map(str, range(100))))
    figure = by_key(rows_of(tmp_path))["partition-0"]
    assert len(figure.rows) == 30
    assert "The first 30 workers are drawn." in figure.caption


def test_tasks_have_sections_of_their_own(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.write_run(tmp_path / "a", "gossip", task="mnist/mlp")
    fake.write_run(tmp_path / "b", "gossip", task="cifar10/cnn")
    sections = study_figures(rows_of(tmp_path))
    assert "Learning: mnist/mlp" in sections
    assert "Learning: cifar10/cnn" in sections
    keys = [figure.key for group in sections.values() for figure in group]
    assert len(set(keys)) == len(keys)


def test_each_condition_has_charts_of_its_own(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    rows = rows_of(fake.conditions(tmp_path))
    sections = study_figures(rows)
    names = ["iid", "iid, slow 0:4", "dirichlet:0.1", "dirichlet:0.1, slow 0:4"]
    assert list(sections) == [f"{part}: {name}" for name in names for part in ("Learning", "Time")] + [
        *("Classes", "Who holds which samples")
    ]
    curves = sections["Learning: iid, slow 0:4"][0]
    assert {row[0] for row in curves.rows} == {row.series.strategy for row in rows}
    keys = [figure.key for group in sections.values() for figure in group]
    assert len(set(keys)) == len(keys)
    (figure,) = times_figures(times_tables(rows))
    assert len(figure.rows) == 5 * 4
    drawn = [mark for mark in figure.spec["datasets"]["marks"] if mark["series"] == "fedavg"]
    assert [mark["condition"] for mark in drawn] == ["iid", "iid, slow 0:4"]


def test_one_condition_has_no_picture_of_times(rows: list[Row]) -> None:
    assert times_figures(times_tables(rows)) == []


@pytest.mark.parametrize(("widest", "bars"), [(12, 3), (1000, 3)])
def test_staleness_is_a_histogram_over_all_nodes(fake: ModuleType, tmp_path: Path, widest: int, bars: int) -> None:
    folder = fake.write_run(tmp_path / "a", "ad-psgd")
    ledger = fake.read_json(folder / "ledger.json")
    ledger["nodes"][0]["staleness"] = {"0": 5, str(widest): 2}
    ledger["nodes"][1]["staleness"] = {"0": 5, str(widest // 2): 8}
    fake.write_json(folder / "ledger.json", ledger)
    (figure,) = [one for one in run_figures(RunView.read(folder), "run") if one.key == "run-staleness"]
    assert [row[:2] for row in figure.rows] == [["0", "10"], [f"{widest // 2:,}", "8"], [f"{widest:,}", "2"]]
    drawn = figure.spec["datasets"]["bars"]
    assert len(drawn) == bars
    assert sum(bar["n"] for bar in drawn) == 20
    assert all(before["to"] < after["from"] for before, after in pairwise(drawn))
    assert f"Mean {widest * 6 / 20:.3g}." in figure.caption


def test_a_run_shows_its_classes(fake: ModuleType, tmp_path: Path) -> None:
    run = RunView.read(fake.write_run(tmp_path / "a", "gossip", classes=CIFAR))
    confusion, classes = run_figures(run, "run-7")
    assert (confusion.key, classes.key) == ("run-7-confusion", "run-7-classes")
    assert [row[0] for row in confusion.rows] == list(CIFAR)
    assert classes.rows[0][0] == "airplane"
    assert "taken for" in confusion.alt
    assert run.evaluation is not None
    drawn = confusion.spec["datasets"]["cells"]
    assert sum(cell["n"] for cell in drawn) == sum(map(sum, run.evaluation["confusion"]))


def test_many_classes_have_no_matrix_and_the_worst_bars(fake: ModuleType, tmp_path: Path) -> None:
    run = RunView.read(fake.write_run(tmp_path / "a", "gossip", classes=tuple(map(str, range(100)))))
    (classes,) = run_figures(run, "run")
    assert len(classes.spec["datasets"]["bars"]) == 30
    assert len(classes.rows) == 100


def test_a_class_without_samples_or_report_is_shown_as_such(fake: ModuleType, tmp_path: Path) -> None:
    folder = fake.write_run(tmp_path / "a", "gossip")
    evaluation = fake.read_json(folder / "evaluation.json")
    evaluation["per_class_accuracy"][3] = None
    evaluation["report"] = {"0": "broken"}
    fake.write_json(folder / "evaluation.json", evaluation)
    _, classes = run_figures(RunView.read(folder), "run")
    assert classes.rows[3] == ["3", "–", "–", "–", "–", "–"]
    assert len(classes.spec["datasets"]["bars"]) == 9
