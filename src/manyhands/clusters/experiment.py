"""A specification made ready to run: its data, nodes and model, the same in every process."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import ceil

import numpy as np
import torch
from torch import Tensor

from manyhands import seeds
from manyhands.clusters.faults import Fault, LabelFlip, by_rank
from manyhands.clusters.layout import Layout
from manyhands.clusters.node import Node
from manyhands.errors import UserError
from manyhands.runs.specification import Specification
from manyhands.runs.trace import Trace, limit_for
from manyhands.tasks.partition import Iid, share_test_set, skewed
from manyhands.tasks.task import Samples, Task
from manyhands.training.learner import Learner
from manyhands.training.optimizer import decay_mask
from manyhands.training.plan import Plan
from manyhands.training.precision import Precision, choose
from manyhands.training.sampler import Sampler
from manyhands.training.schedule import lr_scale


@dataclass(eq=False)
class Experiment:
    """What a cluster needs of a specification."""

    specification: Specification
    task: Task
    precision: Precision
    device: torch.device

    @property
    def workers(self) -> range:
        return range(self.specification.size)

    @property
    def servers(self) -> range:
        return range(self.specification.size, self.specification.nodes)

    @property
    def conductors(self) -> range:
        """The nodes whose loops drive the training, and whose mean weights are its result."""
        return self.specification.strategy.conductors(self.workers, self.servers)

    @cached_property
    def parts(self) -> list[np.ndarray]:
        """For each worker the positions of its samples in the training set."""
        spec, samples = self.specification, len(self.task.train)
        if spec.size > samples:
            raise UserError(f"--workers {spec.size} is more than the {samples} training samples of {self.task.name}")
        if spec.strategy.pools_data:
            return self._pooled(samples)
        rng = seeds.stream(spec.seed, "partition")
        return spec.partition.split(self.task.train.targets.cpu().numpy(), spec.size, rng, self.task.groups)

    def _pooled(self, samples: int) -> list[np.ndarray]:
        """The first worker holds everything."""
        spec = self.specification
        if not isinstance(spec.partition, Iid):
            raise UserError(f"the root of {spec.strategy.name} holds all the data: leave out --partition")
        return [np.arange(samples), *[np.arange(0)] * (spec.size - 1)]

    @cached_property
    def test_parts(self) -> list[np.ndarray]:
        """For each worker the positions of its samples in the test set, shared out as the training set is."""
        targets = [samples.targets.cpu().numpy() for samples in (self.task.train, self.task.test)]
        return share_test_set(targets[0], self.parts, targets[1], seeds.stream(self.specification.seed, "test parts"))

    @cached_property
    def placed_task(self) -> Task:
        """The task on the device that computes; its inputs differ from worker to worker where the partition says so."""
        task, partition = self.task, self.specification.partition
        if partition.skews:
            train, test = (
                Samples(skewed(partition, samples.inputs, parts, self._feature_streams(where)), samples.targets)
                for where, samples, parts in (("train", task.train, self.parts), ("test", task.test, self.test_parts))
            )
            task = replace(task, train=train, test=test)
        return self._mislabelled(task).to(self.device)

    @cached_property
    def faults(self) -> dict[int, tuple[Fault, ...]]:
        """Of each worker that has any."""
        spec = self.specification
        return by_rank(spec.faults, spec.size, spec.seed)

    def _mislabelled(self, task: Task) -> Task:
        """With the labels of those workers turned round that lie about theirs: y becomes classes - 1 - y."""
        liars = [rank for rank, faults in self.faults.items() if any(isinstance(fault, LabelFlip) for fault in faults)]
        if not liars:
            return task
        places = torch.from_numpy(np.concatenate([self.parts[rank] for rank in liars]))
        targets = task.train.targets.clone()
        targets[places] = len(task.classes) - 1 - targets[places]
        return replace(task, train=Samples(task.train.inputs, targets))

    def _feature_streams(self, where: str) -> Callable[[int], np.random.Generator]:
        """Random numbers of each worker, to change its inputs."""
        return partial(seeds.stream, self.specification.seed, "features", where)

    @cached_property
    def plan(self) -> Plan:
        spec = self.specification
        scale = lr_scale(spec.lr_scaling, spec.size * spec.accumulate)
        return Plan(
            total=spec.total,
            steps_per_epoch=ceil(len(self.task.train) / (spec.size * spec.samples_per_step)),
            lr=spec.chosen_lr * scale,
            schedule=spec.schedule,
            warm_up=min(1.0, spec.warm_up / spec.total),
            warm_up_start=0.0 if spec.lr_scaling == "none" else 1 / scale,
        )

    def blank_module(self) -> torch.nn.Module:
        """The model without values: layers and shapes alone."""
        with torch.device("meta"):
            return self.task.model()

    def check(self) -> None:
        """Raise UserError if strategy, optimiser, partition and task do not go together."""
        self.specification.partition.check_inputs(self.task.train.inputs)
        strategy, optimizer = self.specification.strategy, self.specification.chosen_optimizer
        layout = Layout.of(self.blank_module())
        strategy.fit(layout.parameters)
        strategy.fit_layers(layout)
        if strategy.sharded and not optimizer.elementwise:
            needs = "norms of whole layers" if optimizer.layerwise else "the norm of the whole gradient to clip it"
            raise UserError(
                f"{optimizer.name} needs {needs}, of which each server has a part: use --strategy.servers 1"
            )

    def make_learner(self) -> Learner:
        return Learner(
            self.placed_task,
            loss=self.specification.loss,
            precision=self.precision,
            device=self.device,
            seed=self.specification.seed,
            micro_batch=self.specification.batch_size,
        )

    def make_nodes(self, learner: Learner) -> Callable[[int], Node]:
        """A function that makes the node of a rank. ``learner`` gives the weights that all nodes start with."""
        spec = self.specification
        mask = decay_mask(learner.module).to(self.device) if spec.chosen_optimizer.needs_decay_mask else None
        layout = Layout.of(learner.module)
        samples = [len(part) for part in self.parts]

        def make(rank: int) -> Node:
            works = rank < spec.size
            return Node(
                rank=rank,
                role="worker" if works else "server",
                workers=self.workers,
                servers=self.servers,
                layout=layout,
                plan=self.plan,
                seed=spec.seed,
                optimizer=spec.chosen_optimizer,
                decay_mask=mask,
                samples_per_worker=samples,
                sampler=self._sampler(rank),
                initial_weights=learner.initial_weights,
                conductors=self.conductors,
                compression=spec.strategy.compression,
                shard=self.shard(rank, layout),
                faults=self.faults.get(rank, ()),
                keeps_weights=rank in self.conductors or spec.strategy.followers_keep_weights,
                trace=Trace(limit_for(spec.nodes)),
                evaluates_after=spec.evaluates_after,
            )

        return make

    def _sampler(self, rank: int) -> Sampler | None:
        """Of a node that holds samples. Who holds those of all draws the batches of all at once."""
        spec = self.specification
        if rank >= spec.size or not len(self.parts[rank]):
            return None
        size = spec.samples_per_step * (spec.size if spec.strategy.pools_data else 1)
        return Sampler(self.parts[rank], size, spec.seed, rank)

    def shard(self, rank: int, layout: Layout) -> slice:
        """The parameters that a node answers for: all of them, unless servers share them."""
        if rank not in self.servers or not self.specification.strategy.sharded:
            return slice(None)
        return layout.shard(rank - self.servers[0], len(self.servers))

    def contribution(self, node: Node) -> Tensor:
        """What a conductor adds to the run's weights: its share of the mean, or the parameters that it answers for.

        Batch statistics that servers share no part of are the first server's.
        """
        if not self.specification.strategy.sharded:
            return node.weights / len(self.conductors)
        part = torch.zeros_like(node.weights)
        part[: node.layout.parameters][node.shard] = node.parameters
        if node.rank == self.conductors[0]:
            part[node.layout.parameters :] = node.buffers
        return part

    def assemble(self, nodes: Sequence[Node]) -> tuple[Tensor, float]:
        """The run's weights, made of all conductors', and the root mean square distance of these to them."""
        weights = self.contribution(nodes[0])
        for node in nodes[1:]:
            weights += self.contribution(node)
        return weights, math.sqrt(sum(self.squared_distance(node, weights) for node in nodes) / len(nodes))

    def squared_distance(self, node: Node, weights: Tensor) -> float:
        """How far a conductor is from the run's weights; parts of one whole agree."""
        return 0.0 if self.specification.strategy.sharded else float((node.weights - weights).square().sum())


def choose_precision(experiment: Experiment) -> Precision:
    """What the specification asks for; ``auto`` is measured on this process's device and threads."""
    task, specification = experiment.task, experiment.specification
    inputs = task.train.inputs[: specification.batch_size]
    targets = task.train.targets[: specification.batch_size]
    return choose(
        specification.precision, task.model, task.prepare(inputs), targets, specification.loss, experiment.device
    )
