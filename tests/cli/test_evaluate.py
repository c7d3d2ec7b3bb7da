"""``manyhands evaluate``: the same numbers again."""

import json
import shutil
from pathlib import Path

import pytest

from manyhands.cli.main import main


def test_the_numbers_of_the_run_come_out_again(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(finished), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    written = json.loads((finished / "evaluation.json").read_text())
    assert again["confusion"] == written["confusion"]
    assert again["accuracy"] == written["accuracy"]
    assert again["loss"] == pytest.approx(written["loss"], rel=1e-6)


def test_a_line_for_each_class(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(finished)]) == 0
    first, *table = capsys.readouterr().out.splitlines()
    assert first.startswith("test accuracy ")
    rows = [line.split() for line in table if line.strip()]
    assert rows[0] == ["class", "accuracy", "precision", "F1", "samples"]
    assert [row[0] for row in rows[2:12]] == list("0123456789")
    assert [row[0] for row in rows[12:]] == ["macro", "weighted"]
    assert max(map(len, table)) <= 80


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def test_a_model_of_another_task_is_refused(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (copy / "run.json").read_text()
    (copy / "run.json").write_text(text.replace("mnist-mini/logistic", "mnist-mini/mlp"))
    assert main(["evaluate", str(copy)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "model.safetensors is not a model of mnist-mini/mlp" in captured.err


def test_a_run_without_a_model_is_refused(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "model.safetensors").unlink()
    assert main(["evaluate", str(copy)]) == 2
    assert f"go on with --resume {copy}" in capsys.readouterr().err


def test_a_damaged_model_is_refused(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (copy / "model.safetensors").read_bytes()
    for data in (whole[:1000], b"", b"\xff" * 100):
        (copy / "model.safetensors").write_bytes(data)
        assert main(["evaluate", str(copy)]) == 2
        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1
        assert "model.safetensors is damaged" in captured.err
