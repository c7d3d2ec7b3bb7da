from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.strategies.base import dense_alone, register
from manyhands.strategies.neighbourhood import Neighbourhood

if TYPE_CHECKING:
    from manyhands.clusters.effects import Message
    from manyhands.clusters.node import Node

REQUEST, REPLY, GOODBYE = 1, 2, 3


@register("ad-psgd")
@dataclass(frozen=True, kw_only=True)
class AsynchronousGossip(Neighbourhood):
    """AD-PSGD: each worker steps at its own pace and averages with one neighbour at a time, picked at random.

    A worker asks a neighbour, and computes on until the answer comes; it answers between two gradients. Both then
    move by the same difference, so that the sum of all weights is kept and nobody ever waits for a slow neighbour.
    The paper avoids deadlock by graphs of two sides; here no worker waits for one that waits, so any graph will do.
    Workers share an epoch's steps out among them, so that the fast take more.
    """

    paper = "Lian et al. 2018, Asynchronous Decentralized Parallel Stochastic Gradient Descent"
    url = "https://arxiv.org/abs/1710.06952"
    sends = "at most 2 · P a step"
    polls = True

    def __post_init__(self) -> None:
        dense_alone(self, "each message goes to another neighbour, so that none follows on the one before")

    @property
    def synchronous(self) -> bool:
        return False

    async def worker(self, node: "Node") -> None:
        async for epoch in node.epochs():
            await self.epoch(node, epoch)

    async def epoch(self, node: "Node", epoch: int) -> None:
        talk = Talk()
        while (number := await node.claim()) is not None:
            gradient = await node.gradient(node.next_batch())
            while (message := await node.poll()) is not None:
                await self.take(node, message, talk)
            neighbours = self.neighbours(node, epoch * node.steps_per_epoch + number // len(node.workers))
            if talk.asked is None and neighbours:
                (talk.asked,) = node.choose(neighbours, 1, "neighbour", node.rank, epoch, number)
                await node.send(talk.asked, node.encode(node.weights), tag=REQUEST)
            node.step(gradient)
        while talk.asked is not None:  # all steps are taken
            await self.take(node, await node.receive_any(), talk)
        await self.farewell(node, talk)

    async def farewell(self, node: "Node", talk: "Talk") -> None:
        """Answer the others until all have told the first worker that they ask no more, and it has told all."""
        first, *others = node.workers
        if node.rank != first:
            await node.send(first, tag=GOODBYE)
        while talk.farewells < (len(others) if node.rank == first else 1):
            await self.take(node, await node.receive_any(), talk)
        if node.rank == first:
            await node.broadcast(others, tag=GOODBYE)

    def neighbours(self, node: "Node", step: int) -> list[int]:
        return self.topology.neighbours(node.rank, len(node.workers), step)

    async def take(self, node: "Node", message: "Message", talk: "Talk") -> None:
        """Answer a request, or take up the answer to one."""
        if message.tag == GOODBYE:
            talk.farewells += 1
            return
        theirs = node.decompress(message.tensors[0], len(node.weights))
        if message.tag == REPLY:
            node.weights -= theirs
            talk.asked = None
            return
        payload = node.encode((theirs - node.weights) / 2)
        node.weights += node.decompress(payload, len(node.weights))
        await node.send(message.source, payload, tag=REPLY)


@dataclass
class Talk:
    """What a worker knows of its exchanges in an epoch."""

    asked: int | None = None
    """the neighbour whose answer is still to come"""
    farewells: int = 0
    """how many others have said goodbye"""
