"""Finding the command, and what all commands have in common."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from manyhands import __version__
from manyhands.cli.main import COMMANDS, main
from pseudo_terminal import HIDE, SHOW, STYLE, in_a_terminal, lines

SLOW_TO_IMPORT = {"torch", "altair", "vl_convert", "jinja2", "networkx", "pandas", "pooch", "safetensors", "starlette"}
HELP = f"""
import sys
from manyhands.cli.main import COMMANDS, main
for command in ([], *([name] for name in COMMANDS)):
    assert main([*command, "--help"]) == 0
    assert not {SLOW_TO_IMPORT} & set(sys.modules), command
"""
TINY = ["train", "--task", "mnist-mini/logistic", "--batch-size", "100", "--epochs", "1"]
COMPARE = ["compare", *TINY[1:], "--cluster", "simulated", "--strategies", "gossip"]


def test_without_a_command_it_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("manyhands: error: no command: choose from train, compare, ")


def test_usage_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"manyhands {__version__}\n"


def test_help_imports_nothing_that_takes_long() -> None:
    answer = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_readable_in_80_columns(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(
        number for number, line in enumerate(lines) if line.strip("╭─ ╮").startswith(("options", "positional"))
    )
    assert max(map(len, lines[start:])) <= 80
    assert not any(word in line for line in lines for word in ("None", "``", "\x1b", "http"))


def test_a_terminal_gets_colours_unless_there_is_no_color(tmp_path: Path) -> None:
    argv = ["-m", "manyhands", "data", "--help"]
    assert "\x1b[1m" in in_a_terminal(argv, tmp_path)
    assert "\x1b" not in in_a_terminal(argv, tmp_path, NO_COLOR="1")
    assert "\x1b" not in in_a_terminal(argv, tmp_path, TERM="dumb")


def test_a_terminal_gets_live_progress(tmp_path: Path) -> None:
    sent = in_a_terminal(["-m", "manyhands", *TINY, "--epochs", "8", "--out", "run"], tmp_path)
    drawn = lines(sent)
    *bars, _, place = drawn
    assert any(re.search(r"all-reduce .* \d(\.\d)?/8 epochs", line) for line in bars)
    assert max(map(len, bars)) <= 80
    assert STYLE.search(sent)
    assert place == "run"


def test_a_study_in_a_terminal_without_colours(tmp_path: Path) -> None:
    argv = [*COMPARE, "parameter-server:consistency=ssp:3,servers=2", "--out", "study"]
    sent = in_a_terminal(["-m", "manyhands", *argv], tmp_path, NO_COLOR="1")
    drawn = lines(sent)
    assert not STYLE.search(sent)
    assert any(re.search(r"^all .* 2/3 runs", line) for line in drawn)
    assert any(line.startswith("1/3 single: test accuracy") for line in drawn)
    assert max(map(len, drawn)) <= 80
    assert drawn[-1] == "study/report.html"


@pytest.mark.parametrize(("argv", "command"), [(TINY, "train"), (COMPARE, "compare")])
def test_ctrl_c_leaves_the_terminal_sane_and_tells_how_to_go_on(argv: list[str], command: str, tmp_path: Path) -> None:
    argv = ["-m", "manyhands", *argv, "--epochs", "1000", "--out", "run"]

    def is_under_way(sent: str) -> bool:
        return any(re.search(r" [1-9]\d*(\.\d)?/1,000 epochs", line) for line in lines(sent))

    sent = in_a_terminal(argv, tmp_path, interrupt=is_under_way, status=130)
    assert lines(sent)[-1] == f"manyhands: interrupted; go on with: manyhands {command} --resume run"
    assert sent.rindex(SHOW) > sent.rindex(HIDE)


def test_what_is_no_terminal_gets_no_control_characters(tmp_path: Path) -> None:
    for argv in (TINY, COMPARE):
        done = subprocess.run([sys.executable, "-m", "manyhands", *argv], cwd=tmp_path, capture_output=True, timeout=60)
        assert done.returncode == 0
        assert done.stdout
        text = (done.stdout + done.stderr).decode()
        assert all(character.isprintable() or character in "\n\xa0" for character in text)


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m manyhands strategies | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stdout == "ad-psgd\n"
    assert done.stderr == ""
