"""Carries out the computations of simulated nodes: as many at once as there are cores, each on one of them."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from manyhands.clusters.effects import Tensors
from manyhands.clusters.node import Node
from manyhands.training.learner import Learner
from manyhands.training.memory import keep_freed_memory
from manyhands.training.sampler import Batch

T = TypeVar("T")


class Executor:
    """A pool of threads with a learner each.

    A computation runs with one intra-operator thread wherever it is placed, so that its result does not depend on
    the size of the pool. Models that draw from torch's shared generator get a pool of one.
    """

    def __init__(self, make_learner: Callable[[], Learner], threads: int | None = None) -> None:
        self.learner = make_learner()
        """the caller's own learner, for evaluation between computations"""
        if self.learner.stochastic or self.learner.device.type != "cpu":
            threads = 1
        self.threads = threads or available_cores()
        self._local = threading.local()
        self._spare = [make_learner() for _ in range(self.threads)]
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
        return self.submit(lambda learner: learner.gradient(node.weights, batch, node.rank))

    def train(self, node: Node, batches: Sequence[Batch]) -> "Future[list[float]]":
        """Changes the node's weights; the losses."""
        lr = node.lr
        return self.submit(
            lambda learner: learner.train(node.weights, batches, node.rank, node.optimizer, lr, node.decay_mask)
        )

    def load(self, node: Node, batch: Batch) -> Tensors:
        """The samples of a batch, prepared for the model, at once."""
        return self.learner.inputs(batch, node.rank)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self._intra_operator_threads)


def available_cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
