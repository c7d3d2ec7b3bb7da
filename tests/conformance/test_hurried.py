"""Rounds that go on without some: rehearsed, resumed and repeated as exactly as all others, on both clusters."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fleet import Fleet
from table import Interrupt, Run, distance, specify, train
from toys import Dawdling, Dropped, Normed, toy

from manyhands import lab
from manyhands.clusters.cluster import Processes, Simulated
from manyhands.clusters.spread import LogNormal
from manyhands.errors import RunError
from manyhands.runs.specification import Specification
from manyhands.tasks.partition import PARTITIONS
from manyhands.training.optimizer import SGD
from manyhands.training.schedule import Cosine

HARSH = Simulated(
    jitter=0.3, slow=("0:3",), threads=2, bandwidth="10Mbit/s", speeds=LogNormal(0.7), links=LogNormal(0.5)
)
DEADLINES = [
    "fedavg:deadline={}",
    "fedavg:deadline={},fraction=0.5,over_selection=0.5,compression=top-k:0.3",
    "fedper:deadline={}",
    "scaffold:deadline={}",
]
VARIANTS = [*DEADLINES, "fedavg:fraction=0.5,over_selection=0.5", "fedprox:fraction=0.5,cohort=diurnal:{},0.4"]
ROUNDS = 5


def specification(variant: str) -> Specification:
    """A deadline is six tenths of what a round takes without one, and so is a day."""
    common: dict[str, Any] = {
        "workers": 6,
        "rounds": ROUNDS,
        "batch_size": 6,  # leaves nobody a batch of one sample, of which batch norm can make nothing
        "cluster": HARSH,
        "optimizer": SGD(momentum=0.9),
        "schedule": Cosine(),
        "partition": PARTITIONS.parse("dirichlet:0.7"),
    }
    patient = specify(variant.partition(":")[0], **common)
    usual = 0.6 * lab.rehearse(patient, task=toy(Dropped)).seconds / ROUNDS
    return specify(variant.format(f"{usual}" if "diurnal" in variant else f"{round(usual * 1e9)}ns"), **common)


@pytest.mark.parametrize("variant", DEADLINES)
def test_some_are_late_and_some_are_not(variant: str, tmp_path: Path) -> None:
    """Else the other tests would show nothing."""
    figures = train(specification(variant), toy(Dropped), tmp_path / "run").history[-1]["figures"]
    assert figures["late"] > 0
    assert figures["replies"] > figures.get("skipped", 0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_rehearsal_takes_what_the_run_takes(variant: str, tmp_path: Path) -> None:
    given, task = specification(variant), toy(Normed)
    rehearsal, run = lab.rehearse(given, task=task), train(given, task, tmp_path / "run")
    assert [tuple(row) for row in rehearsal.rows] == [
        (row["completed"], row["seconds"], row["bytes"]) for row in run.history
    ]
    assert rehearsal.samples == run.history[-1]["samples"]
    for node in run.ledger["nodes"]:
        assert json.loads(json.dumps(rehearsal.ledgers[node["rank"]].to_json())).items() <= node.items()


@pytest.mark.parametrize("variant", VARIANTS)
def test_resumed_is_uninterrupted(variant: str, tmp_path: Path) -> None:
    """Figures too, what the devices have drawn, and the ledger, in which every node's time adds up."""
    given, task = specification(variant), toy(Dropped)
    whole = train(given, task, tmp_path / "whole")
    for node in whole.ledger["nodes"]:
        parts = [seconds for part, seconds in node["seconds"].items() if part != "hidden_communication"]
        assert sum(parts) == pytest.approx(whole.ledger["seconds"], rel=1e-12)
    with pytest.raises(KeyboardInterrupt):
        train(given, task, tmp_path / "broken", observer=Interrupt(2))
    resumed = Run(lab.resume(tmp_path / "broken", task=task))
    assert resumed.files() == whole.files()


@pytest.mark.parametrize("variant", VARIANTS)
def test_threads_and_executor_change_no_time(variant: str, tmp_path: Path) -> None:
    """How clients are computed changes weights by rounding at most, and nothing else."""
    given, task = specification(variant), toy()
    first = train(given, task, tmp_path / "first")
    other = replace(given, cluster=replace(HARSH, threads=1, executor="single"))
    second = train(other, task, tmp_path / "second")
    assert first.files()["ledger.json"] == second.files()["ledger.json"]
    assert [row["samples"] for row in first.history] == [row["samples"] for row in second.history]
    if "top-k" not in variant:  # which a last bit can make choose others
        assert distance(first.weights, second.weights) < 1e-4


# ---- processes


GetFleet = Callable[[int], Fleet]


def repeated(real: Run, folder: Path) -> Run:
    """A run of processes again, in simulation: the same weights, samples, bytes and figures."""
    again = Run(lab.replay(real.folder, task=toy(Dawdling), out=folder))
    assert distance(real.weights, again.weights) <= 1e-6
    for row, other in zip(real.history, again.history, strict=True):
        for key in ("completed", "samples", "bytes", "figures"):
            assert row.get(key) == other.get(key)
        assert row["test_loss"] == pytest.approx(other["test_loss"], rel=1e-6)
    for one, two in zip(real.ledger["nodes"], again.ledger["nodes"], strict=True):
        for count in ("bytes_sent", "bytes_received", "messages_sent"):
            assert one[count] == two[count]
    return again


@pytest.mark.parametrize("strategy", ["fedavg:deadline=1s", "fedper:fraction=0.67,over_selection=0.5"])
def test_a_process_that_dawdles_is_left_behind(strategy: str, fleet: GetFleet, tmp_path: Path) -> None:
    """Its ten batches take two seconds."""
    given = specify(strategy, workers=3, rounds=2)
    real = fleet(given.nodes).train(given, toy(Dawdling), tmp_path / "real")
    figures, samples = real.history[-1]["figures"], real.history[-1]["samples"]
    assert (figures["replies"], figures["late"]) == (4, 2)
    assert 2 * 160 <= samples < 2 * 240
    repeated(real, tmp_path / "again")


def test_processes_of_which_none_is_in_time_skip_the_round(fleet: GetFleet, tmp_path: Path) -> None:
    given = specify("fedavg:deadline=1ns", workers=3, rounds=2)
    real = fleet(given.nodes).train(given, toy(Dawdling), tmp_path / "real")
    assert real.history[-1]["figures"]["late"] == 6
    assert real.history[-1]["figures"]["skipped"] == 2
    assert len({row["test_loss"] for row in real.history}) == 1
    repeated(real, tmp_path / "again")


def test_with_time_enough_processes_and_simulation_agree(fleet: GetFleet, tmp_path: Path) -> None:
    given = specify("fedavg:deadline=100s,fraction=0.67", workers=3, rounds=3)
    real = fleet(given.nodes).train(given, toy(Normed), tmp_path / "real")
    simulated = train(given, toy(Normed), tmp_path / "simulated")
    assert distance(simulated.weights, real.weights) <= 1e-6
    assert simulated.history[-1]["figures"] == real.history[-1]["figures"]


def available(folder: Path, begin: float) -> str:
    (folder / "trace.json").write_text(json.dumps({"0": [[begin, 1e9]], "1": [], "2": [[begin, 1e9]]}))
    return f"fedavg:fraction=0.34,cohort=available:{folder / 'trace.json'}"


def test_processes_wait_for_clients_that_are_to_come(fleet: GetFleet, tmp_path: Path) -> None:
    given = specify(available(tmp_path, 0.4), workers=3, rounds=3)
    real = fleet(given.nodes).train(given, toy(Dawdling), tmp_path / "real")
    assert real.history[1]["seconds"] >= 0.4
    assert [node["messages_sent"] for node in real.ledger["nodes"]][1] == 0
    repeated(real, tmp_path / "again")


def test_a_process_that_would_sleep_longer_than_others_wait_says_so(tmp_path: Path) -> None:
    cluster = Processes(threads=1, timeout=20)
    given = specify(available(tmp_path, 1000.0), workers=3, rounds=1, cluster=cluster)
    with pytest.raises(RunError, match=r"node 3 would be silent for 1000 s, and count as dead: give a --cluster"):
        train(given, toy(), tmp_path / "run")
