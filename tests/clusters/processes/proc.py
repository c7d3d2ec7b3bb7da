"""What runs on this machine, read from /proc."""

import os
import time
from collections.abc import Callable
from pathlib import Path

TWO_WORKERS = [
    "--task",
    "mnist-mini/logistic",
    "--strategy",
    "local-sgd",
    "--cluster",
    "processes",
    "--workers",
    "2",
    "--cluster.threads",
    "1",
]
"""the flags of a small training on two processes"""


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(pid: int) -> set[int]:
    """The processes that a process has started, and those that they have started."""
    parents = {}
    for folder in os.listdir("/proc"):
        if folder.isdigit():
            try:
                parents[int(folder)] = int(Path(f"/proc/{folder}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found: set[int] = set()
    while fresh := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= fresh
    return found


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until something holds, at most so long; whether it does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
