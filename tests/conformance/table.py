"""What the conformance tests run over: every registered strategy, and how its runs are held against each other."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import cos, pi
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from manyhands import lab
from manyhands.clusters.cluster import Simulated
from manyhands.clusters.collectives import COLLECTIVES
from manyhands.runs.specification import Specification
from manyhands.strategies import STRATEGIES, Strategy, parse_strategy
from manyhands.tasks.task import Task
from manyhands.training.optimizer import SGD

EXTRA = {
    "ad-psgd": ["topology=star", "compression=int8"],
    "all-reduce": [
        *(f"collective={name}" for name in COLLECTIVES.members if name != "native"),
        *("compression=bf16", "compression=sign", "compression=random-k:9,collective=ring", "compression=powersgd:2"),
    ],
    "data-parallel": ["compression=qsgd:7"],
    "diloco": ["period=3,fragments=2", "compression=top-k:0.3"],
    "elastic-averaging": ["period=3,pull=0.5", "compression=bf16"],
    "fedavg": ["fraction=0.5,local_epochs=2", "compression=int8"],
    "fedasync": ["fraction=0.5,staleness=constant", "staleness=hinge:1,1,alpha=1"],
    "fedbn": ["fraction=0.5,local_epochs=2", "compression=top-k:0.3"],
    "fedbuff": ["buffer=2,fraction=0.5,server_lr=0.5", "compression=bf16"],
    "feddyn": ["fraction=0.5,alpha=0.1"],
    "fednova": ["fraction=0.5,mu=0.1", "compression=top-k:0.3"],
    "fedopt": ["server_optimizer=sgd:momentum=0.9", "server_optimizer=adagrad", "server_optimizer=yogi,fraction=0.5"],
    "fedper": ["fraction=0.5,local_epochs=2", "compression=int8"],
    "fedprox": ["fraction=0.5,mu=0.5"],
    "fedsgd": ["fraction=0.5", "compression=qsgd:7"],
    "gossip": [
        *(f"topology={name}" for name in ("star", "complete", "exponential", "one-peer-exponential")),
        "compression=top-k:0.3,consensus_step=0.5",
    ],
    "local-sgd": ["period=3", "compression=powersgd:1"],
    "moon": ["fraction=0.5,mu=5,temperature=0.1"],
    "parameter-server": [
        *("consistency=async", "consistency=ssp:2", "servers=3", "servers=2,consistency=async,staleness_aware=true"),
        *("servers=2,consistency=ssp:1", "compression=top-k:20,servers=2"),
    ],
    "peer-gradients": ["compression=random-k:0.5"],
    "post-local-sgd": ["period=3,switch=0.3"],
    "push-sum": ["topology=directed-ring", "topology=complete", "compression=bf16"],
    "scaffold": ["fraction=0.5,server_lr=0.5", "compression=int8"],
    "slow-momentum": ["period=3,slow_momentum=0.7"],
}
VARIANTS = [*STRATEGIES, *(f"{name}:{options}" for name, several in EXTRA.items() for options in several)]
SYNCHRONOUS = [variant for variant in VARIANTS if parse_strategy(variant).synchronous]
LOOSE = {"all-reduce:compression=bf16": 1e-2, "all-reduce:compression=powersgd:2": 1e-3}
"""synchronous variants of which the last bit depends on the backend's order of summing: how far apart they may end"""
CRAFT = SGD(momentum=0.9, nesterov=True, weight_decay=1e-2, clip_norm=0.5)


def craft(variant: str) -> SGD:
    """Everything that the optimiser can do for a variant; servers that share the weights know no norm of the whole."""
    return replace(CRAFT, clip_norm=None) if parse_strategy(variant).sharded else CRAFT


def specify(variant: str | Strategy, workers: int, **options: Any) -> Specification:
    """A specification of a variant; ``single`` has one worker whatever is asked for."""
    strategy = parse_strategy(variant) if isinstance(variant, str) else variant
    defaults: dict[str, Any] = {"cluster": Simulated(threads=1), "batch_size": 8, "lr": 0.1, "seed": 3, "epochs": 2}
    if "rounds" in options:
        del defaults["epochs"]
    return Specification(strategy=strategy, workers=1 if strategy.name == "single" else workers, **(defaults | options))


@dataclass(frozen=True)
class Run:
    """A run's folder, read back."""

    folder: Path

    @property
    def tensors(self) -> dict[str, Tensor]:
        return load_file(self.folder / "model.safetensors")

    @property
    def weights(self) -> Tensor:
        """All floating-point numbers of the model in one vector, batch statistics included."""
        return flat(self.tensors)

    @property
    def history(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "history.jsonl").read_text().splitlines()]

    @property
    def clients(self) -> list[dict[str, Any]]:
        """What the run tells of each client; nothing if its strategy has no rounds."""
        file = self.folder / "clients.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def ledger(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "ledger.json").read_text())
        return content

    def files(self) -> dict[str, bytes]:
        """The files that two equal runs have in common, byte by byte."""
        names = ["model.safetensors", "history.jsonl", "ledger.json", "evaluation.json", "partition.json"]
        clients = ["clients.jsonl"] if (self.folder / "clients.jsonl").exists() else []
        return {name: (self.folder / name).read_bytes() for name in (*names, *clients)}


def train(specification: Specification, task: Task, folder: Path, **options: Any) -> Run:
    return Run(lab.train(specification, task=task, out=folder, **options))


class Interrupt:
    """An observer that interrupts the run, as Ctrl-C would, once so many epochs or rounds are done."""

    def __init__(self, completed: int) -> None:
        self.completed = completed

    def __call__(self, row: dict[str, Any]) -> None:
        if row["completed"] == self.completed:
            raise KeyboardInterrupt


def flat(tensors: dict[str, Tensor]) -> Tensor:
    return torch.cat([tensors[name].flatten() for name in sorted(tensors) if tensors[name].is_floating_point()])


def distance(one: Tensor, other: Tensor) -> float:
    """Relative to the first."""
    assert one.isfinite().all()
    assert other.isfinite().all()
    return float((one.double() - other.double()).norm() / one.double().norm())


def initial_module(specification: Specification, task: Task) -> nn.Module:
    """The model with the weights that every node starts with."""
    return lab.prepare(specification, task).make_learner().module


def batches(specification: Specification, task: Task) -> Iterator[list[np.ndarray]]:
    """For each step the samples of each worker, drawn as the nodes draw them."""
    experiment = lab.prepare(specification, task)
    make = experiment.make_nodes(experiment.make_learner())
    samplers = [make(rank).sampler for rank in experiment.workers]
    while True:
        yield [sampler.next_batch() for sampler in samplers if sampler is not None]


def plain_sgd(
    module: nn.Module,
    steps: Iterable[np.ndarray],
    task: Task,
    lrs: list[float],
    optimizer: SGD,
    period: int | None = None,
) -> Tensor:
    """The loop that everybody would write by hand, on the samples given for each step; the weights after it.

    ``period``: steps after which the optimiser starts afresh, as it does in each round of a federated strategy.
    """
    torch_optimizer = None
    for step, (indices, lr) in enumerate(zip(steps, lrs, strict=False)):
        if torch_optimizer is None or (period and step % period == 0):
            torch_optimizer = torch.optim.SGD(
                module.parameters(),
                lr=lr,
                momentum=optimizer.momentum,
                nesterov=optimizer.nesterov,
                weight_decay=optimizer.weight_decay,
            )
        torch_optimizer.param_groups[0]["lr"] = lr
        torch_optimizer.zero_grad()
        F.cross_entropy(module(task.train.inputs[indices]), task.train.targets[indices]).backward()
        if optimizer.clip_norm:
            clip_grad_norm_(module.parameters(), optimizer.clip_norm)
        torch_optimizer.step()
    return flat({name: tensor.detach() for name, tensor in module.state_dict().items()})


def cosine(lr: float, steps: int, period: int = 1) -> list[float]:
    """The learning rates of a cosine schedule that moves every ``period`` steps."""
    return [lr * (1 + cos(pi * (step // period * period) / steps)) / 2 for step in range(steps)]
