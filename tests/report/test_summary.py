import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from manyhands.report.summary import sentences
from manyhands.report.tables import Row

RowsOf = Callable[[Path], list[Row]]


def said(rows: list[Row]) -> str:
    return "\n".join(sentences(rows)).replace("\u00a0", " ")


def test_what_is_promised_to_clients_is_told(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    assert "private" not in said(rows_of(fake.write_run(tmp_path / "public", "fedavg")))
    for name, epsilon in (("fedavg", 3.14159), ("scaffold", 12.0)):
        file = fake.write_run(tmp_path / "private" / name, name) / "run.json"
        record = json.loads(file.read_text()) | {"facts": {"epsilon": epsilon, "delta": 1e-5}}
        file.write_text(json.dumps(record))
    sentence = "differentially private was fedavg with ε = 3.142 at δ = 1e-05, and scaffold with ε = 12 at δ = 1e-05."
    assert sentence in said(rows_of(tmp_path / "private"))


def test_conditions_are_told_with_whom_they_hindered(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    rows = rows_of(fake.conditions(tmp_path))
    text = said(rows)
    assert "iid, slow 0:4: hindered least was parameter-server, which took 1.20× as long to 85 % as under iid;" in text
    assert "most fedavg, 4.00×." in text
    assert "dirichlet:0.1: hindered least was parameter-server" in text
    assert "Not reached by fedavg." in text


def test_runs_without_accuracy_are_only_told_to_be_such(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.without_accuracy(fake.write_run(tmp_path / "a", "gossip"))
    fake.without_accuracy(fake.write_run(tmp_path / "b", "fedavg"))
    assert "accura" not in said(rows_of(tmp_path))
