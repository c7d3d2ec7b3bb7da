"""A collective operation tried out on its own, with a vector of which there is nothing but the length.

So what it costs is found by the code that is really used.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Coroutine, Generator, Sequence
from typing import Any

import torch
from torch import Tensor

from manyhands.clusters.collectives import Collective, Traffic
from manyhands.clusters.simulated.clock import Clock, EventQueue
from manyhands.clusters.simulated.network import Flows, Network


def attempt(
    collective: Collective, network: Network, hosts: Sequence[int], numbers: int, itemsize: int = 4
) -> tuple[int, list[Traffic]]:
    """Time (ns) from a common start until the last worker has the mean, and what each of them sent, by rank.

    The network is otherwise idle; hosts[r] is where worker r runs.
    """
    trial = _Trial(network, hosts, itemsize)
    vector = torch.empty(numbers, device="meta")
    for peer in trial.peers:
        peer.talk = collective.mean(peer, vector)  # type: ignore[arg-type]
    for peer in trial.peers:
        peer.go_on()
    trial.queue.run(trial.clock)
    assert all(peer.done for peer in trial.peers), f"{collective} waits for messages that nobody sends"
    return trial.clock.now, [Traffic(peer.sent, peer.received, peer.messages) for peer in trial.peers]


class _Pause:
    """Awaited until the next message has come."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class _Peer:
    """As much of a node as a collective needs."""

    talk: Coroutine[Any, Any, Tensor]

    def __init__(self, trial: "_Trial", rank: int, workers: range) -> None:
        self.rank, self.workers, self._trial = rank, workers, trial
        self.inbox: defaultdict[int, deque[Tensor]] = defaultdict(deque)
        self.sent: Counter[int] = Counter()
        """numbers, by the rank to which they went"""
        self.received = self.messages = 0
        self.done = False

    async def send(self, to: int, tensor: Tensor) -> None:
        self.sent[to] += tensor.numel()
        self.messages += 1
        self._trial.post(self.rank, to, tensor)

    async def receive(self, source: int) -> tuple[Tensor]:
        while not self.inbox[source]:
            await _Pause()
        return (self.inbox[source].popleft(),)

    def go_on(self) -> None:
        try:
            self.talk.send(None)
        except StopIteration:
            self.done = True


class _Trial:
    """Workers and the network between them. Messages of one pair keep their order: one follows when another is there,
    as in the simulated cluster."""

    def __init__(self, network: Network, hosts: Sequence[int], itemsize: int) -> None:
        self.clock, self.queue = Clock(), EventQueue()
        self._flows = Flows(network, self.clock, self.queue)
        self._hosts, self._itemsize = hosts, itemsize
        self._channels: defaultdict[tuple[int, int], deque[Tensor]] = defaultdict(deque)
        self.peers = [_Peer(self, rank, range(len(hosts))) for rank in range(len(hosts))]

    def post(self, source: int, to: int, tensor: Tensor) -> None:
        channel = self._channels[source, to]
        channel.append(tensor)
        if len(channel) == 1:
            self._start(source, to)

    def _start(self, source: int, to: int) -> None:
        size = self._channels[source, to][0].numel() * self._itemsize
        self._flows.start(self._hosts[source], self._hosts[to], size, self._deliver, source, to)

    def _deliver(self, source: int, to: int) -> None:
        peer, channel = self.peers[to], self._channels[source, to]
        tensor = channel.popleft()
        if channel:
            self._start(source, to)
        peer.received += tensor.numel()
        peer.inbox[source].append(tensor)
        peer.go_on()
