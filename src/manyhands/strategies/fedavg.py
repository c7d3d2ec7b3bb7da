from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.errors import UserError
from manyhands.strategies.base import Strategy, positive, register

if TYPE_CHECKING:
    from manyhands.clusters.node import Node


@register("fedavg")
@dataclass(frozen=True, kw_only=True)
class FedAvg(Strategy):
    """Federated averaging: each round a cohort trains on its own data; the server averages by sample counts.

    What a worker sends back is how its weights changed. With all workers in the cohort and one full-batch step each it
    is synchronous SGD over unequal parts.
    """

    fraction: float = 1.0
    """share of the workers that take part in a round (C in the paper)"""
    local_epochs: int = 1
    """passes of a worker over its own samples in a round (E in the paper)"""

    paper = "McMahan et al. 2017, Communication-Efficient Learning of Deep Networks from Decentralized Data"
    url = "https://arxiv.org/abs/1602.05629"
    unit = "round"
    servers = 1

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise UserError(f"--strategy.fraction of fedavg must lie in (0, 1], not {self.fraction}")
        positive("fedavg", "local_epochs", self.local_epochs)

    def epochs_per_round(self) -> float:
        return self.fraction * self.local_epochs

    async def server(self, node: "Node") -> None:
        size = max(1, round(self.fraction * len(node.workers)))
        async for number in node.rounds():
            cohort = node.choose(node.workers, size, "cohort", number)
            await node.broadcast(cohort, node.weights)
            updates = [node.decompress(payload, len(node.weights)) for (payload,) in await node.gather(cohort)]
            node.weights += node.average(updates, [node.samples_of(worker) for worker in cohort])

    async def worker(self, node: "Node") -> None:
        async for (weights,) in node.incoming(node.server):
            node.weights = weights
            await node.train(node.local_batches(self.local_epochs))
            await node.send(node.server, node.compress(node.weights - weights))
