"""A run with the learning left out: the same strategy, messages and times, and nothing computed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from manyhands.clusters.effects import Tensors
from manyhands.clusters.experiment import Experiment
from manyhands.clusters.node import Node
from manyhands.clusters.simulated.blank import blank
from manyhands.clusters.simulated.loop import Loop
from manyhands.clusters.simulated.profile import DeviceProfile
from manyhands.runs.ledger import Ledger
from manyhands.runs.recorder import Follow
from manyhands.runs.trace import Trace
from manyhands.tasks.partition import Iid
from manyhands.tasks.task import Task
from manyhands.training.contrast import Contrast
from manyhands.training.cost import Cost, measure_cost
from manyhands.training.learner import Learner
from manyhands.training.objective import Objective
from manyhands.training.plan import Plan
from manyhands.training.sampler import Batch, Sampler


class Rest(NamedTuple):
    """A time at which the cluster is at rest: where a run has a row in its history."""

    completed: int
    """epochs or rounds"""
    seconds: float
    """on the cluster's clock"""
    bytes_sent: int
    """by all nodes so far"""


class Rehearsal(NamedTuple):
    """What a run would take, were it simulated with the learning."""

    seconds: float
    ledgers: dict[int, Ledger]
    """by rank"""
    samples: int
    """that all nodes computed on"""
    rows: list[Rest]
    traces: dict[int, Trace]
    """by rank; empty unless asked for"""


class Subject(NamedTuple):
    """What a rehearsal must know of a task's model: the same for all rehearsals of the task."""

    learner: Learner
    cost: Cost
    example: Tensor
    """one prepared input"""

    @classmethod
    def of(cls, experiment: Experiment) -> "Subject":
        learner = experiment.make_learner()
        example = learner.task.prepare(learner.task.train.inputs[:1])
        return cls(learner, measure_cost(learner.module, example), example)


@dataclass(eq=False)
class Outline(Experiment):
    """An experiment of which is known how many samples each worker holds, and not which: quickly made."""

    steps: int | None = None
    """in an epoch, in place of as many as the samples make"""

    @cached_property
    def parts(self) -> list[np.ndarray]:
        """For each worker as many numbers as it has samples."""
        spec, samples = self.specification, len(self.task.train)
        if spec.strategy.pools_data or not isinstance(spec.partition, Iid) or spec.size > samples:
            parts: list[np.ndarray] = super().parts
            return parts
        each, longer = divmod(samples, spec.size)
        return [np.broadcast_to(np.int64(0), each + (rank < longer)) for rank in self.workers]

    @cached_property
    def placed_task(self) -> Task:
        """The task as it is: nobody looks at its inputs."""
        return self.task.to(self.device)

    @cached_property
    def plan(self) -> Plan:
        plan: Plan = super().plan
        return replace(plan, steps_per_epoch=self.steps) if self.steps else plan

    def shortened(self, steps: int) -> "Outline":
        """The same with so many steps in an epoch."""
        other = replace(self, steps=steps)
        other.__dict__["parts"] = self.parts  # which it would work out anew
        return other

    def _sampler(self, rank: int) -> Sampler | None:
        sampler = super()._sampler(rank)
        return _Sizes(sampler.samples, sampler.batch_size, sampler.seed, rank) if sampler else None


class _Sizes(Sampler):
    """Batches of the right sizes, in no order."""

    def _take(self, count: int) -> np.ndarray:
        if self.offset == len(self.samples):
            self.passes, self.offset = self.passes + 1, 0
        taken = self.samples[self.offset : self.offset + count]
        self.offset += len(taken)
        return taken


class _Done(NamedTuple):
    value: Any

    def result(self) -> Any:
        return self.value


class _Nothing:
    """Answers with tensors without values."""

    def __init__(self, learner: Learner, example: Tensor) -> None:
        self._gradient = _Done((blank(torch.empty(learner.parameters, device="meta")), None))
        self._losses = _Done([])
        self._example = example

    def gradient(self, node: Node, batch: Batch) -> _Done:
        node.samples += len(batch)
        return self._gradient

    def train(self, node: Node, batches: Sequence[Batch], _: Objective, __: Contrast | None) -> _Done:
        return self._losses

    def load(self, node: Node, batch: Batch) -> Tensors:
        inputs = torch.empty(len(batch), *self._example.shape[1:], dtype=self._example.dtype, device="meta")
        return blank(inputs), blank(torch.empty(len(batch), dtype=torch.int64, device="meta"))


def rehearse(
    experiment: Experiment,
    profile: DeviceProfile | None = None,
    subject: Subject | None = None,
    *,
    traced: bool = False,
    follow: Follow = lambda progress: None,
) -> Rehearsal:
    """Simulate without learning; see `manyhands.lab.rehearse`.

    ``profile`` replaces the one that the specification names. ``subject``: of this experiment's task, if known.
    ``follow``: see `manyhands.runs.recorder.Follow`.
    """
    learner, cost, example = subject or Subject.of(experiment)
    make, weights, untraced = experiment.make_nodes(learner), blank(learner.initial_weights), Trace(0)

    def make_node(rank: int) -> Node:
        node = make(rank)
        node.initial_weights = weights
        if not traced:
            node.trace = untraced
        return node

    def rest(completed: int) -> None:
        sent = sum([node.ledger.bytes_sent for node in loop.nodes])
        rows.append(Rest(completed, loop.clock.now / 1e9, sent))

    rows: list[Rest] = []
    loop = Loop(experiment, make_node, cost, _Nothing(learner, example), rest=rest, profile=profile)
    follow(lambda: loop.nodes[experiment.conductors[0]].progress)
    loop.run()
    ledgers, samples = {node.rank: node.ledger for node in loop.nodes}, sum([node.samples for node in loop.nodes])
    traces = {node.rank: node.trace for node in loop.nodes} if traced else {}
    return Rehearsal(loop.clock.now / 1e9, ledgers, samples, rows, traces)
