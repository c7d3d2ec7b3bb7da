from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.errors import UserError
from manyhands.strategies.base import register
from manyhands.strategies.federated import Federated, Tensors

if TYPE_CHECKING:
    from manyhands.clusters.node import Node


@register("fednova")
@dataclass(frozen=True, kw_only=True)
class FedNova(Federated):
    """Clients that take many steps weigh no more than others: what they changed is divided by how far they went.

    How far, ‖a_i‖₁, is the number of steps τ_i of plain SGD, and more with momentum (`manyhands.training.reach`). The
    server goes along the mean of d_i = Δ_i / ‖a_i‖₁, as far as the clients went on average: τ_eff = Σ p_i ‖a_i‖₁. Where
    all go equally far, which they do with ``local_steps`` or equal parts of the data, it is federated averaging, or
    FedProx with ``mu``. A single local epoch over unequal parts is the usual case in which they do not.
    """

    mu: float = 0.0
    """how strongly a client is pulled back to the weights that it was handed, as in FedProx"""

    paper = "Wang et al. 2020, Tackling the Objective Inconsistency Problem in Heterogeneous Federated Optimization"
    url = "https://arxiv.org/abs/2007.07481"
    sends = "C · (P + 4) a round; server: n · C · P a round"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.mu >= 0:
            raise UserError(f"--strategy.mu of {self.name} must be zero or more, not {self.mu}")

    def check(self, workers: int) -> None:
        super().check(workers)
        if self.privacy.private:
            raise UserError(
                f"{self.name} sends how far a client went beside its update, which --strategy.privacy would clip with "
                "it: use another strategy"
            )

    async def client(self, node: "Node", received: Tensors) -> Tensors:
        (weights,) = received
        node.weights, batches = weights, self.batches(node)
        if not await node.train(batches, pull=self.mu, anchor=weights[: node.layout.parameters]):
            return ()
        change, distance = node.weights - weights, node.reach(len(batches), self.mu)
        change[: node.layout.parameters] /= distance  # but not batch statistics
        return change, change.new_full((1,), distance)

    def reply_sizes(self, node: "Node") -> tuple[int, ...]:
        return len(node.weights), 1

    def update(self, node: "Node", mean: Tensors, clients: Sequence[int]) -> None:
        direction, distance = mean
        change = direction.clone()
        change[: node.layout.parameters] *= distance
        self.move(node, change)
