from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.strategies.base import positive, register
from manyhands.strategies.federated import Federated, Tensors

if TYPE_CHECKING:
    from torch import Tensor

    from manyhands.clusters.node import Node


@register("scaffold")
@dataclass(frozen=True, kw_only=True)
class Scaffold(Federated):
    """Clients correct their gradients by how their own data differ from everybody's.

    The server keeps a control variate c, each client i one of its own, c_i: guesses of the gradient over all data and
    over its own. Local steps go along g − c_i + c. The new c_i is the mean gradient of the local steps (option II of
    the paper's algorithm 1), read off from how far they went: (x − y_i) / (K · lr) after K plain steps; with momentum
    K is replaced by how far K steps of one gradient go (`manyhands.training.reach`), or the variates would grow without
    bound. While all variates are zero, which they are in the first round, it is federated averaging.
    """

    server_lr: float = 1.0
    """length of the server's step, in mean changes of the clients (η_g in the paper)"""

    paper = "Karimireddy et al. 2020, SCAFFOLD: Stochastic Controlled Averaging for Federated Learning"
    url = "https://arxiv.org/abs/1910.06378"
    sends = "C · (P + G) a round; server: n · C · (P + G) a round"

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self.name, "server_lr", self.server_lr)

    def variate(self, node: "Node") -> "Tensor":
        """c at the server and c_i at a client, float32 [T]."""
        return node.kept("variate", node.weights.new_zeros(node.layout.parameters))

    def outgoing(self, node: "Node") -> Tensors:
        return node.weights, self.variate(node)

    async def client(self, node: "Node", received: Tensors) -> Tensors:
        weights, theirs = received
        own, batches = self.variate(node), self.batches(node)
        node.weights = weights
        if not await node.train(batches, offset=theirs - own):
            return ()
        change, variate_change = node.weights - weights, own * 0
        if node.lr > 0:  # at the start of a warm-up nothing has moved
            corrected = change[: len(own)] / (-node.lr * node.reach(len(batches)))  # the mean of g − c_i + c
            variate_change = corrected - theirs
            own.add_(variate_change)
        return change, variate_change

    def reply_sizes(self, node: "Node") -> tuple[int, ...]:
        return len(node.weights), node.layout.parameters

    def update(self, node: "Node", mean: Tensors, clients: Sequence[int]) -> None:
        change, variate_change = mean
        self.move(node, change, self.server_lr)
        self.variate(node).add_(variate_change, alpha=self.share(node, clients))
