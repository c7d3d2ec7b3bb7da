"""A specification made ready to run: its data, nodes and model, the same in every process."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np
import torch

from manyhands import seeds
from manyhands.clusters.node import Layout, Node
from manyhands.errors import UserError
from manyhands.runs.specification import Specification
from manyhands.tasks.task import Task
from manyhands.training.learner import Learner
from manyhands.training.optimizer import decay_mask
from manyhands.training.plan import Plan
from manyhands.training.precision import Precision, choose
from manyhands.training.sampler import Sampler
from manyhands.training.schedule import scaled_lr


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
        return self.servers or self.workers

    @cached_property
    def parts(self) -> list[np.ndarray]:
        """For each worker the positions of its samples in the training set."""
        spec, samples = self.specification, len(self.task.train)
        if spec.size > samples:
            raise UserError(f"--workers {spec.size} is more than the {samples} training samples of {self.task.name}")
        rng = seeds.stream(spec.seed, "partition")
        return spec.partition.split(self.task.train.targets.cpu().numpy(), spec.size, rng)

    @cached_property
    def placed_task(self) -> Task:
        """The task with its samples on the device that computes."""
        return self.task.to(self.device)

    @cached_property
    def plan(self) -> Plan:
        spec = self.specification
        return Plan(
            total=spec.total,
            steps_per_epoch=ceil(len(self.task.train) / (spec.size * spec.batch_size)),
            lr=scaled_lr(spec.lr, spec.size, spec.lr_scaling),
            schedule=spec.schedule,
            warm_up=min(1.0, spec.warm_up / spec.total),
            warm_up_start=1 / spec.size if spec.lr_scaling == "linear" else 0.0,
        )

    def make_learner(self) -> Learner:
        return Learner(
            self.placed_task,
            loss=self.specification.loss,
            precision=self.precision,
            device=self.device,
            seed=self.specification.seed,
        )

    def make_nodes(self, learner: Learner) -> Callable[[int], Node]:
        """A function that makes the node of a rank. ``learner`` gives the weights that all nodes start with."""
        spec = self.specification
        mask = decay_mask(learner.module).to(self.device) if spec.optimizer.needs_decay_mask else None
        layout = Layout(learner.parameters, learner.buffers)
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
                optimizer=spec.optimizer,
                decay_mask=mask,
                samples_per_worker=samples,
                sampler=Sampler(self.parts[rank], spec.batch_size, spec.seed, rank) if works else None,
                initial_weights=learner.initial_weights,
            )

        return make


def choose_precision(experiment: Experiment) -> Precision:
    """What the specification asks for; ``auto`` is measured on this process's device and threads."""
    task, specification = experiment.task, experiment.specification
    inputs = task.train.inputs[: specification.batch_size]
    targets = task.train.targets[: specification.batch_size]
    return choose(
        specification.precision, task.model, task.prepare(inputs), targets, specification.loss, experiment.device
    )
