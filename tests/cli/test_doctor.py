"""``manyhands doctor``: what is here and what is missing."""

import json
from pathlib import Path

import pytest

from manyhands.cli import doctor
from manyhands.cli.main import main
from manyhands.training.precision import PRECISIONS


@pytest.fixture(autouse=True)
def quick_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MODELS", ("mnist-mini/lenet5",))
    monkeypatch.setattr("manyhands.training.precision.PROBE_SECONDS", 0.05)


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json", "--data-dir", str(tmp_path)]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert findings["hardware"]["cores"] >= 1
    assert findings["versions"]["torch"]
    assert findings["versions"]["tyro"]
    assert set(findings["backends"]) == {"cuda", "mps", "gloo", "nccl", "mpi"}
    assert findings["precision"]["mnist-mini/lenet5"]["chosen"] in PRECISIONS[:2]
    assert findings["precision"]["mnist-mini/lenet5"]["why"]
    assert findings["data"] == {name: name == "mnist-mini" for name in findings["data"]}
    assert "mnist: run manyhands data fetch mnist, or give --data-dir" in findings["missing"]


def test_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--data-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    titles = [line for line in lines if not line.startswith(" ")]
    assert titles == ["hardware", "versions", "backends", "precision", "data", "missing"]
    assert any(line.startswith("  mnist-mini/lenet5  auto is ") for line in lines)


def test_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    findings = {
        "hardware": {},
        "versions": {"rich": None, "numpy": "2.0"},
        "backends": {"cuda": True, "mps": False, "gloo": False, "nccl": False, "mpi": False},
        "data": {"mnist": False, "cifar10": True},
    }
    missing = list(doctor._missing(findings))
    assert [line.partition(":")[0].split(",")[0] for line in missing[:4]] == [
        "the package rich",
        "mnist",
        "gloo",
        "nccl",
    ]
    assert missing[4].startswith("permission to write to")
    assert len(missing) == 5
