"""Finding the command, and what all commands have in common."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from manyhands import __version__
from manyhands.cli.main import COMMANDS, main

# Seconds of the processor rather than of the wall: other tests may run beside this one.
HELP = """
import sys, time
from manyhands.cli.main import main
assert main(sys.argv[1:]) == 0
print(time.process_time(), "torch" in sys.modules)
"""
TINY = ["train", "--task", "mnist-mini/logistic", "--batch-size", "100", "--epochs", "1"]


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


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=str)
def test_help_answers_in_half_a_second_without_torch(command: tuple[str, ...]) -> None:
    argv = [sys.executable, "-c", HELP, *command, "--help"]
    answers = [subprocess.run(argv, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    seconds, torch = zip(*(answer.splitlines()[-1].split() for answer in answers), strict=True)
    assert set(torch) == {"False"}
    assert min(map(float, seconds)) < 0.5


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_readable_in_80_columns(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(
        number for number, line in enumerate(lines) if line.strip("╭─ ╮").startswith(("options", "positional"))
    )
    assert max(map(len, lines[start:])) <= 80
    assert not any(word in line for line in lines for word in ("None", "``", "\x1b", "http"))


def in_a_terminal(argv: list[str], folder: Path, **environment: str) -> str:
    """What a person would be sent, on both streams."""
    parent, child = pty.openpty()
    names = ("PATH", "HOME")
    env = {name: os.environ[name] for name in names if name in os.environ} | {"TERM": "xterm"} | environment
    process = subprocess.Popen(
        [sys.executable, "-m", "manyhands", *argv], stdin=child, stdout=child, stderr=child, cwd=folder, env=env
    )
    os.close(child)
    chunks = []
    while True:
        try:
            chunk = os.read(parent, 4096)
        except OSError:  # Linux: the other end is closed
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(parent)
    assert process.wait(60) == 0
    return b"".join(chunks).decode()


def test_a_terminal_gets_colours_unless_there_is_no_color(tmp_path: Path) -> None:
    assert "\x1b[1m" in in_a_terminal(["data", "--help"], tmp_path)
    assert "\x1b" not in in_a_terminal(["data", "--help"], tmp_path, NO_COLOR="1")


def test_a_terminal_gets_live_progress(tmp_path: Path) -> None:
    shown = in_a_terminal([*TINY, "--out", "run"], tmp_path)
    assert "all-reduce" in shown
    assert "1/1" in shown
    assert "\x1b[3" in shown
    assert "\x1b[3" not in in_a_terminal([*TINY, "--out", "run-2"], tmp_path, NO_COLOR="1")


def test_what_is_no_terminal_gets_no_control_characters(tmp_path: Path) -> None:
    compare = ["compare", *TINY[1:], "--strategies", "gossip", "--cluster", "simulated"]
    for argv in (TINY, compare):
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
