"""What Ctrl-C, and worse, leave of ``manyhands train`` on processes: a run that can be resumed, and no process."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from proc import TWO_WORKERS, alive, descendants, until

from manyhands import lab
from manyhands.runs.folder import RunFolder

FLAGS = [
    *TWO_WORKERS,
    "--epochs",
    "5000",
    "--quiet",
]


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "manyhands", "train", *FLAGS, "--out", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_an_interrupt_while_processes_start_is_told_in_one_line(tmp_path: Path) -> None:
    command = start(tmp_path / "run")
    assert until(lambda: len(descendants(command.pid)) >= 3, 60), command.communicate()  # two nodes, Python's tracker
    pids = descendants(command.pid)
    os.killpg(command.pid, signal.SIGINT)  # as a terminal does
    output, complaint = command.communicate(timeout=20)
    assert (command.returncode, output) == (130, "")
    assert complaint.startswith("manyhands: interrupted")
    assert complaint.count("\n") == 1
    assert until(lambda: not any(map(alive, pids)), 10)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_can_be_resumed_and_leaves_no_process(number: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = start(folder)
    run = RunFolder(folder)
    assert until(lambda: len(run.read_history()) > 2, 60), command.communicate()
    pids = descendants(command.pid)
    assert len(pids) >= 2
    if number == signal.SIGINT:
        os.killpg(command.pid, number)
        output, complaint = command.communicate(timeout=20)
        assert command.returncode == 130
        assert output == ""
        assert complaint == f"manyhands: interrupted; go on with: manyhands train --resume {folder}\n"
        assert run.read_run()["status"] == "stopped"
    else:
        command.kill()  # the launcher alone, which cannot say good-bye
        command.communicate(timeout=20)
    assert until(lambda: not any(map(alive, pids)), 10)
    completed = run.read_checkpoint()[0]["completed"]

    def stop(row: dict[str, Any]) -> None:
        if row["completed"] == completed + 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lab.resume(folder, observer=stop)
    assert [row["completed"] for row in run.read_history()][: completed + 3] == list(range(completed + 3))
