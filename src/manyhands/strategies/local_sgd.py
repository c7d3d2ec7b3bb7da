from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.strategies.base import register
from manyhands.strategies.periodic import Periodic

if TYPE_CHECKING:
    from manyhands.clusters.node import Node


@register("local-sgd")
@dataclass(frozen=True, kw_only=True)
class LocalSGD(Periodic):
    """Every worker takes steps of its own; every ``period`` steps, or each epoch, all average their weights.

    ``period=1`` without momentum is all-reduce of the gradients.
    """

    paper = "Stich 2019, Local SGD Converges Fast and Communicates Little"
    url = "https://arxiv.org/abs/1805.09767"
    sends = "2 (n − 1)/n · P every k steps"

    async def worker(self, node: "Node") -> None:
        async for batch in node.batches():
            gradient = await node.gradient(batch)
            node.step(gradient)
            if self.due(batch):
                self.agree(node, await self.average(node))
