from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.strategies.base import register
from manyhands.strategies.fedavg import FedAvg
from manyhands.strategies.federated import Tensors
from manyhands.strategies.server_optimizer import ServerAdam, ServerOptimizer

if TYPE_CHECKING:
    from manyhands.clusters.node import Node


@register("fedopt")
@dataclass(frozen=True, kw_only=True)
class FedOpt(FedAvg):
    """Federated averaging whose server takes the clients' mean change for a gradient, and steps by an optimiser.

    FedAvgM, FedAdagrad, FedAdam and FedYogi are ``server_optimizer`` sgd:momentum=0.9, adagrad, adam and yogi; sgd
    alone, with its learning rate of 1, is federated averaging. Batch statistics stay plain means.
    """

    server_optimizer: ServerOptimizer = ServerAdam()
    """how the server steps"""

    paper = "Reddi et al. 2021, Adaptive Federated Optimization"
    url = "https://arxiv.org/abs/2003.00295"
    sends = "C · P a round; server: n · C · P a round"

    def update(self, node: "Node", mean: Tensors, clients: Sequence[int]) -> None:
        (change,), size = mean, node.layout.parameters
        node.parameters.add_(self.server_optimizer.step(node, change[:size]))
        node.buffers.add_(change[size:])
