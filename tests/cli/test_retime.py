"""``manyhands retime``: a run's history on another network."""

import json
from pathlib import Path

import pytest

from manyhands.cli.main import main
from manyhands.runs.folder import RunFolder


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_it_prints_both_times_and_the_folder(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retime", str(finished), "--network", "wan", "--out", "out"]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert last == "out"
    assert "on the simulated clock; it was" in first
    record = RunFolder(Path("out")).read_run()
    assert record["command"] == f"manyhands retime {finished} --network wan"
    assert record["retimed_of"] == str(finished)
    assert main(["report", "out", str(finished), "--out", "page.html"]) == 0


def test_json(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retime", str(finished), "--network", "300Mbit/s,1ms", "--out", "out", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    before, after = (RunFolder(folder).read_history()[-1] for folder in (finished, Path("out")))
    assert content["seconds"] == after["seconds"] > before["seconds"] == content["seconds_before"]
    assert content["test_accuracy"] == before["test_accuracy"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "say where"),
        (["--network", "fast"], "unknown network"),
        (["--network", "1G", "--profile", "none"], "unknown device profile"),
    ],
)
def test_bad_input(finished: Path, flags: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retime", str(finished), "--out", "out", *flags]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error
    assert not Path("out").exists()
