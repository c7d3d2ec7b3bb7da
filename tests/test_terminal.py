"""Bars, in a pseudo-terminal, and what is not drawn where nobody looks."""

import io
import re
import subprocess
import sys
import time
from math import nan
from pathlib import Path

import pytest

from manyhands import terminal
from manyhands.terminal import Bar
from pseudo_terminal import HIDE, SHOW, STYLE, in_a_terminal, lines

BARS = """
import sys, time
from manyhands import terminal
shares = iter([float("nan"), 0.25, 0.5])
with terminal.silenced("silent" in sys.argv):
    with terminal.bar("all", 3, "runs") as whole:
        whole.move(1)
        name = "parameter-server:consistency=ssp:3,servers=2 ×16 dirichlet:0.3 slow 0:4+3:2 seed 1"
        with terminal.bar(name, 12, "epochs", lambda: next(shares, 0.75)) as line:
            line.move(state="91.2 % at 4.1 s")
            while terminal.is_watched() and line.completed < 9:
                time.sleep(0.05)
            time.sleep(0.6)
        terminal.tell("1/3 done")
        with terminal.bar("train-images-idx3-ubyte.gz", None, "B") as line:
            line.move(1e6, total=9912422)
            time.sleep(0.6)
terminal.console().print("[bold]a table[/bold]")
"""


@pytest.mark.parametrize("columns", [80, 60, 132])
def test_bars_fit_and_move(columns: int, tmp_path: Path) -> None:
    sent = in_a_terminal(["-c", BARS], tmp_path, columns=columns)
    drawn = lines(sent)
    assert max(map(len, drawn)) <= columns
    assert any(re.search(r"all .*1/3 runs", line) for line in drawn)
    assert any(re.search(r"par.* 9/12 epochs +[\d.]+(/s| s each) \d+:\d\d left 91.2 %", line) for line in drawn)
    assert any(re.search(r"train-im.* 1.0/9.9 MB", line) for line in drawn)
    assert "1/3 done" in drawn
    assert drawn[-1] == "a table"
    assert sent.rindex(SHOW) > sent.rindex(HIDE)


def test_no_color_takes_away_styles_and_a_dumb_terminal_all(tmp_path: Path) -> None:
    assert STYLE.search(in_a_terminal(["-c", BARS], tmp_path))
    plain = in_a_terminal(["-c", BARS], tmp_path, NO_COLOR="1")
    assert not STYLE.search(plain)
    assert "9/12 epochs" in plain
    assert in_a_terminal(["-c", BARS], tmp_path, TERM="dumb") == "1/3 done\r\na table\r\n"


def test_silence_and_other_places_than_a_terminal(tmp_path: Path) -> None:
    assert lines(in_a_terminal(["-c", BARS, "silent"], tmp_path)) == ["a table"]
    done = subprocess.run([sys.executable, "-c", BARS], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("a table\n", "1/3 done\n")


def test_ctrl_c_leaves_a_terminal_as_it_was(tmp_path: Path) -> None:
    sent = in_a_terminal(
        ["-c", BARS], tmp_path, interrupt=lambda sent: "epochs" in sent, status=-2
    )  # by the signal, as it was not caught
    assert sent.rindex(SHOW) > sent.rindex(HIDE)


def test_a_gauge_starts_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    share = nan
    line = Bar("resumed", 10, "rounds", lambda: share)
    line.look()
    now, share = 130.0, 0.4
    line.look()
    assert (line.completed, line.rate, line.seconds_left) == (4, None, None)
    now, share = 140.0, 0.6
    line.look()
    assert (line.completed, line.rate, line.seconds_left) == (6, 0.2, 20)
    now = 145.0
    assert line.seconds_left == 15
    line.move(5)
    assert line.completed == 6


def test_an_unwatched_bar_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with terminal.bar("nobody looks", 1, "") as line:
        line.move(1)
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0.0, 10, "epochs"), "0/10 epochs"),
        ((3.44, 10, "epochs"), "3.4/10 epochs"),
        ((34.5e6, 170.5e6, "B"), "34.5/170.5 MB"),
        ((512, None, "B"), "512.0 B"),
        ((3, 7, ""), "3/7"),
        ((0, None, ""), ""),
    ],
)
def test_amounts(arguments: tuple[float, float | None, str], text: str) -> None:
    assert terminal._amount(*arguments) == text
