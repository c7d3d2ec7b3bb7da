"""What all commands have in common: --json is one object and nothing else, --quiet says no more than it must."""

import json
from pathlib import Path

import pytest

from manyhands.cli import doctor
from manyhands.cli.bench import KINDS
from manyhands.cli.main import COMMANDS, main
from manyhands.strategies import STRATEGIES


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(doctor, "MODELS", ("mnist-mini/logistic",))
    monkeypatch.setattr("manyhands.training.precision.PROBE_SECONDS", 0.05)


SINGLE = [name for name in COMMANDS if name not in ("bench", "ui")]
"""all but one of several commands, and one that serves a page until it is stopped"""


@pytest.mark.parametrize("command", [*([name] for name in SINGLE), *(["bench", kind] for kind in KINDS)])
def test_every_command_takes_both(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    words = capsys.readouterr().out.split()
    assert {"--json", "--quiet"} <= set(words)


ADVISE = ["advise", "--task", "mnist-mini/logistic", "--samples", "200", "--epochs", "1", "--workers", "2"]
LONG = ["parameter-server:consistency=ssp:3,servers=2", "fedopt:fraction=0.5,local_epochs=2"]
QUICK = {
    "evaluate": ["evaluate", "RUN"],
    "report": ["report", "RUN", "--out", "page.html"],
    "retime": ["retime", "RUN", "--network", "300Mbit/s,1ms", "--out", "retimed"],
    "predict": ["predict", "--strategies", LONG[0], "--workers", "2", "--samples", "200", "--out", "predicted"],
    "advise": [*ADVISE, "--strategies", LONG[0], "--out", "advised"],
    "data": ["data"],
    "data check": ["data", "check", "mnist-mini"],
    "data show": ["data", "show", "mnist-mini"],
    "strategies": ["strategies"],
    "doctor": ["doctor"],
}


def filled(command: str, run: Path) -> list[str]:
    return [str(run) if word == "RUN" else word for word in QUICK[command]]


@pytest.mark.parametrize("command", QUICK)
def test_json_stands_alone(command: str, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*filled(command, finished), "--json"]) == 0
    captured = capsys.readouterr()
    assert isinstance(json.loads(captured.out), dict)
    assert captured.err == ""


@pytest.mark.parametrize(
    ("command", "left"),
    [("report", "page.html"), ("retime", "retimed"), ("predict", "predicted"),
     ("data check", ""), ("data show", ""), ("strategies", "\n".join(STRATEGIES))],
)  # fmt: skip
def test_quiet_leaves_the_place(command: str, left: str, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*filled(command, finished), "--quiet"]) == 0
    captured = capsys.readouterr()
    assert (captured.out.strip(), captured.err) == (left, "")


def test_quiet_evaluate_is_a_number(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(finished), "--quiet"]) == 0
    told = float(capsys.readouterr().out)
    assert told == json.loads((finished / "evaluation.json").read_text())["accuracy"]


def test_quiet_doctor_tells_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--quiet", "--data-dir", str(tmp_path)]) == 0
    assert all(": " in line for line in capsys.readouterr().out.splitlines())
    assert main(["data", "--quiet", "--data-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "mnist-mini\n"


@pytest.mark.parametrize("command", [name for name in QUICK if name not in ("report", "retime", "data", "data show")])
def test_tables_with_long_names_fit_80_columns(
    command: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = filled(command, finished)
    if LONG[0] in words:
        words.insert(words.index(LONG[0]) + 1, LONG[1])
    assert main(words) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if str(finished) not in line]
    assert max((len(line) for line in lines if "is whole" not in line), default=0) <= 80


@pytest.mark.parametrize(
    "words",
    [["train", "--task", "no/such"], ["compare", "--strategies", "none"], ["evaluate", "nowhere"],
     ["report", "nowhere"], ["predict", "--network", "fast"], ["data", "fetch", "imagenet"],
     ["bench", "scaling", "--workers", "0"],
     ["train", "--task", "mnist-mini/logistic", "--samples", "200", "--lr", "1e38", "--batch-size", "100"]],
)  # fmt: skip
def test_failures_leave_nothing_beside_json(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("manyhands: error: ")
