"""What strategies have in common whose workers train by themselves for a while, and then agree."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from manyhands.compression import Uncompressed
from manyhands.strategies.base import Strategy, positive

if TYPE_CHECKING:
    from torch import Tensor

    from manyhands.clusters.layout import Layout
    from manyhands.clusters.node import Node
    from manyhands.training.sampler import Batch


@dataclass(frozen=True, kw_only=True)
class Periodic(Strategy):
    """Local steps, and after every ``period`` of them, or each epoch, something that all workers do together."""

    period: int | Literal["epoch"] = "epoch"
    """steps between two averagings, or once an epoch"""

    def __post_init__(self) -> None:
        if self.period != "epoch":
            positive(self.name, "period", self.period)

    def cycle(self, workers: int) -> int:
        return 1 if self.period == "epoch" else self.period

    def quantities(self, layout: "Layout", workers: int, steps: int) -> dict[str, float]:
        return {"k": steps if self.period == "epoch" else self.period}

    def due(self, batch: "Batch", offset: int = 0) -> bool:
        """Whether the workers agree after this batch's step; ``offset`` steps later than others."""
        return batch.ends_epoch or (self.period != "epoch" and (batch.step + 1) % self.period == offset % self.period)

    def anchor(self, node: "Node") -> "Tensor":
        """The weights on which all workers agreed last, float32 [P]; at first those that they began with."""
        return node.kept("anchor")

    async def average(self, node: "Node") -> "Tensor":
        """The mean of all workers' weights. Compressed, what is sent is how they changed since all agreed last."""
        if isinstance(self.compression, Uncompressed):
            return await node.all_reduce(node.weights)
        anchor = self.anchor(node)
        return anchor + await node.mean(node.weights - anchor)

    @property
    def looks_back(self) -> bool:
        """Whether the next averaging needs the weights of the last one."""
        return not isinstance(self.compression, Uncompressed)

    def agree(self, node: "Node", weights: "Tensor") -> None:
        """Go on from weights that all workers have."""
        node.weights = weights
        if self.looks_back:
            self.anchor(node).copy_(weights)
