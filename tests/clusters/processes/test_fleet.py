"""Processes that live on: what they are asked to do, one thing after another, and what becomes of those that fail."""

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jobs
import pytest

from manyhands import lab
from manyhands.clusters.cluster import Processes
from manyhands.clusters.processes.fleet import Fleet
from manyhands.clusters.processes.member import Place
from manyhands.errors import RunError, UserError
from manyhands.runs.folder import RunFolder
from manyhands.runs.specification import Specification
from manyhands.strategies import AllReduce, LocalSGD

OPTIONS = Processes(threads=1, timeout=30)


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Fleet(3, OPTIONS) as fleet:
        yield fleet
    assert not multiprocessing.active_children()


def specify(workers: int, **options: Any) -> Specification:
    cluster = options.pop("cluster", OPTIONS)
    defaults: dict[str, Any] = {"task": "mnist-mini/logistic", "strategy": LocalSGD(), "epochs": 1}
    return Specification(cluster=cluster, workers=workers, **(defaults | options))


def test_results_come_by_rank_from_processes_that_stay(fleet: Fleet) -> None:
    first, second = fleet.call(jobs.whoami, "hello"), fleet.call(jobs.whoami, "again")
    assert [answer[:3] for answer in first] == [("hello", rank, 3) for rank in range(3)]
    assert [answer[3] for answer in first] == [answer[3] for answer in second]
    assert len({answer[3] for answer in first}) == 3


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_any_number_of_them_form_a_process_group(fleet: Fleet, nodes: int) -> None:
    assert fleet.call(jobs.total, 1000, nodes=nodes) == [sum(range(nodes))] * nodes


def test_they_start_in_the_environment_of_now(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not in that of the process of which they are copies, which is as old as the first fleet."""
    fleet.call(jobs.total, 1, nodes=1)
    monkeypatch.setenv("MANYHANDS_DATA", "/somewhere/else")
    with Fleet(1, OPTIONS) as new:
        assert new.call(jobs.variable, "MANYHANDS_DATA") == ["/somewhere/else"]


def test_a_fleet_trains_what_new_processes_train(fleet: Fleet, tmp_path: Path) -> None:
    (before,) = fleet.call(jobs.whoami, "", nodes=1)
    rows: list[dict[str, Any]] = []
    for workers in (2, 3):
        lab.train(specify(workers), out=tmp_path / f"fleet{workers}", fleet=fleet, observer=rows.append)
    lab.train(specify(2), out=tmp_path / "new")
    ours, theirs = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("fleet2", "new"))
    assert ours == theirs
    assert [row["completed"] for row in rows] == [0, 1, 0, 1]
    assert RunFolder(tmp_path / "fleet3").read_run()["status"] == "finished"
    assert fleet.call(jobs.whoami, "", nodes=1) == [before]


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_trainings_leave_no_threads_or_files_behind(fleet: Fleet, tmp_path: Path) -> None:
    """The wrapper that averages gradients as they come once kept each training's connections alive."""
    held = []
    for number in range(5):
        lab.train(specify(3, strategy=AllReduce(), samples=96), out=tmp_path / str(number), fleet=fleet)
        held.append(fleet.call(jobs.holdings))
    for (threads, files), (more_threads, more_files) in zip(held[0], held[-1], strict=True):
        assert more_threads < threads + 3  # of one training
        assert more_files < files + 7


@pytest.mark.parametrize(
    ("job", "error", "text"),
    [
        (jobs.fail, RunError, r"^node 1 died \(ZeroDivisionError: a defect\); the run was stopped$"),
        (jobs.refuse, RunError, r"^--what is wrong: take another$"),
        (jobs.die, RunError, r"^node 1 died \(killed by SIGKILL\); the run was stopped$"),
    ],
)
def test_who_fails_is_named_and_the_fleet_begins_anew(
    fleet: Fleet, job: Callable[..., None], error: type[Exception], text: str
) -> None:
    pids = [answer[3] for answer in fleet.call(jobs.whoami, "")]
    with pytest.raises(error, match=text):
        fleet.call(job, 1)
    assert not multiprocessing.active_children()
    assert {answer[3] for answer in fleet.call(jobs.whoami, "")}.isdisjoint(pids)


def test_what_does_not_fit_a_fleet_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="4 nodes do not fit a fleet of 3 processes"):
        fleet.call(jobs.whoami, "", nodes=4)
    with pytest.raises(UserError, match="4 nodes do not fit a fleet of 3 processes"):
        lab.train(specify(4), out=tmp_path / "run", fleet=fleet)
    with pytest.raises(UserError, match="other hosts, or another delay or interface, than the fleet"):
        lab.train(specify(2, cluster=replace(OPTIONS, hosts=2)), out=tmp_path / "run", fleet=fleet)
    assert not (tmp_path / "run").exists()


def test_places_on_hosts() -> None:
    assert [Place.on_hosts(rank, 3, 0) for rank in range(3)] == [Place(rank, 3, rank, 3) for rank in range(3)]
    assert [Place.on_hosts(rank, 5, 2) for rank in range(5)] == [
        Place(0, 5, 0, 3), Place(1, 5, 0, 2), Place(2, 5, 1, 3), Place(3, 5, 1, 2), Place(4, 5, 2, 3),
    ]  # fmt: skip
