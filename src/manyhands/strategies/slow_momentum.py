from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.errors import UserError
from manyhands.strategies.base import positive, register
from manyhands.strategies.periodic import Periodic

if TYPE_CHECKING:
    from manyhands.clusters.node import Node


@register("slow-momentum")
@dataclass(frozen=True, kw_only=True)
class SlowMomentum(Periodic):
    """Local SGD whose averaged progress is a step of its own, with momentum.

    ``slow_momentum=0, slow_lr=1`` is local SGD.
    """

    slow_momentum: float = 0.5
    """share of the last averaging's velocity that is kept (β in the paper)"""
    slow_lr: float = 1.0
    """how far to go along the velocity (α in the paper)"""

    paper = "Wang et al. 2020, SlowMo: Improving Communication-Efficient Distributed SGD with Slow Momentum"
    url = "https://arxiv.org/abs/1910.00643"
    sends = "2 (n − 1)/n · P every k steps"

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self.name, "slow_lr", self.slow_lr)
        if not 0 <= self.slow_momentum < 1:
            raise UserError(f"--strategy.slow-momentum must lie in [0, 1), not {self.slow_momentum}")

    @property
    def looks_back(self) -> bool:
        return True

    async def worker(self, node: "Node") -> None:
        velocity = node.kept("velocity", node.parameters * 0)
        async for batch in node.batches():
            gradient = await node.gradient(batch)
            node.step(gradient)
            if self.due(batch):
                weights = await self.average(node)
                if node.lr > 0:  # at the end of some schedules nothing has moved
                    anchor, mean = (vector[: len(velocity)] for vector in (self.anchor(node), weights))
                    velocity.mul_(self.slow_momentum).add_(anchor - mean, alpha=1 / node.lr)
                    weights = weights.clone()  # of which batch statistics stay plain means
                    weights[: len(velocity)] = anchor - self.slow_lr * node.lr * velocity
                self.agree(node, weights)
