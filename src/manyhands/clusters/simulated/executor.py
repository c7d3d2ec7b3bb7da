"""Carries out the computations of simulated nodes: as many at once as there are cores, each on one of them.

Local steps of models that are chains of dense layers are put off until the first result is asked for. Results are taken
up in virtual time, so that by then all clients of a round are there, mostly, and are computed together: stacked. Which
clients make a stack depends on nothing real, neither on the time that anything takes nor on the number of threads.
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import TypeVar

import torch
from torch import Tensor

from manyhands.clusters.cluster import Simulated
from manyhands.clusters.effects import Tensors
from manyhands.clusters.experiment import Experiment
from manyhands.clusters.node import Node
from manyhands.errors import UserError
from manyhands.training import stacked
from manyhands.training.contrast import Contrast
from manyhands.training.learner import Learner
from manyhands.training.memory import keep_freed_memory
from manyhands.training.objective import Objective
from manyhands.training.sampler import Batch

T = TypeVar("T")

PREPARED_BYTES = 2**28
"""of training inputs that are prepared once, and not batch by batch; MNIST's are 188 MB as float32"""
STACK_CLIENTS = 16
"""the most clients in a stack"""
STACK_NUMBERS = 2**19
"""the most weights in a stack: of more, clients gain little by company, and the cores have fewer stacks to share"""


@dataclass(frozen=True)
class Choice:
    """How clients' local steps are computed, and why so."""

    name: str
    """single or stacked"""
    why: str
    """one line"""
    chain: stacked.Chain = ()
    """the model's layers, for stacks"""

    def to_json(self) -> dict[str, str]:
        """The entry ``executor`` of ``run.json``."""
        return {"name": self.name, "why": self.why}


def choose_executor(experiment: Experiment) -> Choice:
    """What the specification asks for, or what model, loss, optimiser and precision allow; nothing is measured.

    Raises UserError where stacks are asked for and cannot be made.
    """
    specification = experiment.specification
    assert isinstance(specification.cluster, Simulated)
    wanted = specification.cluster.executor
    if wanted == "single":
        return Choice("single", "asked for")
    module, task, precision = experiment.blank_module(), experiment.task, experiment.precision
    try:
        chain = stacked.check_stackable(module, task, specification.loss, specification.chosen_optimizer, precision)
    except stacked.Unstackable as reason:
        if wanted == "stacked":
            raise UserError(
                f"--cluster.executor stacked cannot train {task.name}: {reason}; leave it out, or give single"
            ) from None
        return Choice("single", f"auto: clients cannot be stacked because {reason}")
    why = "asked for" if wanted == "stacked" else "auto: the model is a chain of dense layers"
    return Choice("stacked", f"{why}; local steps of several clients at once", chain)


class Training:
    """Local steps that were asked for: begun, with others, when the first of their results is."""

    __slots__ = ("_begin", "_future", "_place", "job", "mask", "optimizer")

    def __init__(self, job: stacked.Job, node: Node, begin: Callable[[], None]) -> None:
        self.job, self.optimizer, self.mask = job, node.optimizer, node.decay_mask
        self._begin, self._place = begin, 0
        self._future: Future[list[list[float]]] | None = None

    def begun(self, future: "Future[list[list[float]]]", place: int) -> None:
        """Is one of those that are computed together."""
        self._future, self._place = future, place

    def result(self) -> list[float]:
        """The losses; the weights are changed then."""
        if self._future is None:
            self._begin()
        assert self._future is not None
        return self._future.result()[self._place]


class Executor:
    """A pool of threads with a learner each.

    A computation runs with one intra-operator thread wherever it is placed, so that its result does not depend on
    the size of the pool. Models that draw from torch's shared generator get a pool of one. ``chain``: the model's
    layers if clients are to be stacked. ``prepare``: prepare all training inputs at once, if they are not too many.
    """

    def __init__(
        self,
        make_learner: Callable[[], Learner],
        threads: int | None = None,
        *,
        chain: stacked.Chain = (),
        prepare: bool = False,
    ) -> None:
        self.learner = make_learner()
        """the caller's own learner, for evaluation between computations"""
        if self.learner.stochastic or self.learner.device.type != "cpu":
            threads = 1
        self.threads = threads or available_cores()
        self._chain = chain
        self._most = max(1, min(STACK_CLIENTS, STACK_NUMBERS // max(1, self.learner.parameters)))
        self._waiting: list[Training] = []
        self._local = threading.local()
        self._spare = [make_learner() for _ in range(self.threads)]
        if prepare and self.learner.task.augmentation is None:
            prepared = self.learner.task.prepared(PREPARED_BYTES)
            for learner in (self.learner, *self._spare):
                learner.prepared = prepared
        self._intra_operator_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        keep_freed_memory()
        self._pool = ThreadPoolExecutor(self.threads, initializer=self._start_thread)

    def _start_thread(self) -> None:
        torch.set_num_threads(1)  # OpenMP keeps this setting per thread
        self._local.learner = self._spare.pop()

    def submit(self, compute: Callable[[Learner], T]) -> "Future[T]":
        """Start a computation as soon as a thread is free; jobs start in the order in which they are submitted."""
        return self._pool.submit(lambda: compute(self._local.learner))

    def gradient(self, node: Node, batch: Batch) -> "Future[tuple[Tensor, float]]":
        """The gradient at the node's weights, and the loss."""
        weights = node.weights
        return self.submit(lambda learner: learner.gradient(weights, batch, node.rank))

    def train(
        self, node: Node, batches: Sequence[Batch], objective: Objective, contrast: Contrast | None = None
    ) -> "Future[list[float]] | Training":
        """Changes the node's weights; the losses."""
        weights, lr = node.weights, node.lr
        if self._chain and contrast is None and batches and all(batch.tensors is None for batch in batches):
            job = stacked.Job(node.rank, weights, batches, lr, objective)
            self._waiting.append(Training(job, node, self._begin))
            return self._waiting[-1]
        return self.submit(
            lambda learner: learner.train(
                weights, batches, node.rank, node.optimizer, lr, node.decay_mask, objective, contrast
            )
        )

    def _begin(self) -> None:
        """Compute all that waits: jobs of one kind together, those with the most steps first."""
        waiting, self._waiting = self._waiting, []
        kinds: dict[object, list[Training]] = {}
        for training in waiting:
            kinds.setdefault(training.job.kind, []).append(training)
        parts: list[Sequence[Training]] = []
        for alike in kinds.values():
            alike.sort(key=lambda training: -len(training.job.batches))
            parts += even_parts(alike, self._most)
        for part in parts:
            compute = partial(
                stacked.train,
                chain=self._chain,
                jobs=[training.job for training in part],
                optimizer=part[0].optimizer,
                mask=part[0].mask,
            )
            future = self.submit(compute) if len(parts) > 1 else self._at_once(compute)
            for place, training in enumerate(part):
                training.begun(future, place)

    def _at_once(self, compute: Callable[[Learner], T]) -> "Future[T]":
        """Compute where the result is waited for: to hand it to a thread would only take time."""
        future: Future[T] = Future()
        future.set_result(compute(self.learner))
        return future

    def load(self, node: Node, batch: Batch) -> Tensors:
        """The samples of a batch, prepared for the model, at once."""
        return self.learner.inputs(batch, node.rank)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self._intra_operator_threads)


def even_parts(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """The items in order, in as few parts of at most ``most`` as there can be, whose sizes differ by at most one."""
    count = ceil(len(items) / most)
    return [items[len(items) * place // count : len(items) * (place + 1) // count] for place in range(count)]


def available_cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
