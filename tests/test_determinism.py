"""The same study gives the same bits, however many threads carry it out and whatever runs beside it."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from manyhands import lab
from manyhands.clusters.cluster import Simulated
from manyhands.runs.specification import Specification
from manyhands.strategies import STRATEGIES, parse_strategy
from manyhands.tasks.partition import PARTITIONS
from manyhands.tasks.task import Task
from manyhands.training.optimizer import SGD

REPETITIONS = 10
FILES = ("model.safetensors", "history.jsonl", "ledger.json")


def small_network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4))


def digest(specification: Specification, folder: Path) -> str:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (120, 1, 8, 8), generator=generator, dtype=torch.uint8)
    targets = images.float().mean((1, 2, 3)).argsort() % 4
    task = Task(model=small_network, train=(images, targets), test=(images, targets), mean=(0.5,), std=(0.3,))
    lab.train(specification, task=task, out=folder)
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in FILES)).hexdigest()


@pytest.mark.parametrize(
    "name",
    [
        *sorted(STRATEGIES.keys() - {"single"}),
        *("parameter-server:consistency=async", "parameter-server:consistency=ssp:1,servers=2"),
        *("peer-gradients:compression=qsgd:3", "gossip:compression=int8"),
    ],
)
def test_ten_repetitions_are_one(name: str, tmp_path: Path) -> None:
    specification = Specification(
        strategy=parse_strategy(name),
        workers=4,
        epochs=1,
        batch_size=16,
        partition=PARTITIONS.parse("iid" if parse_strategy(name).pools_data else "dirichlet:1,least=12"),
        optimizer=SGD(momentum=0.9),
    )
    digests = set()
    for repetition in range(REPETITIONS):
        cluster = Simulated(jitter=0.4, slow=("2:3",), threads=1 + repetition % 2)
        torch.manual_seed(repetition)  # nobody may depend on what else is drawn
        digests.add(digest(replace(specification, cluster=cluster), tmp_path / str(repetition)))
    assert len(digests) == 1


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    specifications = [Specification(workers=2, epochs=1, seed=seed) for seed in (0, 1)]
    assert len({digest(each, tmp_path / str(each.seed)) for each in specifications}) == 2
