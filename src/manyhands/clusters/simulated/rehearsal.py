"""A run with the learning left out: the same strategy, messages and times, and nothing computed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from manyhands.clusters.effects import Tensors
from manyhands.clusters.experiment import Experiment
from manyhands.clusters.node import Node
from manyhands.clusters.simulated.blank import blank
from manyhands.clusters.simulated.loop import Loop
from manyhands.runs.ledger import Ledger
from manyhands.training.cost import measure_cost
from manyhands.training.learner import Learner
from manyhands.training.sampler import Batch


class Rehearsal(NamedTuple):
    """What a run would take, were it simulated with the learning."""

    seconds: float
    ledgers: dict[int, Ledger]
    """by rank"""


class _Done(NamedTuple):
    value: Any

    def result(self) -> Any:
        return self.value


class _Nothing:
    """Answers with tensors without values."""

    def __init__(self, learner: Learner, example: Tensor) -> None:
        self._gradient = _Done((blank(torch.empty(learner.parameters)), None))
        self._losses = _Done([])
        self._example = example

    def gradient(self, node: Node, batch: Batch) -> _Done:
        return self._gradient

    def train(self, node: Node, batches: Sequence[Batch]) -> _Done:
        return self._losses

    def load(self, node: Node, batch: Batch) -> Tensors:
        inputs = torch.empty(len(batch), *self._example.shape[1:], dtype=self._example.dtype, device="meta")
        return blank(inputs), blank(torch.empty(len(batch), dtype=torch.int64, device="meta"))


def rehearse(experiment: Experiment) -> Rehearsal:
    """Simulate without learning; see `manyhands.lab.rehearse`."""
    learner = experiment.make_learner()
    example = learner.task.prepare(learner.task.train.inputs[:1])
    cost = measure_cost(learner.module, example)
    make, weights = experiment.make_nodes(learner), blank(learner.initial_weights)

    def make_node(rank: int) -> Node:
        node = make(rank)
        node.initial_weights = weights
        return node

    loop = Loop(experiment, make_node, cost, _Nothing(learner, example), rest=lambda completed: None)
    loop.run()
    return Rehearsal(loop.clock.now / 1e9, {node.rank: node.ledger for node in loop.nodes})
