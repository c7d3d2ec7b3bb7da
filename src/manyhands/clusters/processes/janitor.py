"""Clears up control groups when their owner is gone, even if it was killed. Started as a script, before they are made.

It imports nothing of the package, so that it is ready within milliseconds: ``python -I -S janitor.py GROUP ...`` waits
for the end of its standard input, which comes when the owner ends, whatever ends it.
"""

import contextlib
import os
import signal
import sys
import time

PATIENCE = 10.0
"""seconds that processes get to be gone once they are killed"""


def clear(group: str) -> None:
    """Kill the processes in a control group and the groups below, and remove these groups."""
    deadline = time.monotonic() + PATIENCE
    for folder, _, _ in os.walk(group, topdown=False):
        while True:
            for pid in _members(folder):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                break
            except OSError:  # a process that is killed stays in its group for a moment
                if time.monotonic() > deadline:
                    return
                time.sleep(0.005)
            else:
                break


def _members(folder: str) -> list[int]:
    try:
        with open(os.path.join(folder, "cgroup.procs")) as file:
            return [int(line) for line in file]
    except OSError:
        return []


def main(groups: list[str]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    print("ready", flush=True)
    sys.stdin.buffer.read()
    for group in groups:
        clear(group)


if __name__ == "__main__":
    main(sys.argv[1:])
