"""How runs on processes of this host fail: with one line that names the node, and nothing left behind."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from proc import alive, descendants, until
from safetensors.torch import load

from manyhands import lab
from manyhands.clusters.cluster import Processes
from manyhands.clusters.processes.launch import Place, check_world
from manyhands.errors import RunError, UserError
from manyhands.runs.folder import RunFolder
from manyhands.runs.reading import RunView
from manyhands.runs.specification import Specification
from manyhands.strategies import FedAvg, LocalSGD, ParameterServer, Strategy, parse_strategy


def specify(strategy: Strategy | None = None, **options: Any) -> Specification:
    return Specification(
        **{
            "task": "mnist-mini/logistic",
            "strategy": strategy or LocalSGD(),
            "cluster": Processes(threads=1, timeout=20),
            "workers": 2,
            **options,
        }
    )


class Saboteur:
    """Sends a signal to a node's process once so many epochs are done."""

    def __init__(self, rank: int, number: signal.Signals, completed: int = 1) -> None:
        self.rank, self.number, self.completed = rank, number, completed
        self.pids: set[int] = set()
        self.when = 0.0

    def __call__(self, row: dict[str, Any]) -> None:
        if row["completed"] == self.completed:
            nodes = {child.name: child.pid for child in multiprocessing.active_children()}
            self.pids, self.when = descendants(os.getpid()), time.monotonic()
            pid = nodes[f"manyhands-node-{self.rank}"]
            assert pid is not None
            os.kill(pid, self.number)

    def assert_nothing_is_left(self) -> None:
        assert len(self.pids) >= 2
        assert until(lambda: not any(map(alive, self.pids - self._lasting())), 1)

    @staticmethod
    def _lasting() -> set[int | None]:
        """Python's own, which live as long as we do: one keeps track of shared resources, of one others are copies."""
        from multiprocessing import forkserver, resource_tracker

        return {resource_tracker._resource_tracker._pid, forkserver._forkserver._forkserver_pid}  # type: ignore[attr-defined]


def test_a_killed_node_ends_the_run_at_once_and_is_named(tmp_path: Path) -> None:
    saboteur = Saboteur(rank=1, number=signal.SIGKILL)
    cluster = Processes(threads=1, timeout=120)
    with pytest.raises(RunError, match=r"^node 1 died \(killed by SIGKILL\); the run was stopped$"):
        lab.train(specify(epochs=10_000, cluster=cluster), out=tmp_path / "run", observer=saboteur)
    assert time.monotonic() - saboteur.when < 60  # long before anybody's patience is at an end
    saboteur.assert_nothing_is_left()
    run = RunFolder(tmp_path / "run")
    assert run.read_run()["status"] == "failed"
    assert "node 1" in run.read_run()["error"]
    assert run.read_checkpoint()[0]["completed"] >= 1


@pytest.mark.parametrize("name", ["parameter-server:consistency=async", "ad-psgd"])
def test_a_node_that_dies_in_the_middle_of_an_asynchronous_run_is_named(name: str, tmp_path: Path) -> None:
    saboteur = Saboteur(rank=1, number=signal.SIGKILL)
    with pytest.raises(RunError, match=r"^node 1 died \(killed by SIGKILL\); the run was stopped$"):
        lab.train(specify(parse_strategy(name), epochs=10_000), out=tmp_path / "run", observer=saboteur)
    saboteur.assert_nothing_is_left()
    run = RunFolder(tmp_path / "run")
    assert run.read_run()["status"] == "failed"
    rows, order = run.read_history(), run.read_rows("order.jsonl")
    assert 0 <= len(rows) - len(order) <= 1
    assert [row["completed"] for row in order] == list(range(len(order)))
    view = RunView.read(tmp_path / "run")
    assert view.status == "failed"
    assert len(view.history) == len(rows) >= 2


@pytest.mark.slow
def test_a_node_that_hangs_is_given_up_after_the_timeout(tmp_path: Path) -> None:
    """A worker stands still; the server notices after the time it was given."""
    saboteur = Saboteur(rank=0, number=signal.SIGSTOP)
    cluster = Processes(threads=1, timeout=3)
    with pytest.raises(RunError, match=r"node 0 is lost: .*(?i:timed out|timeout)"):
        lab.train(
            specify(ParameterServer(), workers=1, epochs=10_000, cluster=cluster),
            out=tmp_path / "run",
            observer=saboteur,
        )
    assert 3 <= time.monotonic() - saboteur.when < 25
    saboteur.assert_nothing_is_left()


def test_a_training_that_diverges_stops_says_where_and_keeps_the_checkpoint_of_before(tmp_path: Path) -> None:
    """The learning rate is zero in the first round, for warming up, and ruins the second."""
    specification = specify(FedAvg(), task="mnist-mini/mlp", lr=1e9, warm_up=2, rounds=3)
    with pytest.raises(RunError, match=r"^the loss is (nan|inf) at step \d+ of worker [01]: .* --lr \(now 5e\+08\)"):
        lab.train(specification, out=tmp_path / "run")
    assert not multiprocessing.active_children()
    run = RunFolder(tmp_path / "run")
    assert run.read_run()["status"] == "failed"
    assert [row["completed"] for row in run.read_history()] == [0, 1]
    completed, tensors = run.read_checkpoint()
    assert completed["completed"] == 1
    assert all(tensor.isfinite().all() for tensor in load(tensors).values())


def test_a_port_in_use_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"^--cluster.port {port} cannot be used .*: choose another, or 0$"):
            lab.train(specify(cluster=Processes(port=port)), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_place_of_a_process_is_what_torchrun_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert Place.of_torchrun() is None
    given = {"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert Place.of_torchrun() == Place(rank=3, world=4, local_rank=1, local_world=2)


def test_torchrun_must_start_a_process_for_each_node() -> None:
    check_world(specify(workers=3), 3)
    check_world(specify(FedAvg(), workers=3), 4)
    with pytest.raises(UserError, match="torchrun started 3 processes, but --workers 2 need 2"):
        check_world(specify(), 3)
    with pytest.raises(UserError, match="torchrun started 2 processes, but --workers 2 and 1 server need 3"):
        check_world(specify(FedAvg()), 2)


TYPED = """
from dataclasses import dataclass
from manyhands import Processes, Specification, Strategy, register, train
from manyhands.errors import UserError

@register("typed")
@dataclass(frozen=True, kw_only=True)
class Typed(Strategy):
    pass

try:
    train(Specification(task="mnist-mini/logistic", strategy=Typed(), cluster=Processes(), workers=2), out="run")
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize("how", ["prompt", "standard input"])
def test_what_other_processes_cannot_find_is_refused(how: str, tmp_path: Path) -> None:
    python = [sys.executable, "-c", TYPED] if how == "prompt" else [sys.executable]
    done = subprocess.run(python, input=TYPED, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("what is written at a prompt, in a notebook or on the standard input cannot be found")
    assert not (tmp_path / "run").exists()
