"""What a node does with messages and with time."""

from collections.abc import Iterable, Sequence
from typing import overload

from torch import Tensor

from manyhands.clusters.effects import Halt, Message, Now, Poll, Receive, Send, Sleep
from manyhands.errors import RunError


class Talking:
    """The part of `manyhands.clusters.node.Node` that sends, receives and waits."""

    rank: int

    async def send(self, to: int, *tensors: Tensor, tag: int = 0) -> None:
        await Send(to, tensors, tag)

    async def receive(self, source: int | None) -> Message:
        """The next message from ``source``."""
        message = await Receive(source)
        if message is None:
            raise RunError(f"node {self.rank} waits for a message that will not come: the conductors have finished")
        return message

    @overload
    async def receive_any(self) -> Message: ...
    @overload
    async def receive_any(self, until: float | None) -> Message | None: ...
    async def receive_any(self, until: float | None = None) -> Message | None:
        """The next message from anybody; None if none has come until a time, in seconds on the cluster's clock.

        In time is what has arrived whole; of clusters whose messages travel when they are asked for, as Gloo's do, what
        has been offered. Strategies that give a time must say that they poll.
        """
        return await self.receive(None) if until is None else await Receive(None, until)

    async def poll(self) -> Message | None:
        """The next message from anybody if one is there already."""
        return await Poll()

    async def broadcast(self, to: Iterable[int], *tensors: Tensor, tag: int = 0) -> None:
        """The same message to several nodes."""
        for rank in to:
            await self.send(rank, *tensors, tag=tag)

    async def gather(self, sources: Iterable[int]) -> list[Message]:
        """One message from each of the nodes, in the order given."""
        return [await self.receive(source) for source in sources]

    async def halt(self, ranks: Sequence[int], job: int) -> None:
        """Have nodes leave off the local steps of a job (``Node.job``) after the batch in progress; does not wait.

        Who has not begun them does not begin; messages under way are not cut. The word takes a latency and no bytes.
        """
        if ranks:
            await Halt(ranks, job)

    async def now(self) -> float:
        """What the cluster's clock shows, in seconds."""
        return await Now()

    async def sleep(self, seconds: float) -> None:
        """Wait so long, for nobody."""
        await Sleep(seconds)
