"""``manyhands validate``: one line for what cannot be; and, where hosts can be emulated, a small one."""

import json
from pathlib import Path

import pytest

from manyhands.cli.main import main
from manyhands.measure import calibrate, probes, validate


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--batch-size", "64"], "--batch-size needs 2 values, one for each profile, not 1"),
        (["--repeats", "1"], "--repeats must be at least 2"),
        (["--profiles", "none.json", "--batch-size", "64"], "'none.json' cannot be read"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    words: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", *words]) == 2
    text = capsys.readouterr().err
    assert complaint in text
    assert len(text.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.namespaces
@pytest.mark.usefixtures("emulation")
def test_a_small_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibrate, "ROUNDS", 1)
    monkeypatch.setattr(calibrate, "REPEATS", 3)
    monkeypatch.setattr(probes, "BLOCK", 0.05)
    monkeypatch.setattr(validate, "SECONDS", 0.1)
    words = ["--tasks", "mnist-mini/logistic", "--batch-size", "32", "--strategies", "all-reduce", "gossip"]
    words += ["--workers", "2", "--networks", "100Mbit/s", "--repeats", "2", "--document", "page.md", "--out", "found"]
    assert main(["validate", *words]) == 0
    assert "MAPE" in capsys.readouterr().out
    result = json.loads(Path("found/result.json").read_text())
    tables = {table["key"]: table["rows"] for table in result["tables"]}
    assert len(tables["configurations"]) == 2 * 2  # with and without a straggler
    assert len(tables["controls"]) == 1
    for row in tables["configurations"]:
        assert row["bytes"] == pytest.approx(row["counted"], rel=1e-6)
        assert row["wire"] == pytest.approx(row["kernel"], rel=0.15)  # messages of 31 kB: many acknowledgements
        assert row["predicted"] > 0
        assert row["measured"]["value"] > 0
    assert "| all |" in Path("page.md").read_text()
    assert (Path("found") / "profiles" / "mnist-mini-logistic.json").is_file()
