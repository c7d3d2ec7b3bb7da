from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from manyhands.report.curves import DASHES
from manyhands.report.series import COLOURS, INK, Series, colours
from manyhands.report.tables import Row
from manyhands.strategies import STRATEGIES

RowsOf = Callable[[Path], list[Row]]


def labels(rows: list[Row]) -> list[str]:
    return [row.series.label for row in rows]


def test_seeds_join_and_clocks_do_not(series: list[Series]) -> None:
    assert [one.label for one in series] == [
        "single · real",
        "single · simulated",
        "all-reduce",
        "parameter-server",
        "gossip",
        "local-sgd",
        "fedavg",
    ]
    assert all([run.seed for run in one.runs] == [0, 1] for one in series)
    assert [one.name for one in series][:2] == ["single", "single"]
    for one in series:
        assert [baseline.seed for baseline in one.baselines if baseline] == [0, 1]
        assert {baseline.clock for baseline in one.baselines if baseline} == {one.clock}


def test_a_label_names_what_tells_series_of_one_strategy_apart(
    fake: ModuleType, tmp_path: Path, rows_of: RowsOf
) -> None:
    fake.write_run(tmp_path / "a", "gossip", workers=8)
    fake.write_run(tmp_path / "b", "gossip", workers=2)
    fake.write_run(tmp_path / "c", "gossip", options={"topology": "complete"}, lr=0.1)
    fake.write_run(tmp_path / "d", "fedavg", momentum=0.9, **{"{0.__class__}": "braces"})
    rows = rows_of(tmp_path)
    assert labels(rows) == [
        "gossip · ring · 2 workers · lr 0.05",
        "gossip · ring · 8 workers · lr 0.05",
        "gossip · complete · 8 workers · lr 0.1",
        "fedavg",
    ]
    assert rows[0].series.name == "gossip · ring · lr 0.05"
    assert rows[0].series.family == rows[1].series.family == "gossip · ring · lr 0.05"
    assert "momentum 0.9" in rows[3].series.details


def test_conditions_are_told_apart(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    rows = rows_of(fake.conditions(tmp_path, seeds=1, strategies=("single", "gossip")))
    assert labels(rows) == [
        "single",
        "gossip · iid",
        "gossip · iid · slow 0:4",
        "gossip · dirichlet:0.1",
        "gossip · dirichlet:0.1 · slow 0:4",
    ]
    assert [row.series.subject for row in rows] == ["single", *["gossip"] * 4]
    assert [row.series.condition for row in rows][3:] == ["dirichlet:0.1", "dirichlet:0.1, slow 0:4"]


def test_stragglers_that_are_no_factor_are_a_detail(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.write_run(tmp_path / "a", "single")
    fake.write_run(tmp_path / "b", "gossip", slow=("0:4", "3:2"))
    assert [row.series.details for row in rows_of(tmp_path)] == [("iid",), ("dirichlet:0.3", "slow 0:4+3:2")]


def test_one_is_no_plural(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    for workers in (1, 2):
        fake.write_run(tmp_path / str(workers), "gossip", workers=workers, epochs=workers, partition="iid")
    labels = [row.series.label for row in rows_of(tmp_path)]
    assert labels == ["gossip · 1 worker · 1 epoch", "gossip · 2 workers · 2 epochs"]


def test_options_of_optimisers_are_compared_within_one_kind(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    sgd, adamw = {"name": "sgd", "momentum": 0.0}, {"name": "adamw", "beta1": 0.9}
    for name, optimizer in {"gossip": sgd, "local-sgd": sgd, "diloco": adamw}.items():
        fake.write_run(tmp_path / name, name, optimizer=optimizer, partition="iid")
    details = {row.series.strategy: row.series.details for row in rows_of(tmp_path)}
    assert details == {"gossip": ("sgd",), "local-sgd": ("sgd",), "diloco": ("adamw",)}


def test_labels_are_unique_even_where_values_are_written_the_same(
    fake: ModuleType, tmp_path: Path, rows_of: RowsOf
) -> None:
    for number, value in enumerate([1, "1", None]):
        fake.write_run(tmp_path / str(number), "gossip", clip=value)
    assert len(set(labels(rows_of(tmp_path)))) == 3


def test_clusters_of_one_clock_are_told_apart(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    for number, speed in enumerate(["1Gbit/s", "10Gbit/s"]):
        cluster = {"name": "simulated", "bandwidth": speed}
        fake.write_run(tmp_path / str(number), "gossip", cluster=cluster)
    fake.write_run(tmp_path / "real", "gossip", clock="real")
    assert labels(rows_of(tmp_path)) == [
        "gossip · bandwidth 1Gbit/s · simulated",
        "gossip · bandwidth 10Gbit/s · simulated",
        "gossip · real",
    ]


def test_the_same_seed_again_is_no_new_sample(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    for name in "abc":
        fake.write_run(tmp_path / name, "gossip", seed=3)
    (row,) = rows_of(tmp_path)
    assert len(row.series.runs) == 1
    assert row.accuracy is not None
    assert row.accuracy.half is None


def test_unfinished_runs_are_in_no_mean(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.write_run(tmp_path / "a", "gossip", seed=0)
    fake.write_run(tmp_path / "b", "gossip", seed=1, status="running")
    (row,) = rows_of(tmp_path)
    assert [run.seed for run in row.series.runs] == [0]
    assert row.status == ""


def test_a_strategy_keeps_its_colour(series: list[Series]) -> None:
    everything = colours(series)
    assert everything["single"] == INK
    assert len(set(everything.values())) == len(everything) == 6
    for one in series:
        assert colours([one]) == {one.strategy: everything[one.strategy]}


def test_kindred_strategies_share_a_colour_and_differ_in_the_dash(
    fake: ModuleType, tmp_path: Path, rows_of: RowsOf
) -> None:
    for name in STRATEGIES:
        fake.write_run(tmp_path / name, name)
    series = [row.series for row in rows_of(tmp_path)]
    colour_of = colours(series)
    assert set(colour_of) == set(STRATEGIES)
    assert set(colour_of.values()) == {INK, *COLOURS}
    assert len({(colour_of[one.strategy], one.variation) for one in series}) == len(STRATEGIES)
    assert max(one.variation for one in series) < len(DASHES)


@pytest.mark.parametrize("ground", ["#ffffff", "#14171c"])
def test_colours_stand_out_from_the_page(ground: str) -> None:
    """Graphics need a contrast of 3:1 (WCAG 2.2, 1.4.11)."""
    assert ground in style()
    for colour in COLOURS:
        bright, dark = sorted((luminance(colour), luminance(ground)), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 3


def style() -> str:
    import manyhands.report

    (folder,) = manyhands.report.__path__
    return (Path(folder) / "templates" / "style.css").read_text(encoding="utf-8")


def luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
