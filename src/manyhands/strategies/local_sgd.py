from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from manyhands.strategies.base import Strategy, positive, register

if TYPE_CHECKING:
    from manyhands.clusters.node import Node


@register("local-sgd")
@dataclass(frozen=True, kw_only=True)
class LocalSGD(Strategy):
    """Every worker takes steps of its own; every ``period`` steps, or each epoch, all average their weights.

    ``period=1`` without momentum is all-reduce of the gradients.
    """

    period: int | Literal["epoch"] = "epoch"
    """steps between two averagings, or once an epoch"""

    paper = "Stich 2019, Local SGD Converges Fast and Communicates Little"
    url = "https://arxiv.org/abs/1805.09767"

    def __post_init__(self) -> None:
        if self.period != "epoch":
            positive("local-sgd", "period", self.period)

    async def worker(self, node: "Node") -> None:
        async for batch in node.batches():
            gradient = await node.gradient(batch)
            node.step(gradient)
            if batch.ends_epoch or (self.period != "epoch" and (batch.step + 1) % self.period == 0):
                node.weights = await node.all_reduce(node.weights)
