"""Collective operations in simulation: all workers arrive, the mean is formed once, its time follows the ring."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from manyhands.clusters import collectives
from manyhands.clusters.node import Node
from manyhands.clusters.simulated.clock import EventQueue
from manyhands.clusters.simulated.devices import DeviceProfile
from manyhands.clusters.simulated.network import Network
from manyhands.training.sampler import Batch


@dataclass(frozen=True, eq=False, kw_only=True)
class Arrival:
    """A worker that has come to a collective operation, with the tensor that it brings."""

    node: Node
    ready: int
    """when its own computation, if any, is done (ns)"""
    tensor: Tensor | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class ComputingArrival(Arrival):
    """A worker that is still computing the gradient that it brings, from which parts can go ahead."""

    duration: int
    """of its forward and backward pass (ns)"""
    batch: Batch
    result: "Future[tuple[Tensor, float]]"
    """the gradient and the loss"""


class Rendezvous:
    """The collective operation that the workers are gathering for. ``answer(rank, mean)`` concludes it for each.

    Workers must not change the mean: all are given the same tensor.
    """

    def __init__(
        self,
        workers: Sequence[int],
        network: Network,
        profile: DeviceProfile,
        buckets: Sequence[tuple[int, float]],
        queue: EventQueue,
        answer: Callable[[int, Tensor], None],
    ) -> None:
        self._workers, self._network, self._profile, self._buckets = workers, network, profile, buckets
        self._queue, self._answer = queue, answer
        self._arrivals: list[Arrival] = []
        self._ring_times: dict[int, int] = {}  # of an all-reduce among the workers, by bytes (ns)

    def arrive(self, arrival: Arrival) -> None:
        """The last worker to arrive sets the operation going."""
        self._arrivals.append(arrival)
        if len(self._arrivals) < len(self._workers):
            return
        arrivals, self._arrivals = sorted(self._arrivals, key=lambda arrival: arrival.node.rank), []
        last = max(arrival.ready for arrival in arrivals)
        transfers = self._transfers(arrivals, last)
        end, busy = self._ring(transfers, last)
        sent = round(collectives.ring_all_reduce_bytes(len(arrivals), sum(size for size, _ in transfers)))
        for arrival in arrivals:
            ledger = arrival.node.ledger
            ledger.waiting += last - arrival.ready
            ledger.exposed += end - last
            ledger.hidden += busy - (end - last)
            ledger.bytes_sent += sent
            ledger.bytes_received += sent
            ledger.messages_sent += 2 * (len(arrivals) - 1) * len(transfers)
        self._queue.push(end, partial(self._conclude, arrivals))

    def _transfers(self, arrivals: list[Arrival], last: int) -> list[tuple[int, int]]:
        """What travels: (bytes, time from which all workers have it), one bucket of a gradient after another."""
        computing = [arrival for arrival in arrivals if isinstance(arrival, ComputingArrival)]
        if computing:
            return [(size, max(self._ready(arrival, share) for arrival in computing)) for size, share in self._buckets]
        tensor = arrivals[0].tensor
        assert tensor is not None
        return [(tensor.nbytes, last)]

    def _ready(self, arrival: ComputingArrival, share: float) -> int:
        """When so much of a worker's backward pass is done (ns)."""
        backward = self._profile.backward_to_forward / (1 + self._profile.backward_to_forward)
        return arrival.ready - math.floor(arrival.duration * backward * (1 - share))

    def _ring(self, transfers: list[tuple[int, int]], last: int) -> tuple[int, int]:
        """Buckets go one after another, each as soon as all workers have it.

        s_b = max(r_b, e_{b-1}), e_b = s_b + T(M_b). Returns when the last has arrived, and how long the wire was busy.
        """
        end, busy = 0, 0
        for size, ready in transfers:
            if size not in self._ring_times:
                self._ring_times[size] = collectives.ring_all_reduce_ns(self._network, self._workers, size)
            end = max(ready, end) + self._ring_times[size]
            busy += self._ring_times[size]
        return max(end, last), busy

    def _conclude(self, arrivals: list[Arrival]) -> None:
        result = mean([_brought(arrival) for arrival in arrivals])
        for arrival in arrivals:
            self._answer(arrival.node.rank, result)


def _brought(arrival: Arrival) -> Tensor:
    if isinstance(arrival, ComputingArrival):
        gradient, loss = arrival.result.result()
        arrival.node.record(loss, len(arrival.batch), arrival.batch.number)
        return gradient
    assert arrival.tensor is not None
    return arrival.tensor


def mean(tensors: Sequence[Tensor]) -> Tensor:
    """The mean, summed in the order given."""
    total = torch.clone(tensors[0])
    for tensor in tensors[1:]:
        total += tensor
    return total.div_(len(tensors))
