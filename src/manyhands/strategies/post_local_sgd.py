from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from manyhands.errors import UserError
from manyhands.strategies.base import register
from manyhands.strategies.periodic import Periodic

if TYPE_CHECKING:
    from manyhands.clusters.layout import Layout
    from manyhands.clusters.node import Node


@register("post-local-sgd")
@dataclass(frozen=True, kw_only=True)
class PostLocalSGD(Periodic):
    """Synchronous at first, local SGD later: while the weights still move fast, all move together.

    ``period=1`` without momentum is all-reduce throughout; ``switch=0`` is local SGD.
    """

    switch: float = 0.5
    """share of the training after which workers begin to take steps of their own"""

    paper = "Lin et al. 2020, Don't Use Large Mini-Batches, Use Local SGD"
    url = "https://arxiv.org/abs/1808.07217"
    sends = "2 (n − 1)/n · (f · G + (1 − f) · P/k) a step, and 2 (n − 1)/n · P once"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.switch <= 1:
            raise UserError(f"--strategy.switch must lie between 0 and 1, not {self.switch}")

    def quantities(self, layout: "Layout", workers: int, steps: int) -> dict[str, float]:
        return super().quantities(layout, workers, steps) | {"f": self.switch}

    def cycle(self, workers: int) -> int:
        """Steps more in an epoch move the switch by a share of them, which must be whole, and even for halves to round
        alike."""
        whole = Fraction(self.switch).limit_denominator(1000).denominator
        return super().cycle(workers) * whole * (1 + (whole % 2 == 0))

    async def worker(self, node: "Node") -> None:
        switch = round(self.switch * node.plan.total * node.steps_per_epoch)
        async for batch in node.batches():
            if batch.step < switch:
                node.step(await node.mean_gradient(batch))
                if batch.step + 1 == switch:  # batch statistics are still each worker's own
                    self.agree(node, await node.all_reduce(node.weights))
            else:
                node.step(await node.gradient(batch))
                if self.due(batch):
                    self.agree(node, await self.average(node))
