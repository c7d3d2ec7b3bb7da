from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.strategies.base import Strategy, register

if TYPE_CHECKING:
    from manyhands.clusters.node import Node


@register("all-reduce")
@dataclass(frozen=True, kw_only=True)
class AllReduce(Strategy):
    """Synchronous SGD: every worker steps by the mean of all workers' gradients.

    The mean is overlapped with the backward pass, in buckets: by DistributedDataParallel in processes, by the
    same model of time in simulation. One worker is plain SGD; N workers with batch b are one with batch N·b.
    """

    paper = "Li et al. 2020, PyTorch Distributed: Experiences on Accelerating Data Parallel Training"
    url = "https://arxiv.org/abs/2006.15704"

    async def worker(self, node: "Node") -> None:
        async for batch in node.batches():
            gradient = await node.mean_gradient(batch)
            node.step(gradient)
