from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.strategies.base import Strategy, register
from manyhands.strategies.topology import Ring, Topology

if TYPE_CHECKING:
    from manyhands.clusters.node import Node


@register("gossip")
@dataclass(frozen=True, kw_only=True)
class Gossip(Strategy):
    """D-PSGD: after each local step every worker averages its weights with those of its neighbours alone.

    On the complete graph this averages the weights of all after each step.
    """

    topology: Topology = Ring()
    """who talks to whom"""

    paper = "Lian et al. 2017, Can Decentralized Algorithms Outperform Centralized Algorithms?"
    url = "https://arxiv.org/abs/1705.09056"

    def check(self, workers: int) -> None:
        self.topology.check(workers)

    async def worker(self, node: "Node") -> None:
        mixing = self.topology.mixing(node.rank, len(node.workers))
        async for batch in node.batches():
            gradient = await node.gradient(batch)
            node.step(gradient)
            node.weights = await node.mix(mixing)
