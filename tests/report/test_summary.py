import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from manyhands.report.summary import sentences
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


def test_what_is_promised_to_clients_is_told(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    assert "private" not in said(rows_of(fake.write_run(tmp_path / "public", "fedavg")))
    for name, epsilon in (("fedavg", 3.14159), ("scaffold", 12.0)):
        file = fake.write_run(tmp_path / "private" / name, name) / "run.json"
        record = json.loads(file.read_text()) | {"facts": {"epsilon": epsilon, "delta": 1e-5}}
        file.write_text(json.dumps(record))
    sentence = "differentially private was fedavg with ε = 3.142 at δ = 1e-05, and scaffold with ε = 12 at δ = 1e-05."
    assert sentence in said(rows_of(tmp_path / "private"))


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


def test_conditions_are_told_with_whom_they_hindered(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    rows = rows_of(fake.conditions(tmp_path))
    text = said(rows)
    assert "iid, slow 0:4: hindered least was parameter-server, which took 1.20× as long to 85 % as under iid;" in text
    assert "most fedavg, 4.00×." in text
    assert "dirichlet:0.1: hindered least was parameter-server" in text
    assert "Not reached by fedavg." in text


def test_a_target_given_is_the_one_that_is_told(rows: list[Row]) -> None:
    assert "local-sgd was first to 90 %" in "\n".join(sentences(rows, 0.9)).replace("\u00a0", " ")
    text = "\n".join(sentences(rows, 0.96)).replace("\u00a0", " ")
    assert "On the real clock all-reduce was first to 96 %" in text
    text = "\n".join(sentences(rows, 1.0)).replace("\u00a0", " ")
    assert "On the simulated clock none reached 100 %." in text


def test_runs_without_accuracy_are_only_told_to_be_such(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.without_accuracy(fake.write_run(tmp_path / "a", "gossip"))
    fake.without_accuracy(fake.write_run(tmp_path / "b", "fedavg"))
    assert "accura" not in said(rows_of(tmp_path))
