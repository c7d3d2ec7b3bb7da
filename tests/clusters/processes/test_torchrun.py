"""Processes started by torchrun, on one host and on two."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
import torch
from proc import TWO_WORKERS, descendants, until
from safetensors.torch import load_file

from manyhands import lab
from manyhands.runs.folder import RunFolder
from manyhands.runs.specification import Specification
from manyhands.strategies import LocalSGD

TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
TRAIN = [
    "-m",
    "manyhands",
    "train",
    *TWO_WORKERS,
    "--cluster.timeout",
    "30",
    "--quiet",
]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def assert_trained(folder: Path, scratch: Path) -> None:
    """The run is whole, and its weights are those of the simulated cluster."""
    assert RunFolder(folder).read_run()["status"] == "finished"
    specification = Specification(task="mnist-mini/logistic", strategy=LocalSGD(), workers=2, epochs=1)
    simulated = load_file(lab.train(specification, out=scratch / "simulated") / "model.safetensors")
    for name, tensor in load_file(folder / "model.safetensors").items():
        torch.testing.assert_close(tensor, simulated[name], rtol=1e-5, atol=1e-6)


def test_torchrun_on_one_host(tmp_path: Path) -> None:
    command = [*TORCHRUN, "--standalone", "--nproc-per-node", "2", *TRAIN, "--epochs", "1", "--out", tmp_path / "run"]
    done = subprocess.run(command, env=ENVIRONMENT, timeout=90, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'run'}\n"
    assert_trained(tmp_path / "run", tmp_path)


def test_another_number_of_processes_than_nodes_is_refused_in_one_line(tmp_path: Path) -> None:
    """What each process that torchrun starts does when there are three of them for two workers."""
    given = {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "3", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "3"}
    command = [sys.executable, *TRAIN, "--out", tmp_path / "run"]
    done = subprocess.run(command, env=ENVIRONMENT | given, timeout=60, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "manyhands: error: torchrun started 3 processes, but --workers 2 need 2: "
        "make nnodes x nproc-per-node 2, or change --workers\n"
    )
    assert not (tmp_path / "run").exists()


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Two network namespaces, each with an end of one cable called veth0: 10.77.0.1 and 10.77.0.2."""
    mark = uuid4().hex[:6]
    names = (f"manyhands-{mark}-0", f"manyhands-{mark}-1")
    ends = (f"mh{mark}0", f"mh{mark}1")

    def ip(*words: str) -> None:
        try:
            subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
        except OSError as error:
            pytest.skip(f"there is no ip command here: {error}")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces cannot be made here: {error.stderr.strip()}")

    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for host, (name, end) in enumerate(zip(names, ends, strict=True)):
            ip("link", "set", end, "netns", name, "name", "veth0")
            ip("-n", name, "address", "add", f"10.77.0.{host + 1}/24", "dev", "veth0")
            for interface in ("lo", "veth0"):
                ip("-n", name, "link", "set", interface, "up")
        yield names
    finally:
        for name in names:  # takes its end of the cable with it, and so the other
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", ends[0]], capture_output=True, check=False)


class Agents:
    """torchrun on each of two hosts, with a folder for each in ``scratch``: they share no disk."""

    def __init__(self, hosts: tuple[str, str], scratch: Path, epochs: int) -> None:
        self.processes = []
        for number, host in enumerate(hosts):
            meeting = f"--nnodes 2 --nproc-per-node 1 --node-rank {number} --master-addr 10.77.0.1 --master-port 29400"
            flags = f"--cluster.interface veth0 --epochs {epochs} --out {scratch / str(number)}"
            command = ["ip", "netns", "exec", host, *TORCHRUN, *meeting.split(), *TRAIN, *flags.split()]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            self.processes.append(subprocess.Popen(command, env=ENVIRONMENT, text=True, **pipes))

    def __enter__(self) -> "Agents":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            for pid in {process.pid, *descendants(process.pid)}:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.communicate()

    def end(self) -> tuple[list[int], list[str], list[str]]:
        """Wait for both; their exit statuses, outputs and complaints."""
        texts = [process.communicate(timeout=90) for process in self.processes]
        return [process.returncode for process in self.processes], [out for out, _ in texts], [err for _, err in texts]


@pytest.mark.namespaces
@pytest.mark.slow
def test_torchrun_on_two_hosts(hosts: tuple[str, str], tmp_path: Path) -> None:
    with Agents(hosts, tmp_path, epochs=1) as agents:
        statuses, outputs, complaints = agents.end()
    assert statuses == [0, 0], complaints
    assert outputs == [f"{tmp_path / '0'}\n", ""]
    assert not (tmp_path / "1").exists()
    assert_trained(tmp_path / "0", tmp_path)


@pytest.mark.slow
@pytest.mark.namespaces
def test_a_node_that_dies_on_another_host_is_named(hosts: tuple[str, str], tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "0")
    with Agents(hosts, tmp_path, epochs=10_000) as agents:
        assert until(lambda: len(run.read_history()) > 2, 60)
        (node,) = descendants(agents.processes[1].pid)
        os.kill(node, signal.SIGKILL)
        statuses, _, complaints = agents.end()
    assert 0 not in statuses
    assert "manyhands: error: node 1 died; the run was stopped\n" in complaints[0]
    assert run.read_run()["status"] == "failed"
    assert run.read_run()["error"] == "node 1 died; the run was stopped"
    assert run.read_checkpoint()[0]["completed"] >= 1
