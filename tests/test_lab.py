"""Training from Python: what comes out, and how it ends."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import manyhands
from manyhands import lab
from manyhands.clusters.cluster import Simulated
from manyhands.errors import RunError, UserError
from manyhands.runs.folder import RunFolder
from manyhands.runs.specification import Specification
from manyhands.strategies import FedAvg
from manyhands.tasks.partition import PARTITIONS
from manyhands.tasks.task import Task

FILES = {
    "run.json",
    "history.jsonl",
    "workers.jsonl",
    "ledger.json",
    "trace.json",
    "partition.json",
    "evaluation.json",
    "model.safetensors",
    "checkpoints",
}


class Net(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def make_task(model: type[nn.Module] = Net) -> Task:
    inputs = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    samples = (inputs, inputs.sum(1).gt(0).long())
    return Task(model=model, train=samples, test=samples)


def specify(**options: Any) -> Specification:
    return Specification(**{"workers": 3, "batch_size": 5, "epochs": 4, "lr": 0.3, **options})


def stop_at(completed: int, how: type[BaseException] = KeyboardInterrupt) -> Any:
    def observer(row: dict[str, Any]) -> None:
        if row["completed"] == completed:
            raise how

    return observer


def test_a_task_of_ones_own_is_trained_in_a_few_lines(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    folder = manyhands.train(specify(), task=make_task(), out=tmp_path / "new" / "run", observer=rows.append)
    assert {file.name for file in folder.iterdir()} == FILES
    assert rows == RunFolder(folder).read_history()
    assert rows[0] | {"seconds": 0.0, "samples": 0, "bytes": 0, "train_loss": None, "epoch": 0.0} == rows[0]
    assert rows[-1]["test_accuracy"] > 0.9 > rows[0]["test_accuracy"]
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4]
    assert lab.evaluate(folder, task=make_task()).accuracy == rows[-1]["test_accuracy"]


def test_the_run_is_described(tmp_path: Path) -> None:
    specification = specify(strategy=FedAvg(), partition=PARTITIONS.parse("portions:0.5,0.3,0.2"))
    folder = RunFolder(lab.train(specification, task=make_task(), out=tmp_path / "run"))
    run = folder.read_run()
    assert (run["format"], run["name"], run["status"], run["error"]) == (1, "run", "finished", None)
    assert run["specification"]["task"] == "custom/net"
    assert Specification.from_json(run["specification"]).strategy == FedAvg()
    assert run["model"] == {"parameters": 58, "buffers": 0}
    assert run["method"] == FedAvg().method()
    assert run["versions"].keys() >= {"manyhands", "python", "torch", "numpy"}
    assert [(node["role"], node["samples"]) for node in run["nodes"]] == [
        ("worker", 30),
        ("worker", 18),
        ("worker", 12),
        ("server", 0),
    ]
    partition = folder.read_json("partition.json")
    assert [sum(counts) for counts in partition["counts"]] == [30, 18, 12]


def test_without_a_place_each_run_gets_a_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folders = [lab.train(specify(epochs=1), task=make_task()) for _ in range(2)]
    assert folders[0] != folders[1]
    assert {folder.parent for folder in folders} == {Path("runs")}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"workers": 61}, r"--workers 61 is more than the 60 training samples of custom/net"),
        ({"partition": PARTITIONS.parse("portions:0.5,0.5")}, "is for 2 workers, not 3"),
        ({"device": "tpu"}, "--device"),
        ({"cluster": Simulated(profile="nowhere")}, "nowhere"),
        ({"samples": 61}, "--samples 61 is more than the 60"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_written(
    options: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=complaint):
        lab.train(specify(**options), task=make_task(), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_that_does_not_fit_its_data_keeps_its_traceback(tmp_path: Path) -> None:
    class Wrong(Net):
        def __init__(self) -> None:
            super().__init__()
            self[0] = nn.Linear(5, 8)

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        lab.train(specify(), task=make_task(Wrong), out=tmp_path / "run")
    assert RunFolder(tmp_path / "run").read_run()["status"] == "failed"


def test_how_a_run_ended_is_written_down(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt, match=str(tmp_path / "stopped")):
        lab.train(specify(), task=make_task(), out=tmp_path / "stopped", observer=stop_at(2))
    assert RunFolder(tmp_path / "stopped").read_run()["status"] == "stopped"
    with pytest.raises(RunError, match="at step") as error:
        lab.train(specify(lr=1e38), task=make_task(), out=tmp_path / "failed")
    run = RunFolder(tmp_path / "failed").read_run()
    assert (run["status"], run["error"]) == ("failed", str(error.value))


def test_a_training_that_diverges_in_its_last_step_does_not_pass_as_finished(tmp_path: Path) -> None:
    """One step an epoch: its loss was still a number, but the weights that it leaves are not."""
    with pytest.raises(
        RunError, match=r"^the test loss is (nan|inf) after epoch 1: the training diverged; a smaller --lr"
    ):
        lab.train(specify(lr=1e38, batch_size=20, epochs=1), task=make_task(), out=tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert run.read_run()["status"] == "failed"
    assert [row["completed"] for row in run.read_history()] == [0]
    assert run.read_checkpoint()[0]["completed"] == 0


def test_a_failed_run_can_be_resumed_too(tmp_path: Path) -> None:
    whole = lab.train(specify(), task=make_task(), out=tmp_path / "whole")
    with pytest.raises(RunError):
        lab.train(specify(), task=make_task(), out=tmp_path / "run", observer=stop_at(3, RunError))
    rows: list[dict[str, Any]] = []
    manyhands.resume(tmp_path / "run", task=make_task(), observer=rows.append)
    assert [row["completed"] for row in rows] == [3, 4]
    assert (tmp_path / "run" / "history.jsonl").read_bytes() == (whole / "history.jsonl").read_bytes()
    with pytest.raises(UserError, match="is finished: there is nothing to resume"):
        lab.resume(tmp_path / "run", task=make_task())


def test_a_checkpoint_of_another_model_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    class Wider(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 2))

    with pytest.raises(KeyboardInterrupt):
        lab.train(specify(), task=make_task(), out=tmp_path / "run", observer=stop_at(2))
    before = json.loads((tmp_path / "run" / "run.json").read_text())
    with pytest.raises(UserError, match=r"the checkpoint is of another model: it has 58 weights, and the task 65"):
        lab.resume(tmp_path / "run", task=make_task(Wider))
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == before
