"""Strategies written for the simulated cluster alone, to see what it does with their effects."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from manyhands import lab
from manyhands.clusters.cluster import Simulated
from manyhands.clusters.node import Node
from manyhands.runs.specification import Specification
from manyhands.strategies import Strategy
from manyhands.tasks.task import Task


def make_task(samples: int = 64, model: Callable[[], nn.Module] = lambda: nn.Linear(4, 2)) -> Task:
    inputs = torch.randn(samples, 4, generator=torch.Generator().manual_seed(0))
    return Task(model=model, train=(inputs, inputs[:, 0].gt(0).long()), test=(inputs, inputs[:, 0].gt(0).long()))


def simulate(
    strategy: Strategy,
    folder: Path,
    workers: int = 2,
    task: Task | None = None,
    cluster: Simulated | None = None,
    **options: Any,
) -> dict[str, Any]:
    """The ledger of a run."""
    defaults = {"batch_size": 8} | ({} if "rounds" in options else {"epochs": 1})
    specification = Specification(
        strategy=strategy, workers=workers, cluster=cluster or Simulated(), **(defaults | options)
    )
    lab.train(specification, task=task or make_task(), out=folder)
    content: dict[str, Any] = json.loads((folder / "ledger.json").read_text())
    return content


@dataclass(frozen=True, kw_only=True)
class Scripted(Strategy):
    """Each worker's part is a method of its own; what they saw is noted in ``seen``."""

    name = "scripted"
    seen: ClassVar[list[Any]]

    def __init_subclass__(cls) -> None:
        cls.seen = []

    async def worker(self, node: Node) -> None:
        async for _ in node.epochs():
            await getattr(self, f"worker_{node.rank}")(node)
