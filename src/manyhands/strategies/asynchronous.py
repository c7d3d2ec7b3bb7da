"""What methods have in common whose server takes a client's update when it comes, and waits for nobody."""

from bisect import insort
from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.errors import UserError
from manyhands.strategies.cohort import Uniform
from manyhands.strategies.fedavg import FedAvg
from manyhands.strategies.federated import Tensors
from manyhands.strategies.staleness import Polynomial, Staleness

if TYPE_CHECKING:
    from torch import Tensor

    from manyhands.clusters.node import Node


@dataclass(frozen=True, eq=False)
class Version:
    """The server's weights after so many updates of a round."""

    number: int
    weights: "Tensor"
    """float32 [P], a copy"""


@dataclass(frozen=True, eq=False)
class Arrival:
    """A client's reply."""

    client: int
    reply: Tensors
    start: Version
    """that which the client was handed"""
    staleness: int
    """how many updates the server has made since"""


@dataclass(frozen=True, kw_only=True)
class Asynchronous(FedAvg):
    """``fraction`` of the clients train at any time: when one replies, an idle one is started, drawn uniformly.

    A round is as many trainings as there are clients, whoever makes them. When so many have been begun the server waits
    for those under way, so that a round leaves nothing behind, and the first of a round are never stale. Clients do
    what they do in federated averaging.
    """

    staleness: Staleness = Polynomial()
    """how much less an update counts that was computed at old weights"""

    asynchronous = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hurries:
            raise UserError(
                f"{self.name} waits for nobody: leave out --strategy.deadline and --strategy.over-selection"
            )
        if self.cohort != Uniform():
            raise UserError(f"{self.name} starts clients one by one, uniformly: leave out --strategy.cohort")

    @property
    def synchronous(self) -> bool:
        return False

    def epochs_per_round(self) -> float:
        return self.local_epochs

    @property
    def replies_per_update(self) -> int:
        """How many replies the server waits for before it changes its weights."""
        raise NotImplementedError

    def merge(self, node: "Node", arrivals: list[Arrival]) -> None:
        """Change the server's weights by some replies, in the order of ranks; the last of a round may be fewer."""
        raise NotImplementedError

    async def server(self, node: "Node") -> None:
        async for number in node.rounds():
            await self.serve(node, number)

    async def serve(self, node: "Node", number: int) -> None:
        size, left = self.cohort_size(len(node.workers)), len(node.workers)
        idle, running = list(node.workers), dict[int, Version]()
        version, arrivals = Version(0, node.weights.clone()), list[Arrival]()
        while left or running:
            if left:
                starters = node.choose(idle, min(left, size - len(running)), "starters", number, left)
                left -= len(starters)
                for client in starters:
                    idle.remove(client)
                    running[client] = version
                await node.broadcast(starters, *self.outgoing(node), tag=number)
            message = await node.receive_any()
            start = running.pop(message.source)
            insort(idle, message.source)
            node.count(replies=bool(message.tensors), dropped=not message.tensors)
            if message.tensors:
                staleness = version.number - start.number
                node.ledger.note_staleness(staleness)
                arrivals.append(Arrival(message.source, self.unpacked(node, message), start, staleness))
            if arrivals and (len(arrivals) == self.replies_per_update or not (left or running)):
                self.merge(node, sorted(arrivals, key=lambda arrival: arrival.client))
                self.mend(node)
                version, arrivals = Version(version.number + 1, node.weights.clone()), []
