"""Workers that talk through channels in memory, in any order of scheduling, with no cluster around them."""

import random
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from torch import Tensor

from manyhands.clusters.effects import Effect, Message, Receive, Send
from manyhands.runs.ledger import Ledger


@dataclass(eq=False)
class Peer:
    """What a coroutine sees of its node: as much of ``Node`` as it takes to talk."""

    rank: int
    workers: range
    layout: Any = field(default_factory=lambda: SimpleNamespace(shapes=()))
    vector_bytes: int = 0
    progress: float = 0.0
    ledger: Ledger = field(default_factory=Ledger)

    async def send(self, to: int, *tensors: Tensor, tag: int = 0) -> None:
        await Send(to, tensors, tag)

    async def receive(self, source: int) -> Message:
        message = await Receive(source)
        assert message is not None
        return message


Talk = Callable[[Any], Coroutine[Effect[Any], Any, Any]]


def meet(talk: Talk, peers: list[Peer], order: int = 0) -> list[Any]:
    """What each worker's coroutine returns, where the one to go on is picked at random; messages are copied.

    Fails if all that are left wait for messages, or if a message is left over.
    """
    pick = random.Random(order)
    channels: defaultdict[tuple[int, int], deque[tuple[Tensor, ...]]] = defaultdict(deque)
    running = {peer.rank: talk(peer) for peer in peers}
    try:
        answers = _run(running, peers, pick, channels)
    finally:
        for left in running.values():
            left.close()
    assert not any(channels.values()), "messages that nobody received"
    return [answers[peer.rank] for peer in peers]


def _run(
    running: dict[int, Coroutine[Effect[Any], Any, Any]],
    peers: list[Peer],
    pick: random.Random,
    channels: dict[tuple[int, int], deque[tuple[Tensor, ...]]],
) -> dict[int, Any]:
    waiting: dict[int, int] = {}
    answers: dict[int, Any] = {}
    while running:
        ready = [rank for rank in running if rank not in waiting or channels[waiting[rank], rank]]
        assert ready, f"deadlock: {waiting}"
        rank = pick.choice(ready)
        source, reply = waiting.pop(rank, None), None
        if source is not None:
            reply = Message(source, channels[source, rank].popleft())
            peers[rank].ledger.note_received(sum(tensor.nbytes for tensor in reply.tensors))
        try:
            effect = running[rank].send(reply)
        except StopIteration as end:
            answers[rank] = end.value
            del running[rank]
            continue
        if isinstance(effect, Send):
            assert effect.to != rank
            channels[rank, effect.to].append(tuple(tensor.clone() for tensor in effect.tensors))
            peers[rank].ledger.note_sent(sum(tensor.nbytes for tensor in effect.tensors), effect.to)
        else:
            assert isinstance(effect, Receive)
            assert effect.source is not None
            waiting[rank] = effect.source
    return answers


def crowd(workers: int) -> list[Peer]:
    return [Peer(rank, range(workers)) for rank in range(workers)]
