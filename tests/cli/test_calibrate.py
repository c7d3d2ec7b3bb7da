"""``manyhands calibrate``: a profile in a file, a table, and one line for what cannot be."""

import json
from pathlib import Path

import pytest

from manyhands.cli.main import main
from manyhands.clusters.simulated.profile import DeviceProfile
from manyhands.measure import calibrate, probes


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--batch-size", "32"], "--batch-size needs two sizes or more"),
        (["--hosts", "3"], "--hosts must be 2, or 0"),
        (["--task", "mnist-mini/oracle"], "oracle"),
        (["--threads", "-1"], "--cluster.threads must not be negative"),
        (["--hosts", "2", "--network", "fast"], "'fast' is not a rate"),
        (["--out", "here.json"], "here.json exists already"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    words: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "here.json").write_text("{}")
    assert main(["calibrate", *words]) == 2
    text = capsys.readouterr().err
    assert complaint in text
    assert len(text.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["here.json"]


@pytest.mark.slow
def test_a_profile_is_written_shown_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibrate, "ROUNDS", 1)
    monkeypatch.setattr(calibrate, "REPEATS", 3)
    monkeypatch.setattr(probes, "BLOCK", 0.05)
    assert main(["calibrate", "--batch-size", "8", "32", "--out", "mine.json"]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[-1] == "mine.json"
    assert DeviceProfile.load("mine.json").digest in text
    assert "κ" in text
    assert max(map(len, text.splitlines())) <= 80
    words = [
        "predict",
        "--profile",
        "mine.json",
        "--strategies",
        "all-reduce",
        "--workers",
        "2",
        "--out",
        "p",
        "--json",
    ]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["predictions"]
