"""Collective operations in simulation, carried out as a whole: all workers arrive, the mean is formed once."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from manyhands.clusters.collectives import Collective, Native
from manyhands.clusters.effects import AllReduce
from manyhands.clusters.node import Node
from manyhands.clusters.simulated.clock import EventQueue
from manyhands.clusters.simulated.costs import Costs
from manyhands.clusters.simulated.devices import Devices
from manyhands.clusters.simulated.profile import DeviceProfile
from manyhands.training.sampler import Batch

T_co = TypeVar("T_co", covariant=True)


class Pending(Protocol, Generic[T_co]):
    """The result of a computation that has been started."""

    def result(self) -> T_co: ...


@dataclass(eq=False, slots=True)
class Computation:
    """A gradient that is still being computed, from which parts can go ahead."""

    batch: Batch
    duration: int
    """of the forward and backward pass (ns); of several micro-batches that of the last, behind which sums travel"""
    pending: Pending[tuple[Tensor, float | None]]
    """the gradient and the loss"""


@dataclass(eq=False, slots=True)
class Arrival:
    """A worker that has come to a collective operation."""

    node: Node
    ready: int
    """when its own computation, if any, is done (ns)"""
    brings: AllReduce | Computation

    def brought(self) -> Tensor:
        if isinstance(self.brings, AllReduce):
            return self.brings.tensor
        gradient, loss = self.brings.pending.result()
        if loss is not None:
            self.node.record(loss, len(self.brings.batch), self.brings.batch.number)
        return gradient


class Parcel(NamedTuple):
    """A vector, or a bucket of a gradient, that a collective operation averages."""

    numbers: int
    ready: int
    """the time from which all workers have it (ns)"""


class _Share(NamedTuple):
    """What a worker sends and receives in an operation."""

    to: dict[int, int]
    """bytes, by rank"""
    bytes_received: int
    messages: int
    """that it sends, and as many that it receives"""


class Rendezvous:
    """The collective operation that the workers are gathering for. ``answer(rank, mean)`` concludes it for each.

    Workers must not change the mean: all are given the same tensor.
    """

    def __init__(
        self,
        workers: range,
        costs: Costs,
        profile: DeviceProfile,
        devices: Devices,
        buckets: Sequence[tuple[int, float]],
        queue: EventQueue,
        answer: Callable[[int, Tensor], None],
    ) -> None:
        self._workers, self._costs, self._profile, self._buckets = workers, costs, profile, buckets
        self._devices, self._queue, self._answer = devices, queue, answer
        self._arrivals: list[Arrival] = []
        self._times: dict[tuple[Collective, int, int], int] = {}  # by numbers, and bytes of each (ns)
        self._shares: dict[tuple[Collective, int, int, int], list[_Share]] = {}  # and by messages in place of one

    def arrive(self, arrival: Arrival) -> None:
        """The last worker to arrive sets the operation going."""
        self._arrivals.append(arrival)
        if len(self._arrivals) < len(self._workers):
            return
        arrivals, self._arrivals = sorted(self._arrivals, key=_rank), []
        last = max([arrival.ready for arrival in arrivals])
        collective, itemsize, parcels = self._order(arrivals, last)
        times = [self._time(collective, parcel.numbers, itemsize) for parcel in parcels]
        spans = schedule(parcels, times, last, self._costs.backend.collective_slowdown)
        start, end = spans[-1]
        spans[-1] = start, self._processed(arrivals, collective, last, end)
        shares = self._shares_of(collective, sum(parcel.numbers for parcel in parcels), itemsize, len(parcels))
        for arrival, share in zip(arrivals, shares, strict=True):
            self._book(arrival, spans, last)
            arrival.node.ledger.note_collective(share.to, share.bytes_received, share.messages)
        self._queue.push(max(spans[-1][1], last), self._conclude, arrivals)

    def _processed(self, arrivals: list[Arrival], collective: Collective, last: int, end: int) -> int:
        """When it ends (ns) that takes the wire until ``end``: processors must do their part of what goes on after all
        are ready, and where one has used up its quota, all stand still."""
        work = self._costs.collective_ns(collective, len(arrivals))
        begun = max([self._devices.occupy([arrival.node.rank], work, arrival.ready) for arrival in arrivals])
        share = self._costs.backend.collective_share if isinstance(collective, Native) else 0.0
        ranks = [arrival.node.rank for arrival in arrivals]
        return self._devices.occupy(ranks, max(0, end - last), begun, share)

    @staticmethod
    def _book(arrival: Arrival, spans: Sequence[tuple[int, int]], last: int) -> None:
        """Of a worker: what travels before the last worker is ready is hidden, what travels after that is exposed."""
        node = arrival.node
        node.book("waiting", arrival.ready, last, "for all")
        for number, (start, end) in enumerate(spans):
            name = f"bucket {number}" if isinstance(arrival.brings, Computation) else "all-reduce"
            node.book("hidden", start, min(end, last), name)
            node.book("exposed", max(start, last), end, name)

    def _order(self, arrivals: list[Arrival], last: int) -> tuple[Collective, int, list[Parcel]]:
        """How it is done, the bytes of a number, and what travels: of a gradient one bucket after another."""
        brings = arrivals[0].brings
        if isinstance(brings, AllReduce):
            tensor = brings.tensor
            return brings.collective, tensor.element_size(), [Parcel(tensor.numel(), last)]
        parcels = [
            Parcel(size // 4, max([self._ready(arrival, share) for arrival in arrivals]))
            for size, share in self._buckets
        ]
        return Native(), 4, parcels

    def _ready(self, arrival: Arrival, share: float) -> int:
        """When so much of a worker's backward pass is done (ns)."""
        duration = arrival.brings.duration if isinstance(arrival.brings, Computation) else 0
        return arrival.ready - math.floor(duration * self._profile.backward_share * (1 - share))

    def _time(self, collective: Collective, numbers: int, itemsize: int) -> int:
        key = collective, numbers, itemsize
        if key not in self._times:
            network = self._costs.network_of(collective, len(self._workers))
            self._times[key] = collective.time_ns(network, self._workers, numbers, itemsize)
        return self._times[key]

    def _shares_of(self, collective: Collective, numbers: int, itemsize: int, parcels: int) -> list[_Share]:
        """Of each worker, in the order of ranks."""
        key = collective, numbers, itemsize, parcels
        if key not in self._shares:
            workers = len(self._workers)
            self._shares[key] = [
                _Share(
                    collective.bytes_to(rank, workers, numbers, itemsize),
                    collective.bytes_received(rank, workers, numbers, itemsize),
                    collective.messages_sent(rank, workers, numbers) * parcels,
                )
                for rank in self._workers
            ]
        return self._shares[key]

    def _conclude(self, arrivals: list[Arrival]) -> None:
        result = mean([arrival.brought() for arrival in arrivals])
        for arrival in arrivals:
            self._answer(arrival.node.rank, result)


def schedule(parcels: Sequence[Parcel], times: Sequence[int], last: int, slowdown: float) -> list[tuple[int, int]]:
    """When each bucket travels, from and to (ns): one after another, each as soon as all workers have it.

    s_b = max(r_b, e_{b-1}), e_b = s_b + T(M_b). Until the last worker is ready, at ``last``, all takes ``slowdown``
    times as long.
    """
    spans, end = [], 0
    for parcel, time in zip(parcels, times, strict=True):
        start = max(parcel.ready, end)
        behind = max(0, last - start)  # computing
        end = start + round(time * slowdown)
        if end > last:
            end = max(start, last) + time - round(behind / slowdown)
        spans.append((start, end))
    return spans


def _rank(arrival: Arrival) -> int:
    return arrival.node.rank


def mean(tensors: Sequence[Tensor]) -> Tensor:
    """The mean, summed in the order given."""
    total = torch.clone(tensors[0])
    for tensor in tensors[1:]:
        total += tensor
    return total.div_(len(tensors))
