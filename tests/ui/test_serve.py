"""The command itself: the port, the folder, and how it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from manyhands.cli.main import main
from manyhands.errors import UserError
from manyhands.ui.serve import LOOPBACK, bind

COMMAND = [sys.executable, "-m", "manyhands", "ui", "runs", "--no-browser", "--allow-launch"]


def test_a_taken_port_is_passed_over() -> None:
    with bind(0) as first:
        port = first.getsockname()[1]
        with bind(port) as second:
            assert second.getsockname()[0] == LOOPBACK
            assert port < second.getsockname()[1] <= port + 50


def test_a_port_that_is_not_allowed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(UserError, match=r"--port 80 cannot be used \(Permission denied\)"):
        bind(80)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["nowhere"], "nowhere is not a folder: name one that holds runs, or will"),
        (["--port", "65536"], "--port must lie in 0 … 65535, not 65536"),
        (["--port", "x"], "--port must be a whole number, not 'x'"),
        (["--allow-lunch"], "perhaps you meant --allow-launch"),
    ],
)
def test_bad_flags(
    flags: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["ui", *flags]) == 2
    assert said in capsys.readouterr().err


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with (
        bind(0) as taken,
        subprocess.Popen(
            [*COMMAND, "--port", str(taken.getsockname()[1])],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        ) as process,
    ):
        yield process
        process.kill()


def test_it_says_where_it_is_and_ctrl_c_stops_what_it_started(server: subprocess.Popen[str], tmp_path: Path) -> None:
    assert server.stdout is not None
    passed = server.stdout.readline()
    assert re.fullmatch(r"port \d+ is taken: this is on \d+\n", passed)
    address = server.stdout.readline().strip()
    found = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/\?token=([\w-]{32})", address)
    assert found

    given = {"--workers": "2", "--epochs": "500", "--samples": "400"}
    request = urllib.request.Request(
        f"{found[1]}/api/launch?token={found[2]}",
        json.dumps({"form": "train", "given": given}).encode(),
        {"Content-Type": "application/json", "Origin": found[1]},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        id_ = json.load(answer)["id"]
    server.send_signal(signal.SIGINT)
    _, said = server.communicate(timeout=60)
    assert server.returncode == 0, said
    assert said.startswith(f"stopped {id_}; go on with: manyhands train --resume")
    record = json.loads((tmp_path / "runs" / id_ / "run.json").read_text())
    assert record["status"] == "stopped"
