"""Only clients who are at work have weights: counted are vectors in memory as large as a model."""

import gc
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from manyhands import lab
from manyhands.clusters.cluster import Simulated
from manyhands.runs.folder import RunFolder
from manyhands.runs.specification import Specification
from manyhands.strategies import FedAvg
from manyhands.strategies.federated import Tensors
from manyhands.tasks.task import Task

if TYPE_CHECKING:
    from manyhands.clusters.node import Node

COHORT, ROUNDS = 4, 6


def dense() -> nn.Module:
    return nn.Linear(37, 3)


def convolutional() -> nn.Module:
    return nn.Sequential(nn.Unflatten(1, (1, 37)), nn.Conv1d(1, 2, 37), nn.Flatten(), nn.Linear(2, 3))


def numbers(model: Callable[[], nn.Module]) -> int:
    return sum(parameter.numel() for parameter in model().parameters())


@pytest.fixture
def nothing_before() -> Iterator[None]:
    """What was in memory before is passed over by ``gc``: else each count would take as long as a run."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def vectors(size: int) -> int:
    """How many vectors there are of so many numbers: of whole ones, whatever views there are of them."""
    gc.collect()
    storages = [thing.untyped_storage() for thing in gc.get_objects() if type(thing) in (Tensor, nn.Parameter)]
    return len({storage.data_ptr() for storage in storages if storage.nbytes() == 4 * size})


@dataclass(frozen=True, kw_only=True)
class Watched(FedAvg):
    """Counts when a client is through with its steps."""

    counts: ClassVar[list[int]] = []
    size: int = 0

    async def client(self, node: "Node", received: Tensors) -> Tensors:
        reply = await super().client(node, received)
        self.counts.append(vectors(self.size))
        return reply


def count(model: Callable[[], nn.Module], clients: int, folder: Path, every: int) -> tuple[list[int], list[int]]:
    """Vectors at work, and at each rest, of a run with so many clients and a cohort of four."""
    inputs = torch.randn(2 * clients, 37, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(2 * clients) % 3
    task = Task(model=model, train=(inputs, targets), test=(inputs[:3], targets[:3]))
    specification = Specification(
        strategy=Watched(fraction=COHORT / clients, size=numbers(model)),
        workers=clients,
        rounds=ROUNDS,
        batch_size=1,
        evaluate_every=every,
        cluster=Simulated(threads=1),
    )
    resting: list[int] = []
    Watched.counts.clear()
    lab.train(specification, task=task, out=folder, observer=lambda _: resting.append(vectors(numbers(model))))
    return list(Watched.counts), resting


@pytest.mark.usefixtures("nothing_before")
@pytest.mark.parametrize("model", [dense, convolutional])
@pytest.mark.parametrize("every", [1, ROUNDS])
def test_weights_are_as_many_as_clients_at_work(model: Callable[[], nn.Module], every: int, tmp_path: Path) -> None:
    """However many clients there are, and however many of them have had their turn."""
    few, many = (count(model, clients, tmp_path / str(clients), every) for clients in (20, 200))
    assert len(few[0]) == len(many[0]) == COHORT * ROUNDS
    assert max(many[0]) <= max(few[0]) + 1, "the thread may be replacing its gradient when it is counted"
    assert max(many[1]) == max(few[1])
    assert max(many[0]) <= 3 * COHORT + 12, "a message, weights and a change for each at work, and what stays"
    assert max(many[0][COHORT:]) <= max(many[0][-2 * COHORT :]) + 1, "none is left behind from round to round"


def test_clients_who_only_waited_are_no_part_of_a_checkpoint(tmp_path: Path) -> None:
    """And come back from it as if they were."""

    class Interrupt:
        def __call__(self, row: dict[str, Any]) -> None:
            if row["completed"] == 2:
                raise KeyboardInterrupt

    inputs = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    targets = (inputs[:, 0] > 0).long()
    task = Task(model=lambda: nn.Linear(4, 2), train=(inputs, targets), test=(inputs, targets))
    specification = Specification(
        strategy=FedAvg(fraction=0.1), workers=30, rounds=4, batch_size=2, cluster=Simulated(jitter=0.2)
    )
    whole = lab.train(specification, task=task, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        lab.train(specification, task=task, out=tmp_path / "broken", observer=Interrupt())
    saved, _ = RunFolder(tmp_path / "broken").read_checkpoint()
    assert saved["completed"] == 1
    assert len(saved["nodes"]) == 1 + 3, "the server, and three clients who took part in the first round"
    assert saved["cluster"]["nodes"] == 31
    lab.resume(tmp_path / "broken", task=task)
    for name in ("model.safetensors", "history.jsonl", "ledger.json"):
        assert (tmp_path / "broken" / name).read_bytes() == (whole / name).read_bytes()


def test_a_ledger_of_many_has_a_line_for_each(tmp_path: Path) -> None:
    inputs, targets = torch.randn(300, 4, generator=torch.Generator().manual_seed(0)), torch.arange(300) % 2
    task = Task(model=lambda: nn.Linear(4, 2), train=(inputs, targets), test=(inputs, targets))
    specification = Specification(strategy=FedAvg(fraction=0.01), workers=300, rounds=2, batch_size=2)
    folder = lab.train(specification, task=task, out=tmp_path / "run")
    text = (folder / "ledger.json").read_text()
    content = json.loads(text)
    assert [node["rank"] for node in content["nodes"]] == list(range(301))
    assert len(text.splitlines()) == 301 + 2
    assert len(text) < 1000 * 301
