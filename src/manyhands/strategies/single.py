from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.compression import Uncompressed
from manyhands.errors import UserError
from manyhands.strategies.base import Strategy, register

if TYPE_CHECKING:
    from manyhands.clusters.node import Node


@register("single")
@dataclass(frozen=True, kw_only=True)
class Single(Strategy):
    """One worker with all the data: minibatch SGD, the baseline of every speedup."""

    paper = "Robbins & Monro 1951, A Stochastic Approximation Method"
    url = "https://doi.org/10.1214/aoms/1177729586"
    sends = "nothing"

    def __post_init__(self) -> None:
        if not isinstance(self.compression, Uncompressed):
            raise UserError(f"single sends nothing that {self.compression} could compress: leave out compression")

    def check(self, workers: int) -> None:
        if workers != 1:
            raise UserError(f"single trains on one worker: use --workers 1, not {workers}, or another strategy")

    async def worker(self, node: "Node") -> None:
        async for batch in node.batches():
            gradient = await node.gradient(batch)
            node.step(gradient)
