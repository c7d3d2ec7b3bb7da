from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.strategies.base import dense_alone, register
from manyhands.strategies.neighbourhood import Neighbourhood
from manyhands.strategies.topology import OnePeerExponential, Topology

if TYPE_CHECKING:
    from manyhands.clusters.node import Node


@register("push-sum")
@dataclass(frozen=True, kw_only=True)
class PushSum(Neighbourhood):
    """Stochastic gradient push: gossip over graphs with one-way edges, where nobody waits for an answer.

    Each worker keeps a share of its weights and sends equal shares to its successors. A number travels beside them, of
    which everybody began with 1: dividing by it undoes the bias of graphs in which some are heard more than others.
    On the complete graph this averages the weights of all after each step.
    """

    topology: Topology = OnePeerExponential()
    """who sends to whom"""

    paper = "Assran et al. 2019, Stochastic Gradient Push for Distributed Deep Learning"
    url = "https://arxiv.org/abs/1811.10792"
    sends = "d · (P + 8) a step"

    def __post_init__(self) -> None:
        dense_alone(self, "the shares of all workers' weights must add up to the whole")

    async def worker(self, node: "Node") -> None:
        size = len(node.workers)
        mass = node.kept("mass", node.number(1.0))  # w in the paper; node.weights are z = x / w
        async for batch in node.batches():
            gradient = await node.gradient(batch)
            node.step(gradient, 1 / float(mass))
            successors = self.topology.neighbours(node.rank, size, batch.step)
            share = float(mass) / (1 + len(successors))
            await node.broadcast(successors, node.encode(node.weights * share), node.number(share))
            parts, masses = [node.weights], [share]
            for source in self.topology.sources(node.rank, size, batch.step):
                payload, theirs = await node.receive(source)
                parts.append(node.decompress(payload, len(node.weights)) / float(theirs))
                masses.append(float(theirs))
            node.weights = node.average(parts, masses)
            mass.fill_(sum(masses))
