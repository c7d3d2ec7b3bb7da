"""Which executor a run has, what it leaves to chance (nothing), and that both give the same."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from scripted import Scripted, make_task, simulate
from torch import Tensor, nn

from manyhands import lab
from manyhands.cli.main import main
from manyhands.clusters.cluster import Simulated
from manyhands.clusters.node import Node
from manyhands.clusters.simulated.executor import Choice, Executor, choose_executor, even_parts
from manyhands.errors import UserError
from manyhands.runs.specification import Specification
from manyhands.strategies import AllReduce, FedAvg
from manyhands.tasks.partition import PARTITIONS
from manyhands.tasks.task import Task
from manyhands.training.optimizer import SGD
from manyhands.training.precision import Precision


def dense() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 9), nn.ReLU(), nn.Linear(9, 3))


def convolutional() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3))


def images(model: Callable[[], nn.Module] = dense, samples: int = 120) -> Task:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (samples, 1, 4, 4), generator=generator, dtype=torch.uint8)
    targets = inputs.float().mean((1, 2, 3)).argsort() % 3
    return Task(model=model, train=(inputs, targets), test=(inputs, targets), mean=(0.5,), std=(0.3,))


def specify(executor: str = "auto", **options: Any) -> Specification:
    given: dict[str, Any] = {
        "strategy": FedAvg(fraction=0.5, local_epochs=2),
        "workers": 9,
        "rounds": 4,
        "batch_size": 5,
        "lr": 0.1,
        "optimizer": SGD(momentum=0.9, weight_decay=1e-3),
        "partition": PARTITIONS.parse("dirichlet:0.5"),
        "cluster": Simulated(executor=executor, jitter=0.3, slow=("1:3",)),  # type: ignore[arg-type]
    }
    return Specification(**(given | options))


def weights(folder: Path) -> Tensor:
    tensors = load_file(folder / "model.safetensors")
    return torch.cat([tensors[name].flatten() for name in sorted(tensors)])


# ---- the choice


def choice(task: Task, **options: Any) -> Choice:
    return choose_executor(lab.prepare(specify(**options), task))


def test_dense_models_are_stacked_and_others_are_not() -> None:
    stacked, single = choice(images()), choice(images(convolutional))
    assert (stacked.name, len(stacked.chain)) == ("stacked", 2)
    assert stacked.why.startswith("auto: the model is a chain of dense layers")
    assert (single.name, single.chain) == ("single", ())
    assert single.why.startswith("auto: clients cannot be stacked because its Conv2d is not a dense layer")
    assert choice(images(), executor="single") == Choice("single", "asked for")
    assert choice(images(), executor="stacked").why.startswith("asked for")
    assert choice(images(), optimizer=SGD(clip_norm=1)).name == "single"


def test_a_precision_that_was_chosen_later_counts() -> None:
    experiment = lab.prepare(specify(), images())
    experiment.precision = Precision(name="bf16", why="")
    assert choose_executor(experiment).why.endswith("it computes in bf16")


def test_stacks_that_cannot_be_made_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^--cluster.executor stacked cannot train custom/convolutional: its Conv2d"):
        lab.train(specify("stacked"), task=images(convolutional), out=tmp_path / "run")
    with pytest.raises(UserError, match=r"it computes in bf16; leave it out, or give single$"):
        lab.train(specify("stacked", precision="bf16"), task=images(), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("model", "name"), [(dense, "stacked"), (convolutional, "single")])
def test_the_run_says_which_it_was(model: Callable[[], nn.Module], name: str, tmp_path: Path) -> None:
    lab.train(specify(), task=images(model), out=tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["executor"]["name"] == name
    assert record["executor"]["why"]
    assert record["specification"]["cluster"]["executor"] == "auto"


def test_the_command_line_refuses_them_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--task", "mnist-mini/lenet5", "--strategy", "fedavg", "--rounds", "1", "--out", "out"]
    assert main(["train", *arguments, "--cluster.executor", "stacked"]) == 2
    refusal = capsys.readouterr().err
    assert refusal.startswith("manyhands: error: --cluster.executor stacked cannot train mnist-mini/lenet5: its LeNet5")
    assert refusal.count("\n") == 1
    assert main(["train", *arguments, "--cluster.executor", "batched"]) == 2
    assert not list(tmp_path.iterdir())


# ---- what comes out


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": SGD(), "strategy": FedAvg()},
        {"optimizer": SGD(momentum=0.5, weight_decay=0.1, decay_norms_and_biases=False)},
        {"batch_size": 1000},
        {"accumulate": 2, "warm_up": 2},
    ],
)
def test_stacked_or_one_by_one_the_run_is_the_same_but_for_rounding(options: dict[str, Any], tmp_path: Path) -> None:
    folders = [
        lab.train(specify(executor, **options), task=images(), out=tmp_path / executor)
        for executor in ("single", "stacked")
    ]
    one, other = (weights(folder) for folder in folders)
    assert 0 < (one - other).norm() <= 1e-6 * one.norm(), "to rounding, but computed in another way"
    assert (folders[0] / "ledger.json").read_bytes() == (folders[1] / "ledger.json").read_bytes()
    rows = [[json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()] for folder in folders]
    for row, same in zip(*rows, strict=True):
        assert {key: row[key] for key in ("seconds", "samples", "bytes")} == {
            key: same[key] for key in ("seconds", "samples", "bytes")
        }
        assert row["test_loss"] == pytest.approx(same["test_loss"], rel=1e-5)
        assert (row["train_loss"] or 0) == pytest.approx(same["train_loss"] or 0, rel=1e-5)


def test_stacks_do_not_depend_on_the_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manyhands.clusters.simulated.executor.STACK_CLIENTS", 2)  # several stacks in each round
    contents = set()
    for threads in (1, 2, 3, 1, 2, 3):
        specification = specify("stacked")
        cluster = replace(specification.cluster, threads=threads)  # type: ignore[call-arg]
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        lab.train(replace(specification, cluster=cluster), task=images(), out=out)
        contents.add(b"".join((out / name).read_bytes() for name in ("model.safetensors", "history.jsonl")))
    assert len(contents) == 1


class Interrupt:
    def __call__(self, row: dict[str, Any]) -> None:
        if row["completed"] == 2:
            raise KeyboardInterrupt


def test_resumed_stacks_are_uninterrupted_ones(tmp_path: Path) -> None:
    whole = lab.train(specify("stacked"), task=images(), out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        lab.train(specify("stacked"), task=images(), out=tmp_path / "broken", observer=Interrupt())
    resumed = lab.resume(tmp_path / "broken", task=images())
    for name in ("model.safetensors", "history.jsonl", "ledger.json"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()


# ---- how it is done


class Waits(Scripted):
    """Both workers train at once, the second for longer."""

    async def worker(self, node: Node) -> None:
        async for _ in node.epochs():
            await node.train(node.local_batches(1 + node.rank))


def test_clients_who_train_at_once_are_computed_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from manyhands.training import stacked

    seen: list[list[int]] = []
    original = stacked.train

    def spy(learner: Any, **given: Any) -> list[list[float]]:
        seen.append([job.rank for job in given["jobs"]])
        return original(learner, **given)

    monkeypatch.setattr(stacked, "train", spy)
    ledger = simulate(Waits(), tmp_path / "run", workers=3, task=make_task(48))
    assert sorted(seen[0]) == [0, 1, 2]
    assert len(seen) == 1
    assert [node["role"] for node in ledger["nodes"]] == ["worker"] * 3


def test_a_model_that_trains_otherwise_has_nothing_to_stack(tmp_path: Path) -> None:
    lab.train(specify(strategy=AllReduce(), rounds=None, epochs=1), task=images(), out=tmp_path / "run")


def test_prepared_inputs_change_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = lab.train(specify("single"), task=images(convolutional), out=tmp_path / "prepared")
    monkeypatch.setattr("manyhands.clusters.simulated.executor.PREPARED_BYTES", 0)
    second = lab.train(specify("single"), task=images(convolutional), out=tmp_path / "batch-by-batch")
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("hidden", "most"), [(9, 16), (2_000, 13), (100_000, 1)])
def test_of_large_models_fewer_make_a_stack(hidden: int, most: int) -> None:
    """Of 2^19 weights, or one: the models have 40,003 and 2,000,003."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, hidden), nn.ReLU(), nn.Linear(hidden, 3))
    executor = Executor(lab.prepare(specify(), images(lambda: model)).make_learner, threads=1)
    try:
        assert executor._most == most
    finally:
        executor.close()


@settings(derandomize=True, deadline=None)
@given(count=st.integers(1, 200), most=st.integers(1, 30))
def test_parts_are_few_and_even(count: int, most: int) -> None:
    parts = even_parts(range(count), most)
    assert [item for part in parts for item in part] == list(range(count))
    sizes = [len(part) for part in parts]
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    assert len(parts) == -(-count // most)
