from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.errors import UserError
from manyhands.strategies.base import positive, register
from manyhands.strategies.periodic import Periodic

if TYPE_CHECKING:
    from torch import Tensor

    from manyhands.clusters.node import Node


@register("diloco")
@dataclass(frozen=True, kw_only=True)
class DiLoCo(Periodic):
    """Many local steps of AdamW; then what all have moved on average is a gradient for an outer Nesterov step.

    The inner optimiser is the run's own, which is AdamW here unless another is asked for. With several ``fragments``
    the workers agree on one part of the weights at a time, in turn (Streaming DiLoCo, Douillard et al. 2025,
    https://arxiv.org/abs/2501.18512), so that less is sent at once. ``outer_lr=1, outer_momentum=0`` with SGD inside is
    local SGD.
    """

    outer_lr: float = 0.7
    """learning rate of the outer step"""
    outer_momentum: float = 0.9
    """Nesterov momentum of the outer step"""
    fragments: int = 1
    """parts of the weights that are sent at different times"""

    paper = "Douillard et al. 2023, DiLoCo: Distributed Low-Communication Training of Language Models"
    url = "https://arxiv.org/abs/2311.08105"
    sends = "2 (n − 1)/n · G every k steps, and 2 (n − 1)/n · B an epoch"
    default_optimizer = "adamw"

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self.name, "outer_lr", self.outer_lr)
        positive(self.name, "fragments", self.fragments)
        if not 0 <= self.outer_momentum < 1:
            raise UserError(f"--strategy.outer-momentum must lie in [0, 1), not {self.outer_momentum}")
        if self.period != "epoch" and self.fragments > self.period:
            raise UserError(f"--strategy.fragments {self.fragments} is more than the {self.period} steps of a period")
        if self.fragments > 1 and self.compression.whole:
            raise UserError(f"{self.compression} compresses whole layers, which fragments cut: use one fragment")

    def fit(self, parameters: int) -> None:
        super().fit(parameters)
        if self.fragments > parameters:
            raise UserError(f"--strategy.fragments {self.fragments} is more than the {parameters:,} parameters")

    async def worker(self, node: "Node") -> None:
        velocity = node.kept("velocity", node.parameters * 0)
        async for batch in node.batches():
            gradient = await node.gradient(batch)
            node.step(gradient)
            for number in range(self.fragments):
                if self.due(batch, self.offset(number)):
                    fragment = node.layout.shard(number, self.fragments)
                    await self.outer_step(node, fragment, velocity[fragment], number)
            if batch.ends_epoch and len(node.buffers):
                node.buffers = await node.all_reduce(node.buffers)

    def offset(self, number: int) -> int:
        """How many steps later than the first a fragment is sent."""
        return 0 if self.period == "epoch" else number * self.period // self.fragments

    async def outer_step(self, node: "Node", fragment: slice, velocity: "Tensor", number: int) -> None:
        anchor, mine = self.anchor(node)[fragment], node.parameters[fragment]
        gradient = await node.mean(anchor - mine, stream=f"fragment-{number}")
        velocity.mul_(self.outer_momentum).add_(gradient)
        anchor -= self.outer_lr * (gradient + self.outer_momentum * velocity)
        mine.copy_(anchor)
