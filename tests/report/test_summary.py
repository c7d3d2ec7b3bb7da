from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from manyhands.report.summary import common_target, sentences
from manyhands.report.tables import Row

RowsOf = Callable[[Path], list[Row]]


def said(rows: list[Row]) -> str:
    return "\n".join(sentences(rows)).replace("\u00a0", " ")


def test_the_best_are_named_with_their_numbers(rows: list[Row]) -> None:
    text = said(rows)
    assert "Most accurate was all-reduce: 97.47 ± 4.71 % of the test samples after 10 epochs." in text
    assert "On the simulated clock local-sgd was first to 95 %" in text
    assert "On the real clock all-reduce was first to 97 %" in text
    assert "Least was sent by fedavg: 2.50 MB per worker" in text
    assert "most by gossip: 116 MB, 46.4 times as much" in text
    assert "their order is not settled" in text


def test_one_seed_is_said_to_be_one(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    rows = rows_of(fake.six_strategies(tmp_path / "one", seeds=1))
    assert "This is one seed: small differences may be chance." in said(rows)


def test_one_series_is_told_alone(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.write_run(tmp_path / "a", "gossip")
    assert said(rows_of(tmp_path)).startswith("gossip classified 93.84 % of the test samples rightly")


def test_unfinished_runs_are_not_compared(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.write_run(tmp_path / "a", "gossip", status="running")
    fake.write_run(tmp_path / "b", "fedavg", status="failed")
    assert said(rows_of(tmp_path)) == "No run is finished yet; what follows is how far they came."


def test_tasks_are_not_compared(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.write_run(tmp_path / "a", "gossip", task="mnist/mlp")
    fake.write_run(tmp_path / "b", "fedavg", task="cifar10/cnn")
    text = said(rows_of(tmp_path))
    assert "mnist/mlp: gossip classified" in text
    assert "cifar10/cnn: fedavg classified" in text
    assert "Most accurate" not in text


def test_the_common_target_is_reached_by_half(rows: list[Row]) -> None:
    simulated = [row for row in rows if row.series.clock == "simulated"]
    assert common_target(simulated) == 0.95
    assert common_target(simulated[:1]) is None
