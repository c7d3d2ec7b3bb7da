from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from manyhands.strategies.base import Strategy, register

if TYPE_CHECKING:
    from manyhands.clusters.node import Node


@register("data-parallel")
@dataclass(frozen=True, kw_only=True)
class DataParallel(Strategy):
    """One root sends everybody the weights and a slice of the batch, collects the gradients, and updates.

    What torch's DataParallel and a mirrored strategy on one host do. The root is the first worker: it holds all the
    data and computes a slice too. It learns as all-reduce does; what differs is that everything passes through the
    root. Batch statistics are the root's own.
    """

    paper = "Paszke et al. 2019, PyTorch: An Imperative Style, High-Performance Deep Learning Library"
    url = "https://arxiv.org/abs/1912.01703"
    sends = "G a step; root: (n − 1) · (P + X) a step"
    pools_data = True
    admits = frozenset[str]()

    def conductors(self, workers: range, servers: range) -> range:
        return workers[:1]

    async def worker(self, node: "Node") -> None:
        if node.rank == node.conductors[0]:
            await self.root(node)
        else:
            await self.replica(node)

    async def root(self, node: "Node") -> None:
        async for batch in node.batches():
            inputs, targets = await node.load(batch)
            slices = list(
                zip(inputs.tensor_split(len(node.workers)), targets.tensor_split(len(node.workers)), strict=True)
            )
            busy = [rank for rank in node.workers if len(slices[rank][1])]
            for rank in busy[1:]:
                await node.send(rank, node.weights, *slices[rank], tag=batch.number)
            gradients = [await node.gradient(replace(batch, tensors=slices[0]))]
            replies = await node.gather(busy[1:])
            gradients += [node.decompress(payload, node.layout.parameters) for (payload,) in replies]
            node.step(node.average(gradients, [len(slices[rank][1]) for rank in busy]))

    async def replica(self, node: "Node") -> None:
        async for message in node.incoming(node.conductors[0]):
            node.weights, inputs, targets = message
            gradient = await node.gradient(node.batch_of(inputs, targets, message.tag))
            await node.send(message.source, node.compress(gradient))
