"""All-reduce written from send and receive: a ring, a tree, halving and doubling, a star; and what each costs.

N workers hold a vector of M numbers each; at the end all of them hold the mean, bit for bit the same. A message
costs a latency α, and β for each number; a worker's messages that are under way together share its link:

    ====================  ==================================  ==============================================
    collective            a worker sends at most              time, where N is a power of two
    ====================  ==================================  ==============================================
    ring                  2 (N - 1) / N · M                   2 (N - 1) · (α + M β / N)
    halving-doubling      2 (N - 1) / N · M                   2 log N · α + 2 (N - 1) / N · M β
    tree                  (worker 0) log N · M                2 log N · α + log N (log N + 3) / 2 · M β
    star                  (worker 0) (N - 1) · M              2 · α + 2 (N - 1) · M β
    ====================  ==================================  ==============================================

The first two send the least possible (Patarasuk & Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of
workstations", https://doi.org/10.1016/j.jpdc.2008.09.002); the others do well with short vectors. A survey: Thakur,
Rabenseifner & Gropp 2005, "Optimization of collective communication operations in MPICH",
https://doi.org/10.1177/1094342005051521
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from manyhands.clusters.simulated.network import Network, round_ns
from manyhands.values import Family, Value

if TYPE_CHECKING:
    from torch import Tensor

    from manyhands.clusters.node import Node


class Traffic(NamedTuple):
    """What one worker sends and receives."""

    to: Mapping[int, float]
    """numbers sent to each other worker, by rank"""
    numbers_received: float
    messages_sent: int

    @property
    def numbers_sent(self) -> float:
        return sum(self.to.values())


@dataclass(frozen=True)
class Collective(Value):
    """A way to form the mean over all workers.

    Sums are formed in the vector's own type. The vector may have any length, also less than N. Summing is not put on
    the clock: it is quick beside the network. Costs are found by trying it out with a vector of which there is
    nothing but the length; rings of many workers, whose messages are too many for that, know formulas.
    """

    async def mean(self, node: "Node", vector: "Tensor") -> "Tensor":
        """The mean of the workers' vectors, contiguous and of one shape and type; the vector itself stays as it is."""
        raise NotImplementedError

    def time_ns(self, network: Network, hosts: Sequence[int], numbers: float, itemsize: int = 4) -> int:
        """Time (ns) of the mean of vectors of so many numbers, each of ``itemsize`` bytes, on an idle network.

        hosts[r] is where worker r runs. All begin at once; it ends when the last of them has the mean.
        """
        from manyhands.clusters.simulated.trial import attempt

        return attempt(self, network, hosts, int(numbers), itemsize)[0]

    def traffic(self, workers: int, numbers: float) -> list[Traffic]:
        """What each worker sends and receives, by rank: exact."""
        from manyhands.clusters.simulated.trial import attempt

        return attempt(self, Network.star(1, 1.0), [0] * workers, int(numbers))[1]

    def bytes_to(self, rank: int, workers: int, numbers: float, itemsize: int = 4) -> dict[int, int]:
        """What a worker sends to each other one, by rank."""
        return {to: round(sent * itemsize) for to, sent in _traffic(self, workers, numbers)[rank].to.items()}

    def bytes_sent(self, rank: int, workers: int, numbers: float, itemsize: int = 4) -> int:
        return sum(self.bytes_to(rank, workers, numbers, itemsize).values())

    def bytes_received(self, rank: int, workers: int, numbers: float, itemsize: int = 4) -> int:
        return round(_traffic(self, workers, numbers)[rank].numbers_received * itemsize)

    def messages_sent(self, rank: int, workers: int, numbers: float) -> int:
        return _traffic(self, workers, numbers)[rank].messages_sent


@lru_cache(maxsize=256)
def _traffic(collective: Collective, workers: int, numbers: float) -> list[Traffic]:
    return collective.traffic(workers, numbers)


COLLECTIVES: Family[Collective] = Family("collective", Collective)


@COLLECTIVES.register("native")
@dataclass(frozen=True)
class Native(Collective):
    """The backend's own, such as NCCL's or Gloo's: the cluster carries it out, and simulates and counts it as a ring
    whose parts are equal. It has no messages of its own."""

    def time_ns(self, network: Network, hosts: Sequence[int], numbers: float, itemsize: int = 4) -> int:
        return _ring_ns(network, hosts, numbers / len(hosts) * itemsize)

    def traffic(self, workers: int, numbers: float) -> list[Traffic]:
        sent = 2 * (workers - 1) * numbers / workers
        return [Traffic({(rank + 1) % workers: sent}, sent, 2 * (workers - 1)) for rank in range(workers)]


@COLLECTIVES.register("ring")
@dataclass(frozen=True)
class Ring(Collective):
    """The vector is cut into N parts that go round, one step behind each other, to the next worker.

    In N - 1 steps each part gathers the sum of all (reduce-scatter); in N - 1 more it is brought to all (all-gather).
    """

    async def mean(self, node: "Node", vector: "Tensor") -> "Tensor":
        rank, workers = node.rank, len(node.workers)
        left, right = (rank - 1) % workers, (rank + 1) % workers
        total = vector.clone()
        parts = total.view(-1).tensor_split(workers)
        for step in range(workers - 1):
            await node.send(right, parts[(rank - step) % workers])
            (part,) = await node.receive(left)
            parts[(rank - step - 1) % workers].add_(part)
        parts[right].div_(workers)  # the one that is whole now, here
        for step in range(workers - 1):
            await node.send(right, parts[(right - step) % workers])
            (part,) = await node.receive(left)
            parts[(rank - step) % workers].copy_(part)
        return total

    def time_ns(self, network: Network, hosts: Sequence[int], numbers: float, itemsize: int = 4) -> int:
        """Each step takes as long as the longest part does, which is under way somewhere in all of them."""
        return _ring_ns(network, hosts, ceil(numbers / len(hosts)) * itemsize)

    def traffic(self, workers: int, numbers: float) -> list[Traffic]:
        """Each phase sends every part but one: of worker r first the part r + 1, then r + 2."""
        each, longer = divmod(numbers, workers)
        size = [each + (part < longer) for part in range(workers)]
        sent = [2 * numbers - size[(rank + 1) % workers] - size[(rank + 2) % workers] for rank in range(workers)]
        return [
            Traffic({(rank + 1) % workers: sent[rank]}, sent[rank - 1], 2 * (workers - 1)) for rank in range(workers)
        ]


@COLLECTIVES.register("tree")
@dataclass(frozen=True)
class Tree(Collective):
    """A binomial tree: sums go up to worker 0, the mean comes down.

    A worker's parent is its rank without the lowest bit that is set: 6 = 110 reports to 4 = 100, and 4 to 0.
    """

    async def mean(self, node: "Node", vector: "Tensor") -> "Tensor":
        children = self.children(node.rank, len(node.workers))
        mean = vector.clone()
        for child in children:
            (part,) = await node.receive(child)
            mean += part
        if node.rank == 0:
            mean /= len(node.workers)
        else:
            await node.send(self.parent(node.rank), mean)
            (mean,) = await node.receive(self.parent(node.rank))
        for child in reversed(children):  # who has most to pass on comes first
            await node.send(child, mean)
        return mean

    @staticmethod
    def parent(rank: int) -> int:
        return rank & (rank - 1)

    @staticmethod
    def children(rank: int, workers: int) -> list[int]:
        """1, 2, 4, … ranks on, less than the worker's own lowest bit: the nearest, with the smallest trees, first."""
        limit = (rank & -rank) or workers
        hops = [1 << power for power in range((limit - 1).bit_length())]
        return [rank + hop for hop in hops if rank + hop < workers]


@COLLECTIVES.register("halving-doubling")
@dataclass(frozen=True)
class HalvingDoubling(Collective):
    """Recursive halving, then doubling: pairs of workers split what they sum, then hand each other the results.

    Partners are N/2 ranks apart at first, then N/4, …, 1, and what is exchanged halves each time; then all this goes
    backwards. Of N that is no power of two, the workers beyond the largest one hand their vectors in at the beginning,
    and get the mean at the end.
    """

    async def mean(self, node: "Node", vector: "Tensor") -> "Tensor":
        rank, workers = node.rank, len(node.workers)
        core = self.core(workers)
        if rank >= core:
            await node.send(rank - core, vector)
            (mean,) = await node.receive(rank - core)
            return mean
        total = vector.clone()
        if rank + core < workers:
            (part,) = await node.receive(rank + core)
            total += part
        mine, halvings = total.view(-1), []
        for distance in self.distances(core):
            partner = rank ^ distance
            lower, upper = mine.tensor_split(2)
            mine, theirs = (lower, upper) if rank < partner else (upper, lower)
            await node.send(partner, theirs)
            (part,) = await node.receive(partner)
            mine.add_(part)
            halvings.append((partner, mine, theirs))
        mine.div_(workers)
        for partner, mine, theirs in reversed(halvings):
            await node.send(partner, mine)
            (part,) = await node.receive(partner)
            theirs.copy_(part)
        if rank + core < workers:
            await node.send(rank + core, total)
        return total

    @staticmethod
    def core(workers: int) -> int:
        """The largest power of two that is not more than N."""
        return 1 << (workers.bit_length() - 1)

    @staticmethod
    def distances(core: int) -> list[int]:
        """core / 2, core / 4, …, 1"""
        return [core >> power for power in range(1, core.bit_length())]


@COLLECTIVES.register("star")
@dataclass(frozen=True)
class Star(Collective):
    """Worker 0 gathers all vectors and sends the mean to all."""

    async def mean(self, node: "Node", vector: "Tensor") -> "Tensor":
        if node.rank != 0:
            await node.send(0, vector)
            (mean,) = await node.receive(0)
            return mean
        others = node.workers[1:]
        mean = vector.clone()
        for rank in others:
            (part,) = await node.receive(rank)
            mean += part
        mean /= len(node.workers)
        for rank in others:
            await node.send(rank, mean)
        return mean


def _ring_ns(network: Network, hosts: Sequence[int], part_bytes: float) -> int:
    """Time (ns) of the 2 (N - 1) steps of a ring. They are alike, so that one is solved and multiplied."""
    n = len(hosts)
    if n == 1:
        return 0
    return 2 * (n - 1) * round_ns(network, [(hosts[r], hosts[(r + 1) % n], part_bytes) for r in range(n)])


async def all_gather(node: "Node", tensor: "Tensor") -> "list[Tensor]":
    """The tensors of all workers, by rank: each goes once round the ring. They may be of any shape and type."""
    rank, workers = node.rank, len(node.workers)
    left, right = (rank - 1) % workers, (rank + 1) % workers
    tensors = [tensor] * workers
    for step in range(workers - 1):
        await node.send(right, tensors[(rank - step) % workers])
        (tensors[(rank - step - 1) % workers],) = await node.receive(left)
    return tensors
