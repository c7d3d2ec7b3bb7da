"""Messages between simulated nodes: from one node's send, over the network's flows, to another's receive."""

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from manyhands.clusters.node import Message, Node, Receive, Send, Tensors
from manyhands.clusters.simulated.clock import Clock
from manyhands.clusters.simulated.network import Flows


class _Posted(NamedTuple):
    """A message that has been handed to the network."""

    tensors: Tensors
    at: int
    """ns"""
    progress: float
    """the sender's at that time"""

    @property
    def size(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors)


class Messages:
    """All messages under way or not yet received. Those of one pair of nodes keep their order, as in a TCP stream.

    ``answer(rank, message)`` is called when a node that waits gets its message. A wait is booked as waiting until the
    message was sent, and as exposed communication from then on.
    """

    def __init__(
        self, nodes: Sequence[Node], clock: Clock, flows: Flows, answer: Callable[[int, Message], None]
    ) -> None:
        self._nodes, self._clock, self._flows, self._answer = nodes, clock, flows, answer
        self._channels: defaultdict[tuple[int, int], deque[_Posted]] = defaultdict(deque)
        self._inboxes: list[deque[tuple[int, _Posted]]] = [deque() for _ in nodes]
        self._waits: dict[int, tuple[Receive, int]] = {}

    def send(self, node: Node, effect: Send) -> None:
        """Hand a copy of the tensors to the network."""
        posted = _Posted(tuple(tensor.clone() for tensor in effect.tensors), self._clock.now, node.progress)
        node.ledger.bytes_sent += posted.size
        node.ledger.messages_sent += 1
        channel = self._channels[node.rank, effect.to]
        channel.append(posted)
        if len(channel) == 1:
            self._transmit(node.rank, effect.to)

    def receive(self, node: Node, effect: Receive) -> None:
        """Answer the node as soon as there is a message for it."""
        self._waits[node.rank] = (effect, self._clock.now)
        self._match(node.rank)

    @property
    def listeners(self) -> list[int]:
        """The nodes that wait for a message, in the order of ranks."""
        return sorted(self._waits)

    @property
    def unread(self) -> list[int]:
        """The nodes that have messages which they have not received."""
        return [rank for rank, inbox in enumerate(self._inboxes) if inbox]

    def awaited(self, rank: int) -> str:
        """From whom a listener waits for a message, in words."""
        source = self._waits[rank][0].source
        return "anybody" if source is None else f"node {source}"

    def book_waits(self) -> None:
        """Put waits that go on into the ledger now, as a run that is resumed here would begin them now."""
        for rank, (effect, since) in self._waits.items():
            self._nodes[rank].ledger.waiting += self._clock.now - since
            self._waits[rank] = (effect, self._clock.now)

    def _transmit(self, source: int, to: int) -> None:
        """Put the channel's first message on the wire; the next follows when it has arrived."""
        size = self._channels[source, to][0].size
        self._flows.start(source, to, size, partial(self._deliver, source, to))

    def _deliver(self, source: int, to: int) -> None:
        channel = self._channels[source, to]
        posted = channel.popleft()
        if channel:
            self._transmit(source, to)
        self._nodes[to].ledger.bytes_received += posted.size
        self._inboxes[to].append((source, posted))
        if to in self._waits:
            self._match(to)

    def _match(self, rank: int) -> None:
        effect, since = self._waits[rank]
        inbox = self._inboxes[rank]
        place = next((i for i, (source, _) in enumerate(inbox) if effect.source in (None, source)), None)
        if place is None:
            return
        source, posted = inbox[place]
        del inbox[place]
        del self._waits[rank]
        node = self._nodes[rank]
        node.ledger.waiting += max(0, posted.at - since)
        node.ledger.exposed += self._clock.now - max(since, posted.at)
        node.progress = max(node.progress, posted.progress)
        self._answer(rank, Message(source, posted.tensors))
