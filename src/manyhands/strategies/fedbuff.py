from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.strategies.asynchronous import Arrival, Asynchronous
from manyhands.strategies.base import positive, register

if TYPE_CHECKING:
    from manyhands.clusters.node import Node


@register("fedbuff")
@dataclass(frozen=True, kw_only=True)
class FedBuff(Asynchronous):
    """The server gathers ``buffer`` updates as they come, whoever sends them, and steps by their mean.

    Stale updates count less, by 1 / √(1 + staleness) unless told otherwise. What is in the buffer at the end of a round
    makes a last step. Updates are weighted by samples, as everywhere here; ``aggregation=uniform`` weighs them alike,
    as the paper does. With all clients at work and a buffer for all of them nobody is stale: federated averaging.
    """

    buffer: int = 4
    """updates that make a step (K in the paper, which takes 10)"""
    server_lr: float = 1.0
    """length of the server's step, in mean changes of the clients (η_g in the paper); the smaller the buffer, the more
    steps the server makes of as many updates, and the shorter they may have to be"""

    paper = "Nguyen et al. 2022, Federated Learning with Buffered Asynchronous Aggregation"
    url = "https://arxiv.org/abs/2106.06639"
    sends = "P a round; server: n · P a round"

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self.name, "buffer", self.buffer)
        positive(self.name, "server_lr", self.server_lr)

    @property
    def replies_per_update(self) -> int:
        return self.buffer

    def check(self, workers: int) -> None:
        super().check(workers)
        for size in {min(self.buffer, workers), workers % self.buffer or self.buffer}:
            self.aggregation.check(size)

    def merge(self, node: "Node", arrivals: list[Arrival]) -> None:
        replies = []
        for arrival in arrivals:
            factor = self.staleness.factor(arrival.staleness)
            replies.append([vector * factor for vector in arrival.reply])
            node.vector_bytes += 2 * sum(vector.nbytes for vector in arrival.reply)
        if len(replies) >= self.aggregation.least:  # some may have dropped out
            samples = [float(node.samples_of(arrival.client)) for arrival in arrivals]
            (change,) = self.aggregation.combine_replies(replies, samples, node)
            self.move(node, change, self.server_lr)
