import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.report.curves import ACCURACY, EPOCH, MOST_POINTS, curve, curve_figures, log_ticks, spread
from manyhands.report.series import Series
from manyhands.report.tables import Row

RowsOf = Callable[[Path], list[Row]]


@settings(deadline=None)
@given(
    positions=st.lists(st.floats(0, 240), max_size=14).map(sorted),
    gap=st.floats(1, 15),
)
def test_labels_are_spread_within_the_chart(positions: list[float], gap: float) -> None:
    moved = spread(positions, gap, limit=240)
    assert len(moved) == len(positions)
    assert all(-1e-6 <= position <= 240 + 1e-6 for position in moved)
    assert all(after - before >= gap - 1e-6 for before, after in pairwise(moved))


def test_labels_that_have_room_stay(rows: list[Row]) -> None:
    assert spread([10, 50, 90], gap=15, limit=240) == [10, 50, 90]
    assert spread([50, 50], gap=10, limit=240) == [45, 55]


@settings(deadline=None)
@given(low=st.floats(1e-6, 1e6), decades=st.floats(0, 12))
def test_ticks_are_few_and_inside(low: float, decades: float) -> None:
    high = low * 10**decades
    ticks = log_ticks(low, high)
    assert all(low <= tick <= high for tick in ticks)
    assert ticks == sorted(set(ticks))
    assert len(ticks) <= 8
    assert len(ticks) >= min(2, int(decades))


def test_a_curve_is_the_mean_over_the_seeds(series: list[Series]) -> None:
    gossip = next(one for one in series if one.label == "gossip")
    points = curve(gossip)
    assert len(points) == 11
    expected = sum(run.history[5]["test_accuracy"] for run in gossip.runs) / 2
    assert points[5].mean(ACCURACY) == pytest.approx(expected)
    assert points[5].mean(EPOCH) == 5


def test_each_clock_has_its_chart_and_silent_series_no_bytes(series: list[Series]) -> None:
    figures = {figure.key: figure for figure in curve_figures(series)}
    assert list(figures) == [
        f"{quantity}-by-{against}"
        for against in ("epoch", "real-time", "simulated-time", "bytes")
        for quantity in ("accuracy", "loss")
    ] + ["train-loss-by-epoch", "consensus-by-epoch"]
    assert {row[0] for row in figures["loss-by-real-time"].rows} == {"single · real", "all-reduce"}
    assert not any(row[0].startswith("single") for row in figures["accuracy-by-bytes"].rows)
    assert "95 % interval" in figures["accuracy-by-epoch"].caption
    assert "fedavg 89.95" in figures["accuracy-by-epoch"].alt


def test_numbers_that_are_none_leave_gaps(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    folder = fake.write_run(tmp_path / "a", "gossip", status="failed")
    with (folder / "history.jsonl").open("a") as history:
        history.write('{"seconds": 9, "epoch": 6, "test_loss": NaN, "test_accuracy": null, "bytes": 0}\n')
        history.write('{"seconds": 9, "epoch": 7, "test_loss": -1, "test_accuracy": 0.1, "bytes": 1e400}\n')
    figures = {figure.key: figure for figure in curve_figures([rows_of(tmp_path)[0].series])}
    points = figures["loss-by-epoch"].spec["datasets"]["points"]
    assert [point["y"] for point in points[-2:]] == [None, None]
    assert figures["loss-by-epoch"].rows[-2][-1] == "–"


def test_many_points_are_thinned(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.write_run(tmp_path / "a", "gossip", epochs=5000)
    (series,) = [row.series for row in rows_of(tmp_path)]
    points = curve_figures([series])[0].spec["datasets"]["points"]
    assert MOST_POINTS / 2 <= len(points) <= MOST_POINTS
    assert points[-1]["x"] == 5000


def test_only_those_who_disagree_have_a_consensus_distance(
    fake: ModuleType, tmp_path: Path, rows_of: RowsOf, series: list[Series]
) -> None:
    (figure,) = [figure for figure in curve_figures(series) if figure.key == "consensus-by-epoch"]
    assert {row[0] for row in figure.rows} == {"gossip"}
    assert figure.spec["datasets"]["points"][0]["y"] == 0
    agreeing = fake.write_run(tmp_path / "a", "all-reduce")
    rows = [json.loads(line) | {"consensus": 5e-7} for line in (agreeing / "history.jsonl").read_text().splitlines()]
    (agreeing / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    figures = curve_figures([row.series for row in rows_of(tmp_path)])
    assert figures
    assert not any(figure.key.startswith("consensus") for figure in figures)


def test_what_was_never_measured_is_not_drawn(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.without_accuracy(fake.write_run(tmp_path / "a", "gossip"))
    keys = [figure.key for figure in curve_figures([row.series for row in rows_of(tmp_path)])]
    assert "loss-by-epoch" in keys
    assert not any(key.startswith("accuracy") for key in keys)


def test_no_history_has_no_curves(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    folder = fake.write_run(tmp_path / "a", "gossip")
    (folder / "history.jsonl").unlink()
    assert curve_figures([rows_of(tmp_path)[0].series]) == []
