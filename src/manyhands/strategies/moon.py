from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.errors import UserError
from manyhands.strategies.base import positive, register
from manyhands.strategies.fedavg import FedAvg
from manyhands.strategies.federated import Tensors

if TYPE_CHECKING:
    from manyhands.clusters.layout import Layout
    from manyhands.clusters.node import Node


@register("moon")
@dataclass(frozen=True, kw_only=True)
class Moon(FedAvg):
    """Clients learn to see their samples as the server's model does, and not as their own last one did.

    A model-contrastive term is added to their loss (`manyhands.training.contrast`): representations, which are what the
    last linear layer is given, are drawn to those of the weights handed out and away from those of the client's weights
    at the end of its last round. Until it has one these are the weights that all began with. ``mu=0`` is federated
    averaging.
    """

    mu: float = 1.0
    """weight of the contrastive term (μ in the paper, which tries 0.1 to 10)"""
    temperature: float = 0.5
    """what similarities, the cosines of representations, are divided by (τ in the paper)"""

    paper = "Li, He & Song 2021, Model-Contrastive Federated Learning"
    url = "https://arxiv.org/abs/2103.16257"
    sends = "C · P a round; server: n · C · P a round"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.mu >= 0:
            raise UserError(f"--strategy.mu of {self.name} must be zero or more, not {self.mu}")
        positive(self.name, "temperature", self.temperature)

    def fit_layers(self, layout: "Layout") -> None:
        if not layout.linears:
            raise UserError(f"{self.name} compares what is given to the last linear layer: the model has none")

    async def client(self, node: "Node", received: Tensors) -> Tensors:
        (weights,) = received
        node.weights, previous = weights, node.kept("previous")
        contrast = (self.mu, self.temperature, weights, previous) if self.mu else None
        if not await node.train(self.batches(node), contrast=contrast):
            return ()
        previous.copy_(node.weights)
        return (node.weights - weights,)
