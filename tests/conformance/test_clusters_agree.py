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
from table import Interrupt, Run, batches, cosine, distance, flat, initial_module, specify, train
from toys import Normed, Spared, toy

from manyhands import lab
from manyhands.clusters.cluster import Processes
from manyhands.runs.folder import RunFolder
from manyhands.runs.specification import Specification
from manyhands.strategies import STRATEGIES, parse_strategy
from manyhands.training.optimizer import SGD
from manyhands.training.schedule import Cosine

STEPS = 20
CLUSTER = Processes(threads=1, timeout=60)
SYNCHRONOUS = [name for name in STRATEGIES if parse_strategy(name).synchronous]
RunProcesses = Callable[[str], Run]


def shared(name: str) -> Specification:
    """Three workers with batches of eight take twenty steps over two epochs or rounds."""
    return specify(
        name, workers=3, optimizer=SGD(momentum=0.9), schedule=Cosine(), batch_size=24 if name == "single" else 8
    )


@pytest.fixture(scope="module")
def run_processes(tmp_path_factory: pytest.TempPathFactory) -> RunProcesses:
    """Starting processes takes seconds, so each strategy is run once for all the tests here."""

    @cache
    def run(name: str) -> Run:
        folder = tmp_path_factory.mktemp("processes") / name
        return train(replace(shared(name), cluster=CLUSTER), toy(Normed), folder)

    return run


@pytest.mark.parametrize("name", SYNCHRONOUS)
def test_processes_end_with_the_simulated_weights_and_bytes(
    name: str, run_processes: RunProcesses, tmp_path: Path
) -> None:
    simulated, real = train(shared(name), toy(Normed), tmp_path / "simulated"), run_processes(name)
    assert simulated.history[-1]["samples"] == STEPS * 24
    assert distance(simulated.weights, real.weights) <= 1e-6
    for ours, theirs in zip(simulated.ledger["nodes"], real.ledger["nodes"], strict=True):
        counts = ("rank", "role", "bytes_sent", "bytes_received", "messages_sent")
        assert {count: ours[count] for count in counts} == {count: theirs[count] for count in counts}
    for ours, theirs in zip(simulated.history, real.history, strict=True):
        exact = ("epoch", "round", "completed", "samples", "bytes", "test_accuracy")
        assert {key: ours[key] for key in exact} == {key: theirs[key] for key in exact}
        assert ours["test_loss"] == pytest.approx(theirs["test_loss"], rel=1e-6)
        assert (ours["train_loss"] or 0) == pytest.approx(theirs["train_loss"] or 0, rel=1e-6)
        assert ours["consensus"] == pytest.approx(theirs["consensus"], rel=1e-5, abs=1e-6)


def test_a_server_that_does_not_wait_hears_every_gradient_once(tmp_path: Path) -> None:
    """With one worker nothing is left to the order of arrival, and it is plain SGD too."""
    task = toy(Normed)
    specification = specify("parameter-server:consistency=async", workers=1, optimizer=SGD(momentum=0.9))
    simulated = train(specification, task, tmp_path / "simulated")
    real = train(replace(specification, cluster=CLUSTER), task, tmp_path / "real")
    assert distance(simulated.weights, real.weights) <= 1e-6
    assert [n["bytes_sent"] for n in real.ledger["nodes"]] == [n["bytes_sent"] for n in simulated.ledger["nodes"]]


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
    name: str, run_processes: RunProcesses, tmp_path: Path
) -> None:
    task, whole = toy(Normed), run_processes(name)
    specification = replace(shared(name), cluster=CLUSTER)
    with pytest.raises(KeyboardInterrupt):
        train(specification, task, tmp_path / "run", observer=Interrupt(1))
    saved, _ = RunFolder(tmp_path / "run").read_checkpoint()
    assert saved["completed"] == 1
    resumed = Run(lab.resume(tmp_path / "run", task=task))
    assert (resumed.folder / "model.safetensors").read_bytes() == (whole.folder / "model.safetensors").read_bytes()
    assert [row["test_loss"] for row in resumed.history] == [row["test_loss"] for row in whole.history]
    assert resumed.history[-1]["bytes"] == whole.history[-1]["bytes"]


def test_parameters_without_a_part_in_the_loss_are_left_alone(tmp_path: Path) -> None:
    specification = specify("all-reduce", workers=2, optimizer=SGD(momentum=0.9))
    simulated = train(specification, toy(Spared), tmp_path / "simulated")
    real = train(replace(specification, cluster=CLUSTER), toy(Spared), tmp_path / "real")
    assert distance(simulated.weights, real.weights) <= 1e-6
