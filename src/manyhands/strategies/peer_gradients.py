from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.strategies.base import Strategy, register

if TYPE_CHECKING:
    from manyhands.clusters.node import Node


@register("peer-gradients")
@dataclass(frozen=True, kw_only=True)
class PeerGradients(Strategy):
    """A parameter server in everybody: each worker sends its gradient to every other and applies the mean of all.

    It learns as all-reduce does; every worker sends N - 1 whole gradients a step instead of 2(N - 1)/N of one.
    """

    paper = "Strom 2015, Scalable Distributed DNN Training Using Commodity GPU Cloud Computing"
    url = "https://www.isca-archive.org/interspeech_2015/strom15_interspeech.html"
    sends = "(n − 1) · G a step"

    async def worker(self, node: "Node") -> None:
        peers = [rank for rank in node.workers if rank != node.rank]
        async for batch in node.batches():
            payloads = {node.rank: node.compress(await node.gradient(batch))}
            await node.broadcast(peers, payloads[node.rank])
            for rank in peers:
                (payloads[rank],) = await node.receive(rank)
            gradients = [node.decompress(payloads[rank], node.layout.parameters) for rank in node.workers]
            node.step(node.average(gradients))
