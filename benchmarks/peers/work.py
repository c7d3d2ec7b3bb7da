"""What every contender computes: the same models, on the same random data, shared out evenly among clients.

Needs torch alone, so that it can be imported in the environment of each. Each process prints one line for the driver.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BEGUN = float(os.environ.get("BENCHMARK_BEGUN", time.time()))
"""when the driver started this process, by the wall clock"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 10


class LeNet5(nn.Module):
    """As one would write it by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.dense1, self.dense2, self.output = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2).flatten(1)
        return self.output(F.relu(self.dense2(F.relu(self.dense1(x)))))


def logistic() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, CLASSES))


def pfl_cnn() -> nn.Module:
    """The ``simple_cnn`` of pfl-research, for CIFAR-10."""
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)),
        *(nn.Flatten(), nn.Linear(12_544, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, CLASSES)),
    )


@dataclass(frozen=True, kw_only=True)
class Work:
    """One local epoch a round, plain SGD, no evaluation."""

    model: Callable[[], nn.Module]
    shape: tuple[int, ...]
    clients: int
    samples: int
    """of each client"""
    cohort: int
    """clients in a round"""
    batch: int
    lr: float
    rounds: int


WORKS = {
    "logistic": Work(model=logistic, shape=(784,), clients=1000, samples=60, cohort=10, batch=10, lr=0.03, rounds=100),
    "lenet5": Work(model=LeNet5, shape=(1, 28, 28), clients=100, samples=600, cohort=10, batch=32, lr=0.05, rounds=10),
    "pfl-cnn": Work(model=pfl_cnn, shape=(3, 32, 32), clients=1000, samples=50, cohort=50, batch=10, lr=0.1, rounds=20),
}


def make_data(name: str, file: Path) -> None:
    """Random inputs float32 [clients, samples, …] and targets int64 [clients, samples], for all contenders."""
    work, generator = WORKS[name], torch.Generator().manual_seed(0)
    size = (work.clients, work.samples)
    inputs = torch.randn(*size, *work.shape, generator=generator)
    torch.save({"inputs": inputs, "targets": torch.randint(CLASSES, size, generator=generator)}, file)


def load_data() -> tuple[Tensor, Tensor]:
    """Mapped from the file, so that processes share it."""
    data = torch.load(os.environ["BENCHMARK_DATA"], mmap=True)
    return data["inputs"], data["targets"]


def train_client(model: nn.Module, inputs: Tensor, targets: Tensor, work: Work) -> None:
    """One local epoch, as one would write it by hand."""
    optimizer, order = torch.optim.SGD(model.parameters(), work.lr), torch.randperm(work.samples)
    for start in range(0, work.samples, work.batch):
        chosen = order[start : start + work.batch]
        optimizer.zero_grad()
        F.cross_entropy(model(inputs[chosen]), targets[chosen]).backward()
        optimizer.step()


def tell(first: float, seconds: float, rounds: int) -> None:
    """Print the result: when the first round had ended, by the wall clock, and what so many more rounds took."""
    print("RESULT", json.dumps({"start": first - BEGUN, "round": seconds / rounds}), flush=True)
