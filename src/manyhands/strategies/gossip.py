from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.compression import Uncompressed
from manyhands.errors import UserError
from manyhands.strategies.base import register
from manyhands.strategies.neighbourhood import Neighbourhood

if TYPE_CHECKING:
    from torch import Tensor

    from manyhands.clusters.node import Node


@register("gossip")
@dataclass(frozen=True, kw_only=True)
class Gossip(Neighbourhood):
    """D-PSGD: after each local step every worker averages its weights with those of its neighbours alone.

    On the complete graph this averages the weights of all after each step. Compressed, it is CHOCO-SGD (Koloskova et
    al. 2019, https://arxiv.org/abs/1902.00340): neighbours keep an estimate of each other, and send what changes it.
    """

    consensus_step: float = 1.0
    """how far to go towards the neighbours' mean; below 1 where compression is strong (γ in CHOCO-SGD)"""

    paper = "Lian et al. 2017, Can Decentralized Algorithms Outperform Centralized Algorithms?"
    url = "https://arxiv.org/abs/1705.09056"
    sends = "d · P a step"

    def __post_init__(self) -> None:
        if not 0 < self.consensus_step <= 1:
            raise UserError(f"--strategy.consensus-step must lie in (0, 1], not {self.consensus_step}")

    def check(self, workers: int) -> None:
        super().check(workers)
        if not self.topology.balanced(workers):
            raise UserError(
                f"over {self.topology.label} some workers are heard more than others, which gossip would not notice: "
                "use push-sum"
            )
        if not isinstance(self.compression, Uncompressed) and self.topology.period(workers) > 1:
            raise UserError(
                f"gossip cannot compress over {self.topology}: neighbours that change keep no estimate of each other; "
                "use a topology that stays"
            )

    async def worker(self, node: "Node") -> None:
        async for batch in node.batches():
            gradient = await node.gradient(batch)
            node.step(gradient)
            node.weights = await self.mix(node, batch.step)

    async def mix(self, node: "Node", step: int) -> "Tensor":
        """The weights, moved towards the neighbours' mean by the row of the mixing matrix."""
        mixing = self.topology.mixing(node.rank, len(node.workers), step)
        if isinstance(self.compression, Uncompressed):
            mean = await node.mix(mixing, to=self.topology.neighbours(node.rank, len(node.workers), step))
        else:
            mean = await self.mix_estimates(node, mixing)
        return mean if self.consensus_step == 1 else node.weights.lerp(mean, self.consensus_step)

    async def mix_estimates(self, node: "Node", mixing: dict[int, float]) -> "Tensor":
        """The weights moved by what the neighbours are estimated to differ: x + Σⱼ wⱼ·(x̂ⱼ - x̂)."""
        estimates = {rank: node.kept(f"estimate-{rank}") for rank in mixing}
        sent = node.kept("sent")
        payload = node.compress(node.weights - sent)
        sent.copy_(node.weights)
        others = [rank for rank in mixing if rank != node.rank]
        await node.broadcast(others, payload)
        payloads = {message.source: message.tensors[0] for message in await node.gather(others)}
        for rank, estimate in estimates.items():
            estimate += node.decompress(payloads.get(rank, payload), len(estimate))
        mean = node.average(list(estimates.values()), list(mixing.values()))
        return node.weights + (mean - estimates[node.rank])
