"""The same strategy on both clusters: simulated nodes and real processes end with the same weights."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path

import pytest
import torch
from fleet import CLUSTER, Fleet
from table import (
    LOOSE,
    SYNCHRONOUS,
    VARIANTS,
    Interrupt,
    Run,
    batches,
    cosine,
    distance,
    flat,
    initial_module,
    specify,
    train,
)
from toys import HALT, Halting, Normed, Spared, toy

from manyhands import lab
from manyhands.runs.folder import RunFolder
from manyhands.runs.specification import Specification
from manyhands.training.optimizer import SGD
from manyhands.training.schedule import Cosine

STEPS = 20
GetFleet = Callable[[int], Fleet]
RunProcesses = Callable[[str], Run]


def shared(name: str) -> Specification:
    """Three workers with batches of eight take twenty steps over two epochs or rounds."""
    return specify(
        name, workers=3, optimizer=SGD(momentum=0.9), schedule=Cosine(), batch_size=24 if name == "single" else 8
    )


@pytest.fixture(scope="module")
def run_processes(tmp_path_factory: pytest.TempPathFactory, fleet: GetFleet) -> RunProcesses:
    """Each strategy is run once for all the tests here."""

    @cache
    def run(name: str) -> Run:
        folder, specification = tmp_path_factory.mktemp("processes") / "run", shared(name)
        return fleet(specification.nodes).train(specification, toy(Normed), folder)

    return run


def assert_same_accounts(ours: Run, theirs: Run) -> None:
    """Bytes and messages of every node, and the history but for its clock."""
    for our, their in zip(ours.ledger["nodes"], theirs.ledger["nodes"], strict=True):
        counts = ("rank", "role", "bytes_sent", "bytes_received", "messages_sent", "to")
        assert {count: our[count] for count in counts} == {count: their[count] for count in counts}
        assert our.get("staleness") == their.get("staleness")
    for row, other in zip(ours.history, theirs.history, strict=True):
        exact = ("epoch", "round", "completed", "samples", "bytes", "test_accuracy")
        assert {key: row[key] for key in exact} == {key: other[key] for key in exact}
        assert row["test_loss"] == pytest.approx(other["test_loss"], rel=1e-6)
        assert (row["train_loss"] or 0) == pytest.approx(other["train_loss"] or 0, rel=1e-6)
        assert row["consensus"] == pytest.approx(other["consensus"], rel=1e-5, abs=1e-6)
    assert_same_clients(ours, theirs)
    assert_same_workers(ours, theirs)


def assert_same_workers(ours: Run, theirs: Run) -> None:
    """The training loss of each, row by row; and which classes the model takes for each other."""
    rows, others = (RunFolder(run.folder).read_rows("workers.jsonl") for run in (ours, theirs))
    assert len(rows) == len(others)
    for row, other in zip(rows, others, strict=True):
        assert len(row["train_loss"]) == 3
        for loss, their in zip(row["train_loss"], other["train_loss"], strict=True):
            assert (loss or 0) == pytest.approx(their or 0, rel=1e-5, abs=2e-5)
    evaluation, other = (RunFolder(run.folder).read_json("evaluation.json") for run in (ours, theirs))
    assert evaluation.get("confused") == other.get("confused")


def assert_same_clients(ours: Run, theirs: Run) -> None:
    """What is told of each client. Who was late leaves off somewhere, so that its own weights are left to chance."""
    settled = ("loss", "accuracy")
    own = ("train_loss", "own_loss", "own_accuracy")
    strategy = Specification.from_json(RunFolder(ours.folder).read_run()["specification"]).strategy
    for row, other in zip(ours.clients, theirs.clients, strict=True):
        assert row["completed"] == other["completed"]
        if strategy.synchronous:
            assert row["ranks"] == other["ranks"]
        for key in (*settled, *own) if strategy.synchronous else settled:
            assert row[key] == [value if value is None else pytest.approx(value, abs=2e-5) for value in other[key]]


@pytest.mark.parametrize("name", [variant for variant in SYNCHRONOUS if variant not in LOOSE])
def test_processes_end_with_the_simulated_weights_and_bytes(
    name: str, run_processes: RunProcesses, tmp_path: Path
) -> None:
    simulated, real = train(shared(name), toy(Normed), tmp_path / "simulated"), run_processes(name)
    assert simulated.history[-1]["samples"] >= STEPS * 24 // (2 if "fraction" in name else 1)
    assert distance(simulated.weights, real.weights) <= 1e-6
    assert_same_accounts(simulated, real)


@pytest.mark.parametrize("name", LOOSE)
def test_where_sums_are_rounded_processes_end_near_the_simulated_weights(
    name: str, run_processes: RunProcesses, tmp_path: Path
) -> None:
    """The last bit of a sum decides which way a number is rounded, and with it much of what is sent later."""
    simulated, real = train(shared(name), toy(Normed), tmp_path / "simulated"), run_processes(name)
    assert distance(simulated.weights, real.weights) <= LOOSE[name]
    sent = [[node["bytes_sent"] for node in run.ledger["nodes"]] for run in (simulated, real)]
    assert sent[0] == sent[1]


ASYNCHRONOUS = [variant for variant in VARIANTS if variant not in SYNCHRONOUS]


@pytest.mark.parametrize("name", ASYNCHRONOUS)
def test_replayed_in_simulation_an_asynchronous_run_ends_with_the_same_weights(
    name: str, run_processes: RunProcesses, tmp_path: Path
) -> None:
    real = run_processes(name)
    order = RunFolder(real.folder).read_rows("order.jsonl")
    assert [row["completed"] for row in order] == [0, 1, 2]
    assert sum(len(outcomes) for row in order for outcomes in row["nodes"].values()) >= 6
    replayed = Run(lab.replay(real.folder, task=toy(Normed), out=tmp_path / "replayed"))
    assert distance(real.weights, replayed.weights) <= 1e-6
    assert_same_accounts(replayed, real)
    assert RunFolder(replayed.folder).read_run()["replay_of"] == str(real.folder)


@pytest.mark.parametrize("name", ASYNCHRONOUS)
def test_one_asynchronous_worker_leaves_nothing_to_chance(name: str, fleet: GetFleet, tmp_path: Path) -> None:
    specification = specify(name, workers=1, optimizer=SGD(momentum=0.9))
    simulated = train(specification, toy(Normed), tmp_path / "simulated")
    real = fleet(specification.nodes).train(specification, toy(Normed), tmp_path / "real")
    assert distance(simulated.weights, real.weights) <= 1e-6
    assert_same_accounts(simulated, real)


def test_all_reduce_is_distributed_data_parallel(run_processes: RunProcesses, tmp_path: Path) -> None:
    specification, task = shared("all-reduce"), toy(Normed)
    given = {
        "module": initial_module(specification, task),
        "inputs": task.train.inputs,
        "targets": task.train.targets,
        "indices": list(islice(batches(specification, task), STEPS)),
        "lrs": cosine(specification.lr, STEPS),
        "momentum": 0.9,
    }
    torch.save(given, tmp_path / "given.pt")
    script, world = Path(__file__).with_name("plain_ddp.py"), specification.size
    loops = [subprocess.Popen([sys.executable, script, str(rank), str(world), tmp_path]) for rank in range(world)]
    assert [loop.wait(60) for loop in loops] == [0] * world
    states = [torch.load(tmp_path / f"{rank}.pt") for rank in range(world)]
    plain = torch.stack([flat(state) for state in states]).mean(0)  # batch statistics are each process's own
    assert distance(plain, run_processes("all-reduce").weights) <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["all-reduce", "parameter-server", "fedavg"])
def test_resumed_processes_end_with_the_weights_of_an_uninterrupted_run(
    name: str, run_processes: RunProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in the middle of the second epoch, of ten batches, where they wait for it."""
    task, whole = toy(Halting), run_processes(name)
    specification = replace(shared(name), cluster=CLUSTER)
    monkeypatch.setenv(HALT, "1")
    with pytest.raises(KeyboardInterrupt):
        train(specification, task, tmp_path / "run", observer=Interrupt(1))
    monkeypatch.delenv(HALT)
    assert len(RunFolder(tmp_path / "run").read_history()) == 2
    saved, _ = RunFolder(tmp_path / "run").read_checkpoint()
    assert saved["completed"] <= 1  # whether the checkpoint of the row that was seen is written yet
    resumed = Run(lab.resume(tmp_path / "run", task=task))
    assert (resumed.folder / "model.safetensors").read_bytes() == (whole.folder / "model.safetensors").read_bytes()
    assert [row["test_loss"] for row in resumed.history] == [row["test_loss"] for row in whole.history]
    assert resumed.history[-1]["bytes"] == whole.history[-1]["bytes"]


def test_parameters_without_a_part_in_the_loss_are_left_alone(tmp_path: Path) -> None:
    specification = specify("all-reduce", workers=2, optimizer=SGD(momentum=0.9))
    simulated = train(specification, toy(Spared), tmp_path / "simulated")
    real = train(replace(specification, cluster=CLUSTER), toy(Spared), tmp_path / "real")
    assert distance(simulated.weights, real.weights) <= 1e-6
