"""Messages between simulated nodes: from one node's send, over the network's flows, to another's receive."""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from manyhands.clusters.effects import Message, Send
from manyhands.clusters.node import Node
from manyhands.clusters.simulated.clock import Clock, EventQueue
from manyhands.clusters.simulated.network import Flows


class _Posted(NamedTuple):
    """A message that has been handed to the network."""

    message: Message
    size: int
    """bytes"""
    at: int
    """ns"""
    progress: float
    """the sender's at that time"""


class _Inbox:
    """What has arrived at a node and has not been received: taken from one sender or from any, first come first."""

    def __init__(self) -> None:
        self._arrived = 0
        self._pending: OrderedDict[int, _Posted] = OrderedDict()  # by the order of arrival
        self._by_source: defaultdict[int, deque[int]] = defaultdict(deque)

    def __len__(self) -> int:
        return len(self._pending)

    def put(self, posted: _Posted) -> None:
        self._pending[self._arrived] = posted
        self._by_source[posted.message.source].append(self._arrived)
        self._arrived += 1

    def take(self, source: int | None) -> _Posted | None:
        if source is None:
            if not self._pending:
                return None
            _, posted = self._pending.popitem(last=False)
            self._by_source[posted.message.source].popleft()
            return posted
        numbers = self._by_source.get(source)
        return self._pending.pop(numbers.popleft()) if numbers else None


class _Wait(NamedTuple):
    source: int | None
    since: int
    """ns"""


class Messages:
    """All messages under way or not yet received. Those of one pair of nodes keep their order, as in a TCP stream.

    They set out at once, and are kept where they arrive; with ``rendezvous``, they set out when their receiver asks for
    them. ``answer(rank, message)`` is called when a node that waits gets its message. A wait is booked as waiting until
    the message was sent, and as exposed communication from then on. ``busy_until(rank, since, until)``: when the
    processor of a node has done its part of a transfer that the wire makes from one time to the other (ns); for
    messages that are asked for.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        clock: Clock,
        queue: EventQueue,
        flows: Flows,
        answer: Callable[[int, Message], None],
        rendezvous: bool = False,
        busy_until: Callable[[int, int, int], int] = lambda rank, since, until: until,
    ) -> None:
        self._nodes, self._clock, self._queue, self._flows, self._answer = nodes, clock, queue, flows, answer
        self._rendezvous, self._busy_until = rendezvous, busy_until
        self._channels: dict[tuple[int, int], deque[_Posted]] = {}  # by source and destination, while in use
        self._inboxes = [_Inbox() for _ in nodes]
        self._waits: dict[int, _Wait] = {}
        self._sending = [0] * len(nodes)  # messages under way that were asked for

    def send(self, node: Node, effect: Send) -> None:
        """Hand a copy of the tensors to the network."""
        message = Message(node.rank, tuple([tensor.clone() for tensor in effect.tensors]), effect.tag)
        size = sum([tensor.nbytes for tensor in message.tensors])
        posted = _Posted(message, size, self._clock.now, node.progress)
        node.ledger.note_sent(size, effect.to)
        if self._rendezvous:
            self._offer(posted, effect.to)
            return
        channel = self._channels.get((node.rank, effect.to))
        if channel:
            channel.append(posted)
        else:
            self._channels[node.rank, effect.to] = deque([posted])
            self._flows.start(node.rank, effect.to, size, self._deliver, node.rank, effect.to)

    def receive(self, node: Node, source: int | None) -> Message | None:
        """A message that is there already; without one the node is answered as soon as it has come."""
        posted = self._inboxes[node.rank].take(source)
        if posted is None:
            self._waits[node.rank] = _Wait(source, self._clock.now)
            return None
        if self._rendezvous:
            self._fetch(posted, node.rank)
            return None
        return self._open(node, posted)

    def has_any(self, node: Node) -> bool:
        """Whether a message is there already, or offered, from anybody."""
        return bool(self._inboxes[node.rank])

    @property
    def listeners(self) -> list[int]:
        """The nodes that wait for a message, in the order of ranks."""
        return sorted(self._waits)

    @property
    def unread(self) -> list[int]:
        """The nodes that have messages which they have not received."""
        return [rank for rank, inbox in enumerate(self._inboxes) if inbox]

    def is_waiting(self, rank: int) -> bool:
        """Whether a node waits for a message that has not come, and is not being fetched."""
        return rank in self._waits

    def awaited(self, rank: int) -> str:
        """From whom a listener waits for a message, in words."""
        source = self._waits[rank].source
        return "anybody" if source is None else f"node {source}"

    def give_up(self, rank: int) -> None:
        """A listener waits no longer."""
        del self._waits[rank]

    def book_waits(self, ranks: Sequence[int] | None = None) -> None:
        """Put waits that go on into the ledger now, as a run that is resumed here would begin them now; of all nodes
        by default."""
        for rank in list(self._waits) if ranks is None else ranks:
            wait = self._waits[rank]
            self._nodes[rank].book(
                "waiting", wait.since, self._clock.now, "for anybody" if wait.source is None else f"for {wait.source}"
            )
            self._waits[rank] = _Wait(wait.source, self._clock.now)

    def _deliver(self, source: int, to: int) -> None:
        """The channel's first message has arrived; the next follows now."""
        channel = self._channels[source, to]
        posted = channel.popleft()
        if channel:
            self._flows.start(source, to, channel[0].size, self._deliver, source, to)
        else:
            del self._channels[source, to]
        node, wait = self._nodes[to], self._waits.get(to)
        node.ledger.note_received(posted.size)
        if wait is None or wait.source not in (None, source):
            self._inboxes[to].put(posted)
            return
        del self._waits[to]
        node.book("waiting", wait.since, posted.at, f"for {source}")
        node.book("exposed", max(wait.since, posted.at), self._clock.now, f"from {source}")
        self._answer(to, self._open(node, posted))

    def _offer(self, posted: _Posted, to: int) -> None:
        """Tell the receiver that there is a message, which it fetches when it wants it."""
        wait = self._waits.get(to)
        if wait is None or wait.source not in (None, posted.message.source):
            self._inboxes[to].put(posted)
            return
        del self._waits[to]
        self._nodes[to].book("waiting", wait.since, self._clock.now, f"for {posted.message.source}")
        self._fetch(posted, to)

    def is_sending(self, rank: int) -> bool:
        """Whether a message of the node is on its way to somebody who asked for it."""
        return self._sending[rank] > 0

    def _fetch(self, posted: _Posted, to: int) -> None:
        self._sending[posted.message.source] += 1
        self._flows.start(posted.message.source, to, posted.size, self._fetched, posted, to, self._clock.now)

    def _fetched(self, posted: _Posted, to: int, since: int) -> None:
        """The wire has done its part."""
        now = self._clock.now
        self._sending[posted.message.source] -= 1
        end = max([now, *[self._busy_until(rank, since, now) for rank in (posted.message.source, to)]])
        node = self._nodes[to]
        node.ledger.note_received(posted.size)
        node.book("exposed", since, end, f"from {posted.message.source}")
        if end > now:
            self._queue.push(end, self._hand_over, posted, to)
        else:
            self._hand_over(posted, to)

    def _hand_over(self, posted: _Posted, to: int) -> None:
        self._answer(to, self._open(self._nodes[to], posted))

    @staticmethod
    def _open(node: Node, posted: _Posted) -> Message:
        node.progress = max(node.progress, posted.progress)
        return posted.message
