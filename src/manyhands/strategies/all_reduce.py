from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from manyhands.clusters.collectives import Collective, Native
from manyhands.compression import Uncompressed
from manyhands.errors import UserError
from manyhands.strategies.adasum import adasum
from manyhands.strategies.base import Strategy, register

if TYPE_CHECKING:
    from manyhands.clusters.node import Node


@register("all-reduce")
@dataclass(frozen=True, kw_only=True)
class AllReduce(Strategy):
    """Synchronous SGD: every worker steps by the mean of all workers' gradients.

    The native mean is overlapped with the backward pass, in buckets: by DistributedDataParallel in processes, by the
    same model of time in simulation. The other collectives, compression and Adasum begin when the gradient is whole.
    One worker is plain SGD; N workers with batch b are one with batch N·b.
    """

    collective: Collective = Native()
    """how the mean is formed: by the backend, or by messages from worker to worker"""
    combine: Literal["mean", "adasum"] = "mean"
    """adasum: parallel gradients are averaged, orthogonal ones added (Maleki et al. 2020, arxiv.org/abs/2006.02924)"""

    paper = "Li et al. 2020, PyTorch Distributed: Experiences on Accelerating Data Parallel Training"
    url = "https://arxiv.org/abs/2006.15704"

    def __post_init__(self) -> None:
        if self.combine == "adasum" and not self.plain:
            raise UserError("--strategy.combine adasum has messages of its own: leave out collective and compression")

    def check(self, workers: int) -> None:
        if self.combine == "adasum" and workers & (workers - 1):
            raise UserError(f"adasum joins pairs of pairs: --workers must be a power of two, not {workers}")

    @property
    def sends(self) -> str:
        return "log₂ n · G a step" if self.combine == "adasum" else "2 (n − 1)/n · G a step"

    @property
    def plain(self) -> bool:
        return isinstance(self.collective, Native) and isinstance(self.compression, Uncompressed)

    async def worker(self, node: "Node") -> None:
        async for batch in node.batches():
            if self.combine == "adasum":
                gradient = await adasum(node, await node.gradient(batch))
            else:
                gradient = await node.mean_gradient(batch, self.collective)
            node.step(gradient)
