from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from manyhands.strategies.base import Strategy, register

if TYPE_CHECKING:
    from manyhands.clusters.node import Node


@register("parameter-server")
@dataclass(frozen=True, kw_only=True)
class ParameterServer(Strategy):
    """A server holds the weights; workers fetch them, compute a gradient and send it back.

    ``sync``: the server waits for all workers and steps by the mean of their gradients, which is all-reduce by
    another route. ``async``: it steps by each gradient as it arrives, computed at weights that others may have
    changed since. Batch statistics (float buffers) travel with the gradients.
    """

    consistency: Literal["sync", "async"] = "sync"
    """whether the server waits for all workers before it steps"""

    paper = "Li et al. 2014, Scaling Distributed Machine Learning with the Parameter Server"
    url = "https://www.usenix.org/conference/osdi14/technical-sessions/presentation/li_mu"
    servers = 1

    @property
    def synchronous(self) -> bool:
        return self.consistency == "sync"

    async def worker(self, node: "Node") -> None:
        async for (weights,) in node.incoming(node.server):
            node.weights = weights
            gradient = await node.gradient(node.next_batch())
            await node.send(node.server, gradient, node.buffers)

    async def server(self, node: "Node") -> None:
        if self.consistency == "sync":
            await self.in_step(node)
        else:
            await self.as_they_come(node)

    async def in_step(self, node: "Node") -> None:
        async for _ in node.steps():
            await node.broadcast(node.workers, node.weights)
            replies = await node.gather(node.workers)
            node.step(node.average([gradient for gradient, _ in replies]))
            node.buffers = node.average([buffers for _, buffers in replies])

    async def as_they_come(self, node: "Node") -> None:
        async for _ in node.epochs():
            await node.broadcast(node.workers, node.weights)
            expected = node.steps_per_epoch * len(node.workers)
            for done in range(expected):
                node.advance(done / expected)
                worker, (gradient, buffers) = await node.receive_any()
                node.step(gradient)
                node.buffers = buffers
                if done + len(node.workers) < expected:
                    await node.send(worker, node.weights)
