from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.errors import UserError
from manyhands.strategies.base import register
from manyhands.strategies.fedavg import FedAvg
from manyhands.strategies.federated import Tensors

if TYPE_CHECKING:
    from manyhands.clusters.node import Node


@register("fedprox")
@dataclass(frozen=True, kw_only=True)
class FedProx(FedAvg):
    """Federated averaging in which clients are pulled back to the weights that they were handed.

    A client minimises F(w) + mu/2 · ‖w − w_t‖²: half the *squared* distance, whose gradient mu · (w − w_t) goes into
    the optimiser with that of F. ``mu=0`` is federated averaging, and so is a single step, for which nothing pulls yet.
    """

    mu: float = 0.01
    """how strongly a client is pulled back (μ in the paper, which tries 0.001 to 1)"""

    paper = "Li et al. 2020, Federated Optimization in Heterogeneous Networks"
    url = "https://arxiv.org/abs/1812.06127"
    sends = "C · P a round; server: n · C · P a round"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.mu >= 0:
            raise UserError(f"--strategy.mu of {self.name} must be zero or more, not {self.mu}")

    async def client(self, node: "Node", received: Tensors) -> Tensors:
        (weights,) = received
        node.weights = weights
        done = await node.train(self.batches(node), pull=self.mu, anchor=weights[: node.layout.parameters])
        return (node.weights - weights,) if done else ()
