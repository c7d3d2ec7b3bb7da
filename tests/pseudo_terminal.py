"""Programs in a pseudo-terminal of their own, as a person would run them, and what they send there."""

import fcntl
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Callable, Sequence
from pathlib import Path

ESCAPE = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\].*?\x07)")
STYLE = re.compile(r"\x1b\[[0-9;]*m")
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
"""the cursor"""


def in_a_terminal(
    argv: Sequence[str],
    folder: Path,
    *,
    columns: int = 80,
    interrupt: Callable[[str], bool] = lambda sent: False,
    status: int = 0,
    **environment: str,
) -> str:
    """All that Python with these arguments sends to a terminal, on both streams.

    Ctrl-C is pressed as soon as ``interrupt`` says so of what was sent until then.
    """
    parent, child = pty.openpty()
    termios.tcsetwinsize(child, (24, columns))
    names = ("PATH", "HOME", "PYTHONPATH", "MANYHANDS_DATA")
    env = {name: os.environ[name] for name in names if name in os.environ} | {"TERM": "xterm"} | environment
    process = subprocess.Popen(
        [sys.executable, *argv], stdin=child, stdout=child, stderr=child, cwd=folder, env=env, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(child)
    chunks, pressed = [], False
    while True:
        try:
            chunk = os.read(parent, 4096)
        except OSError:  # Linux: the other end is closed
            break
        if not chunk:
            break
        chunks.append(chunk)
        if not pressed and interrupt(b"".join(chunks).decode(errors="replace")):
            os.write(parent, b"\x03")
            pressed = True
    os.close(parent)
    assert process.wait(60) == status, b"".join(chunks).decode()
    return b"".join(chunks).decode()


def lines(sent: str) -> list[str]:
    """What was drawn in each line, one after another, without the codes that move the cursor or change the style."""
    return [line.rstrip() for line in re.split(r"[\r\n]+", ESCAPE.sub("", sent)) if line.strip()]
