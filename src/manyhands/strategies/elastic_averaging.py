from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.errors import UserError
from manyhands.strategies.base import Strategy, dense_alone, positive, register

if TYPE_CHECKING:
    from manyhands.clusters.layout import Layout
    from manyhands.clusters.node import Node


@register("elastic-averaging")
@dataclass(frozen=True, kw_only=True)
class ElasticAveraging(Strategy):
    """EASGD: workers and a centre pull at each other as if by springs, each worker at its own pace.

    Every ``period`` steps a worker sends its weights x, and both move by α·(x - centre), with α = ``pull`` / N: the
    worker towards the centre, the centre towards the worker. The result is the centre.
    """

    period: int = 10
    """steps of a worker between two exchanges (τ in the paper)"""
    pull: float = 0.9
    """how strongly all workers together move the centre (β in the paper)"""

    paper = "Zhang, Choromanska & LeCun 2015, Deep learning with Elastic Averaging SGD"
    url = "https://arxiv.org/abs/1412.6651"
    sends = "P every k steps; server: n · P every k steps"
    servers = 1
    followers_keep_weights = True

    def __post_init__(self) -> None:
        positive(self.name, "period", self.period)
        if not 0 < self.pull <= 1:
            raise UserError(f"--strategy.pull must lie in (0, 1], not {self.pull}")
        dense_alone(self, "worker and centre must know each other's weights to pull at them alike")

    def quantities(self, layout: "Layout", workers: int, steps: int) -> dict[str, float]:
        return {"k": self.period}

    def cycle(self, workers: int) -> int:
        return self.period

    @property
    def synchronous(self) -> bool:
        return False

    async def worker(self, node: "Node") -> None:
        alpha = self.pull / len(node.workers)
        async for message in node.incoming(node.server):
            if message.tensors:
                node.weights -= node.decompress(message.tensors[0], len(node.weights)) * alpha
            if message.tag:
                for _ in range(message.tag):
                    node.step(await node.gradient(node.next_batch()))
                await node.send(node.server, node.encode(node.weights))

    async def server(self, node: "Node") -> None:
        """Hand out an epoch's steps, ``period`` at a time: the tag of a message is how many to take, 0 to rest."""
        alpha = self.pull / len(node.workers)
        async for _ in node.epochs():
            left = total = node.steps_per_epoch * len(node.workers)
            busy = 0
            for worker in node.workers:
                steps = min(self.period, left)
                if steps:
                    await node.send(worker, tag=steps)
                left, busy = left - steps, busy + (steps > 0)
            while busy:
                message = await node.receive_any()
                node.advance(1 - left / total)
                steps = min(self.period, left)
                payload = node.encode(node.decompress(message.tensors[0], len(node.weights)) - node.weights)
                node.weights += node.decompress(payload, len(node.weights)) * alpha
                await node.send(message.source, payload, tag=steps)
                left, busy = left - steps, busy - (steps == 0)
