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
from manyhands.clusters.simulated.devices import DeviceProfile
from manyhands.clusters.simulated.network import Network
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


class _Parcel(NamedTuple):
    """A vector, or a bucket of a gradient, that a collective operation averages."""

    numbers: int
    ready: int
    """the time from which all workers have it (ns)"""


class _Share(NamedTuple):
    """What a worker sends and receives in an operation."""

    bytes_sent: int
    bytes_received: int
    messages_sent: int


class Rendezvous:
    """The collective operation that the workers are gathering for. ``answer(rank, mean)`` concludes it for each.

    Workers must not change the mean: all are given the same tensor.
    """

    def __init__(
        self,
        workers: range,
        network: Network,
        profile: DeviceProfile,
        buckets: Sequence[tuple[int, float]],
        queue: EventQueue,
        answer: Callable[[int, Tensor], None],
    ) -> None:
        self._workers, self._network, self._profile, self._buckets = workers, network, profile, buckets
        self._queue, self._answer = queue, answer
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
        end, busy = self._schedule(parcels, [self._time(collective, parcel.numbers, itemsize) for parcel in parcels])
        end = max(end, last)
        shares = self._shares_of(collective, sum(parcel.numbers for parcel in parcels), itemsize, len(parcels))
        for arrival, share in zip(arrivals, shares, strict=True):
            ledger = arrival.node.ledger
            ledger.waiting += last - arrival.ready
            ledger.exposed += end - last
            ledger.hidden += busy - (end - last)
            ledger.bytes_sent += share.bytes_sent
            ledger.bytes_received += share.bytes_received
            ledger.messages_sent += share.messages_sent
        self._queue.push(end, self._conclude, arrivals)

    def _order(self, arrivals: list[Arrival], last: int) -> tuple[Collective, int, list[_Parcel]]:
        """How it is done, the bytes of a number, and what travels: of a gradient one bucket after another."""
        brings = arrivals[0].brings
        if isinstance(brings, AllReduce):
            tensor = brings.tensor
            return brings.collective, tensor.element_size(), [_Parcel(tensor.numel(), last)]
        parcels = [
            _Parcel(size // 4, max([self._ready(arrival, share) for arrival in arrivals]))
            for size, share in self._buckets
        ]
        return Native(), 4, parcels

    def _ready(self, arrival: Arrival, share: float) -> int:
        """When so much of a worker's backward pass is done (ns)."""
        duration = arrival.brings.duration if isinstance(arrival.brings, Computation) else 0
        backward = self._profile.backward_to_forward / (1 + self._profile.backward_to_forward)
        return arrival.ready - math.floor(duration * backward * (1 - share))

    @staticmethod
    def _schedule(parcels: list[_Parcel], times: list[int]) -> tuple[int, int]:
        """Buckets go one after another, each as soon as all workers have it.

        s_b = max(r_b, e_{b-1}), e_b = s_b + T(M_b). Returns when the last has arrived, and how long the wire was busy.
        """
        end = 0
        for parcel, time in zip(parcels, times, strict=True):
            end = max(parcel.ready, end) + time
        return end, sum(times)

    def _time(self, collective: Collective, numbers: int, itemsize: int) -> int:
        key = collective, numbers, itemsize
        if key not in self._times:
            self._times[key] = collective.time_ns(self._network, self._workers, numbers, itemsize)
        return self._times[key]

    def _shares_of(self, collective: Collective, numbers: int, itemsize: int, parcels: int) -> list[_Share]:
        """Of each worker, in the order of ranks."""
        key = collective, numbers, itemsize, parcels
        if key not in self._shares:
            workers = len(self._workers)
            self._shares[key] = [
                _Share(
                    collective.bytes_sent(rank, workers, numbers, itemsize),
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


def _rank(arrival: Arrival) -> int:
    return arrival.node.rank


def mean(tensors: Sequence[Tensor]) -> Tensor:
    """The mean, summed in the order given."""
    total = torch.clone(tensors[0])
    for tensor in tensors[1:]:
        total += tensor
    return total.div_(len(tensors))
