from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.strategies.base import positive, register
from manyhands.strategies.federated import Federated, Tensors

if TYPE_CHECKING:
    from torch import Tensor

    from manyhands.clusters.node import Node


@register("feddyn")
@dataclass(frozen=True, kw_only=True)
class FedDyn(Federated):
    """Each client's objective is bent, round by round, until all have their minimum where the mean objective has its.

    A client minimises F_i(w) − ⟨g_i, w⟩ + alpha/2 · ‖w − w_t‖², where g_i is what it remembers of its gradient, and
    takes alpha times how far it went from its memory. The server remembers h, the mean of all memories, and goes
    h / alpha further back than the mean of the cohort. Memories g_i of those who sit out a round stand still. No alpha
    makes it federated averaging; with all clients, one full-batch step each and alpha = 1 / (2 lr) it is SGD with 2 lr.
    """

    alpha: float = 0.01
    """strength of the regulariser (α in the paper, which tries 0.001 to 0.1)"""

    paper = "Acar et al. 2021, Federated Learning Based on Dynamic Regularization"
    url = "https://arxiv.org/abs/2111.04263"
    sends = "C · P a round; server: n · C · P a round"

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self.name, "alpha", self.alpha)

    def memory(self, node: "Node") -> "Tensor":
        """h at the server and g_i at a client, float32 [T]."""
        return node.kept("memory", node.weights.new_zeros(node.layout.parameters))

    async def client(self, node: "Node", received: Tensors) -> Tensors:
        (weights,), size = received, node.layout.parameters
        memory = self.memory(node)
        node.weights = weights
        if not await node.train(self.batches(node), pull=self.alpha, anchor=weights[:size], offset=-memory):
            return ()
        change = node.weights - weights
        memory.sub_(change[:size], alpha=self.alpha)
        return (change,)

    def update(self, node: "Node", mean: Tensors, clients: Sequence[int]) -> None:
        memory, size = self.memory(node), node.layout.parameters
        memory.sub_(mean[0][:size], alpha=self.alpha * self.share(node, clients))
        self.move(node, mean[0])
        node.parameters.sub_(memory, alpha=1 / self.alpha)
