"""What methods have in common that leave a part of the weights with each client."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.errors import UserError
from manyhands.strategies.federated import Federated, Tensors

if TYPE_CHECKING:
    from torch import Tensor

    from manyhands.clusters.layout import Layout, Ranges
    from manyhands.clusters.node import Node


@dataclass(frozen=True, kw_only=True)
class Personal(Federated):
    """Federated averaging of the weights but for some layers, of which every client has its own and sends nothing.

    Where there are no such layers it is federated averaging; where there are no others, each client trains by itself.
    The server's own numbers for these layers stay as they began.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.compression.whole:
            raise UserError(f"{self.compression} compresses whole layers, which {self.name} does not send: use another")

    def own(self, layout: "Layout") -> "Ranges":
        """Where in the weights the numbers stand that stay with the clients."""
        raise NotImplementedError

    def shared(self, layout: "Layout") -> "Ranges":
        """Where those stand that are sent and averaged."""
        return layout.others(self.own(layout))

    def personal(self, layout: "Layout") -> "Tensor | None":
        own = self.own(layout)
        return layout.mask(own) if own else None

    def quantities(self, layout: "Layout", workers: int, steps: int) -> dict[str, float]:
        own = 4.0 * sum(map(len, self.own(layout)))
        return super().quantities(layout, workers, steps) | {"H": own}

    def outgoing(self, node: "Node") -> Tensors:
        return (node.layout.take(node.weights, self.shared(node.layout)),)

    async def client(self, node: "Node", received: Tensors) -> Tensors:
        (weights,), layout = received, node.layout
        own, shared = self.own(layout), self.shared(layout)
        personal = node.kept("personal", layout.take(node.initial_weights, own))
        layout.put(node.weights, shared, weights)
        layout.put(node.weights, own, personal)
        if not await node.train(self.batches(node)):
            return ()
        personal.copy_(layout.take(node.weights, own))
        return (layout.take(node.weights, shared) - weights,)

    def reply_sizes(self, node: "Node") -> tuple[int, ...]:
        return (sum(map(len, self.shared(node.layout))),)

    def update(self, node: "Node", mean: Tensors, clients: Sequence[int]) -> None:
        shared = self.shared(node.layout)
        node.layout.put(node.weights, shared, node.layout.take(node.weights, shared) + mean[0])
