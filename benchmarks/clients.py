"""Local steps of several clients: stacked, against one after another, on one thread.

For dense models by `manyhands.training.stacked`, for LeNet-5 by torch.func: vmap over clients of the gradient of a
functional call, which is the general way to stack any model, and why convolutions are not stacked here. Each prints a
JSON line: images a second one by one, and how many times as fast stacks are, by turns, with the least and the greatest.
There are always the same 80 clients: fewer, done again and again, would find their images in the cache.

usage: python benchmarks/clients.py [REPEATS] [MODEL:BATCH:CLIENTS …]
       default: 7 repetitions of logistic and mlp with batches of 10 and 32, and lenet5 with 32, in stacks of 1 to 40
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from math import prod
from statistics import median

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap

from manyhands.runs.environment import hardware, versions
from manyhands.tasks.models import build
from manyhands.tasks.task import Task
from manyhands.training import stacked
from manyhands.training.learner import Learner
from manyhands.training.loss import CrossEntropy
from manyhands.training.memory import keep_freed_memory
from manyhands.training.optimizer import SGD
from manyhands.training.precision import Precision
from manyhands.training.sampler import Batch
from manyhands.training.stacked import Job

ALL, STEPS, SAMPLES, LR = 80, 6, 60_000, 0.01
SHAPE = (1, 28, 28)
DEFAULT = [
    *(f"logistic:{size}:{clients}" for size in (10, 32) for clients in (1, 4, 8, 16, 40)),
    *(f"mlp:{size}:{clients}" for size in (10, 32) for clients in (1, 2, 4)),
    *(f"lenet5:32:{clients}" for clients in (2, 5, 10)),
]


def make_learner(model: str) -> Learner:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(SAMPLES, *SHAPE, generator=generator)
    targets = torch.randint(0, 10, (SAMPLES,), generator=generator)
    task = Task(
        model=lambda: build(model, SHAPE, 10), train=(inputs, targets), test=(inputs[:10], targets[:10]), name=model
    )
    precision, cpu = Precision(name="fp32", why=""), torch.device("cpu")
    learner = Learner(task, loss=CrossEntropy(), precision=precision, device=cpu, seed=0)
    learner.prepared = task.prepared(0)
    return learner


def make_jobs(learner: Learner, batch: int) -> list[Job]:
    rng = np.random.default_rng(0)
    return [
        Job(
            rank,
            learner.initial_weights.clone(),
            [Batch(rng.integers(0, SAMPLES, batch), number) for number in range(STEPS)],
            LR,
        )
        for rank in range(ALL)
    ]


def one_by_one(learner: Learner, jobs: Sequence[Job]) -> None:
    for job in jobs:
        learner.train(job.weights, job.batches, job.rank, SGD(), LR, None)


def stack(learner: Learner, jobs: Sequence[Job]) -> None:
    stacked.train(learner, stacked.dense_chain(learner.module, SHAPE), jobs, SGD(), None)


def mapped(learner: Learner, jobs: Sequence[Job]) -> None:
    """The same by vmap."""
    module, shapes = learner.module, learner.shapes
    names = [name for name, _ in module.named_parameters()]
    parts = torch.stack([job.weights for job in jobs]).split([prod(shape) for shape in shapes], dim=1)
    pieces = [part.reshape(len(jobs), *shape).contiguous() for part, shape in zip(parts, shapes, strict=True)]

    def loss(parameters: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        return learner.loss(functional_call(module, parameters, (inputs,)), targets)

    step = vmap(grad_and_value(loss))
    for number in range(STEPS):
        indices = torch.from_numpy(np.stack([job.batches[number].indices for job in jobs]))
        inputs, targets = learner.fetch(indices.flatten())
        gradients, _ = step(
            dict(zip(names, pieces, strict=True)), inputs.view(*indices.shape, *SHAPE), targets.view(indices.shape)
        )
        for name, piece in zip(names, pieces, strict=True):
            piece.sub_(gradients[name], alpha=LR)
    for job, weights in zip(jobs, torch.cat([piece.flatten(1) for piece in pieces], dim=1), strict=True):
        job.weights.copy_(weights)


def seconds(
    train: Callable[[Learner, Sequence[Job]], None], learner: Learner, jobs: Sequence[Job], clients: int
) -> float:
    """Of all jobs, so many at once."""
    start = time.perf_counter()
    for first in range(0, ALL, clients):
        train(learner, jobs[first : first + clients])
    return time.perf_counter() - start


def compare(case: str, repeats: int) -> None:
    model, batch, clients = case.split(":")
    learner = make_learner(model)
    together = mapped if model == "lenet5" else stack
    pairs = []
    for turn in range(repeats + 1):
        jobs, others = (make_jobs(learner, int(batch)) for _ in range(2))
        pair = seconds(one_by_one, learner, jobs, 1), seconds(together, learner, others, int(clients))
        if turn:  # the first warms up
            pairs.append(pair)
    assert all(torch.allclose(a.weights, b.weights, atol=1e-3) for a, b in zip(jobs, others, strict=True))
    images, gains = STEPS * int(batch) * ALL, [one / other for one, other in pairs]
    result = {
        "benchmark": f"clients: {model}, batches of {batch}, {clients} at once, {together.__name__}",
        "n": repeats,
        "images_per_second_one_by_one": round(images / median(one for one, _ in pairs)),
        "images_per_second_stacked": round(images / median(other for _, other in pairs)),
        "times_as_fast": round(median(gains), 3),
        "least": round(min(gains), 3),
        "greatest": round(max(gains), 3),
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    keep_freed_memory()
    print(json.dumps({"versions": versions(), "hardware": hardware()}))
    for case in sys.argv[2:] or DEFAULT:
        compare(case, int(sys.argv[1]) if len(sys.argv) > 1 else 7)
