from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.strategies.base import register
from manyhands.strategies.federated import Federated, Tensors

if TYPE_CHECKING:
    from manyhands.clusters.node import Node


@register("fedavg")
@dataclass(frozen=True, kw_only=True)
class FedAvg(Federated):
    """Federated averaging: each round a cohort trains on its own data; the server averages by sample counts.

    What a client sends back is how its weights changed. With all clients in the cohort and one full-batch step each it
    is synchronous SGD over unequal parts.
    """

    paper = "McMahan et al. 2017, Communication-Efficient Learning of Deep Networks from Decentralized Data"
    url = "https://arxiv.org/abs/1602.05629"
    sends = "C · P a round; server: n · C · P a round"

    async def client(self, node: "Node", received: Tensors) -> Tensors:
        (weights,) = received
        node.weights = weights
        done = await node.train(self.batches(node))
        return (node.weights - weights,) if done else ()

    def update(self, node: "Node", mean: Tensors, clients: Sequence[int]) -> None:
        node.weights += mean[0]
