"""Federated methods as their papers write them, in numpy and double precision, on multinomial logistic regression.

Nothing of the strategies is used here: only which batches a client draws, and who is in a cohort, the nodes are asked.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from manyhands import lab
from manyhands.clusters.node import Node
from manyhands.runs.folder import RunFolder
from manyhands.runs.recorder import Checkpoint
from manyhands.runs.specification import Specification
from manyhands.strategies import Strategy
from manyhands.tasks.partition import PARTITIONS
from manyhands.tasks.task import Task

FEATURES, CLASSES, SAMPLES = 5, 3, 90
LR = 0.2
Vector = NDArray[np.float64]


def linear() -> nn.Module:
    return nn.Linear(FEATURES, CLASSES)


def task() -> Task:
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(SAMPLES, FEATURES, generator=generator)
    targets = (inputs[:, :CLASSES] + torch.randn(SAMPLES, CLASSES, generator=generator)).argmax(1)
    return Task(model=linear, train=(inputs, targets), test=(inputs, targets))


def specify(strategy: Strategy, rounds: int = 3, workers: int = 4, **options: Any) -> Specification:
    """Clients with unequal parts of the data."""
    given = {"batch_size": 7, "lr": LR, "seed": 2, "partition": PARTITIONS.parse("dirichlet:1.0")} | options
    return Specification(strategy=strategy, workers=workers, rounds=rounds, **given)


class World:
    """The data, batches and cohorts of a specification, for a method to be written down by hand."""

    def __init__(self, specification: Specification) -> None:
        experiment = lab.prepare(specification, task())
        learner = experiment.make_learner()
        make = experiment.make_nodes(learner)
        self.nodes: list[Node] = [make(rank) for rank in range(specification.nodes)]
        self.workers, self.server = experiment.workers, self.nodes[-1]
        self.start: Vector = learner.initial_weights.double().numpy()
        self.inputs = experiment.task.train.inputs.double().numpy()
        self.targets = experiment.task.train.targets.numpy()
        self.samples = np.array([len(part) for part in experiment.parts], dtype=float)
        assert len(set(self.samples)) > 1 or "iid" in str(specification.partition)

    def cohort(self, size: int, number: int) -> list[int]:
        return self.server.choose(self.server.workers, size, "cohort", number)

    def shares(self, cohort: list[int]) -> Vector:
        """The weights pᵢ of the clients of a cohort."""
        shares: Vector = self.samples[cohort] / self.samples[cohort].sum()
        return shares

    def share(self, cohort: list[int]) -> float:
        """Of all samples, those of a cohort."""
        return float(self.samples[cohort].sum() / self.samples.sum())

    def batches(self, client: int) -> Iterator[NDArray[np.int64]]:
        """One local epoch."""
        for batch in self.nodes[client].local_batches(1):
            yield batch.indices

    def gradient(self, weights: Vector, indices: NDArray[np.int64]) -> Vector:
        """Of the mean cross-entropy; the weights are a matrix by rows, then the bias."""
        matrix, bias = np.split(weights, [CLASSES * FEATURES])
        inputs, targets = self.inputs[indices], self.targets[indices]
        logits = inputs @ matrix.reshape(CLASSES, FEATURES).T + bias
        odds = np.exp(logits - logits.max(1, keepdims=True))
        error = odds / odds.sum(1, keepdims=True)
        error[np.arange(len(targets)), targets] -= 1
        error /= len(targets)
        return np.concatenate([(error.T @ inputs).ravel(), error.sum(0)])

    def local(
        self,
        client: int,
        start: Vector,
        more: Callable[[Vector], Vector] = lambda weights: 0 * weights,
        momentum: float = 0.0,
    ) -> tuple[Vector, int]:
        """Local steps along the gradient and ``more``; the weights after them, and how many there were."""
        weights, velocity, steps = start.copy(), np.zeros_like(start), 0
        for indices in self.batches(client):
            velocity = momentum * velocity + self.gradient(weights, indices) + more(weights)
            weights -= LR * velocity
            steps += 1
        return weights, steps


def trained(specification: Specification, folder: Path) -> Vector:
    """The weights that a simulated run ends with."""
    path = lab.train(specification, task=task(), out=folder)
    tensors = RunFolder(path).read_model()
    weights: Vector = torch.cat([tensors["weight"].flatten(), tensors["bias"]]).double().numpy()
    return weights


def state(folder: Path, rank: int, name: str) -> Vector:
    """What a node kept, at the end of the run."""
    kept: Vector = Checkpoint.load(RunFolder(folder)).tensors_of(rank)[f"state/{name}"].double().numpy()
    return kept
