"""What all federated methods have in common: rounds in which a cohort trains on its own data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.errors import UserError
from manyhands.strategies.base import positive
from manyhands.strategies.replies import Replies, Tensors

if TYPE_CHECKING:
    from torch import Tensor

    from manyhands.clusters.node import Node
    from manyhands.training.sampler import Batch

__all__ = ["Federated", "Tensors"]


@dataclass(frozen=True, kw_only=True)
class Federated(Replies):
    """Each round the server hands its weights to a cohort of clients, and makes of their replies the next ones.

    A method says what the server hands out (`outgoing`), what a client makes of it (`client`), and what the server
    does with the mean of the replies (`update`). How clients are chosen, how long they are waited for, what is done
    to their replies on the way and how these become one is the same for all methods, and stands here.
    """

    local_epochs: int = 1
    """passes of a client over its own samples in a round (E in McMahan et al. 2017)"""
    local_steps: int = 0
    """steps of a client in a round, in place of whole passes; needs --rounds; 0: passes"""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self.name, "local_epochs", self.local_epochs)
        if self.local_steps < 0:
            raise UserError(f"--strategy.local-steps of {self.name} must be zero or more, not {self.local_steps}")

    def epochs_per_round(self) -> float:
        return self.fraction * self.local_epochs

    def rounds(self, epochs: int) -> int:
        if self.local_steps:
            raise UserError(
                f"{self.name} with --strategy.local-steps needs --rounds: how many epochs so many steps are depends on "
                "how many samples each client holds"
            )
        return super().rounds(epochs)

    # ---- what a method is made of

    def outgoing(self, node: "Node") -> Tensors:
        """What the server hands to each client of a round."""
        return (node.weights,)

    async def client(self, node: "Node", received: Tensors) -> Tensors:
        """What a client answers: float vectors, of which the server sees the mean over the cohort; none if halted."""
        raise NotImplementedError

    def update(self, node: "Node", mean: Tensors, clients: Sequence[int]) -> None:
        """What the server does with the mean of the replies, which came from these clients."""
        raise NotImplementedError

    def batches(self, node: "Node") -> "list[Batch]":
        """What a client trains on in a round."""
        return node.local_batches(self.local_epochs, self.local_steps)

    def move(self, node: "Node", change: "Tensor", length: float = 1.0) -> None:
        """Change the server's parameters by so many times ``change`` [P], and batch statistics by ``change`` itself."""
        size = node.layout.parameters
        node.parameters.add_(change[:size], alpha=length)
        node.buffers.add_(change[size:])

    @staticmethod
    def mend(node: "Node") -> None:
        """Set variances of batch norm to zero that attackers or noise have made negative: these have no root."""
        for part in node.layout.variances:
            node.weights[part.start : part.stop].clamp_(min=0)

    # ---- a round

    async def server(self, node: "Node") -> None:
        async for number in node.rounds():
            cohort, due = await self.choose(node, number)
            await node.broadcast(cohort, *self.outgoing(node), *self.announced(node, cohort, number), tag=number)
            replies = await self.collect(node, cohort, number, due)
            if self.enough(len(replies), len(cohort)):
                self.update(node, self.combine(node, replies), [reply.source for reply in replies])
                self.mend(node)
            else:
                node.count(skipped=1)
            del replies

    async def worker(self, node: "Node") -> None:
        async for message in node.incoming(node.server):
            if self.hurries:
                node.job = message.tag
            received, masks = self.opened(node, message)
            reply = () if node.drops_out(message.tag) else await self.client(node, received)
            await node.send(node.server, *(self.packed(node, reply, masks) if reply else ()), tag=message.tag)
            node.forget(message.tag + 1 if reply and not self.asynchronous else None)
            del message, received, masks, reply  # clients who wait hold nothing, however many there are
