"""How long collectives take, against closed formulas, on networks where all workers are alike.

N workers with vectors of M bytes; α: latency from worker to worker; B: bytes a second in each direction of a worker's
interface, which flows share; n = log₂ N:

    ring               any N     2 (N − 1) (α + ⌈M / N⌉ / B)              ⌈⌉: the longest part, of whole numbers
    native             any N     2 (N − 1) (α + M / N / B)
    star               any N     2 α + 2 (N − 1) M / B                    N − 1 flows share one interface
    halving-doubling   N = 2ⁿ    2 n α + 2 (N − 1) / N · M / B            Σ M / 2ⁱ for i = 1 … n, there and back
    tree               N = 2ⁿ    2 n α + (n + n (n + 1) / 2) M / B        up n levels; down again n, n − 1, … 1 share

Where each pair of workers has a link of its own there is nothing to share: a star takes 2 (α + M / B), and a tree
2 n (α + M / B).

A step ends on a whole nanosecond. So times agree exactly where they are whole, and to 10⁻⁹ where steps take seconds.
"""

from collections.abc import Callable
from fractions import Fraction
from math import ceil
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from manyhands import lab
from manyhands.clusters.cluster import Simulated
from manyhands.clusters.collectives import Collective, HalvingDoubling, Native, Ring, Star, Tree
from manyhands.clusters.node import Node
from manyhands.clusters.simulated.network import Link, Network
from manyhands.runs.specification import Specification
from manyhands.strategies import Strategy
from manyhands.tasks.task import Samples, Task

everywhere_the_same = settings(derandomize=True, deadline=None)
Formula = Callable[[int, int, Fraction, Fraction], Fraction]
ITEMSIZE = 4
SHARING: dict[Collective, Formula] = {
    Ring(): lambda N, M, α, B: 2 * (N - 1) * (α + part(N, M) / B),
    Native(): lambda N, M, α, B: 2 * (N - 1) * (α + Fraction(M, N) / B),
    Star(): lambda N, M, α, B: 2 * α + 2 * (N - 1) * M / B if N > 1 else Fraction(0),
    HalvingDoubling(): lambda N, M, α, B: 2 * log(N) * α + Fraction(2 * (N - 1) * M, N) / B,
    Tree(): lambda N, M, α, B: 2 * log(N) * α + Fraction(log(N) * (log(N) + 3), 2) * M / B,
}
"""seconds"""
APART = SHARING | {
    Star(): lambda N, M, α, B: 2 * (α + M / B) if N > 1 else Fraction(0),
    Tree(): lambda N, M, α, B: 2 * log(N) * (α + M / B),
}
"""where each pair of workers has a link of its own"""


def having_formulas(workers: int) -> list[Collective]:
    return [*SHARING] if workers & (workers - 1) == 0 else [Ring(), Native(), Star()]


def part(workers: int, size: int) -> Fraction:
    return Fraction(ceil(Fraction(size, workers * ITEMSIZE)) * ITEMSIZE)


def log(workers: int) -> int:
    n = workers.bit_length() - 1
    assert workers == 2**n, "the formula is for powers of two"
    return n


def mesh(workers: int, bandwidth: float, latency: int) -> Network:
    """Each pair of workers has a link of its own, in each direction."""
    return Network(
        hosts=workers,
        links=(Link(bandwidth=bandwidth, latency=latency),) * workers**2,
        route=lambda source, destination: (source * workers + destination,),
    )


def check(
    network: Network,
    latency: int,
    bandwidth: int,
    numbers: int,
    table: dict[Collective, Formula] = SHARING,
) -> None:
    """All that have a formula for so many workers take its time: to 10⁻⁹, which below a second is exactly."""
    workers = network.hosts
    for collective in having_formulas(workers):
        seconds = table[collective](workers, numbers * ITEMSIZE, Fraction(latency, 10**9), Fraction(bandwidth))
        expected = seconds * 10**9
        time = collective.time_ns(network, range(workers), numbers, ITEMSIZE)
        assert abs(time - expected) <= expected / 10**9, collective


counts = st.one_of(st.sampled_from([1, 2, 4, 8, 16, 32, 64]), st.integers(1, 20))
latencies = st.one_of(st.just(0), st.integers(0, 10**7))


@everywhere_the_same
@given(counts, st.integers(0, 10**5), st.sampled_from([1, 2, 4, 5, 8, 10]), latencies)
def test_on_a_star_to_the_nanosecond(workers: int, each: int, pace: int, latency: int) -> None:
    """``each`` is a worker's share of the vector, ``pace`` the nanoseconds that a number takes."""
    bandwidth, rest = divmod(ITEMSIZE * 10**9, pace)
    assert not rest
    check(Network.star(workers, bandwidth, latency), latency, bandwidth, each * workers)


@everywhere_the_same
@given(counts, st.integers(10**6, 10**11), st.integers(2, 300), latencies)
def test_on_a_star_of_any_bandwidth(workers: int, bandwidth: int, seconds: int, latency: int) -> None:
    """``seconds``, or a little more, is what a worker's share of the vector takes."""
    each = seconds * ceil(bandwidth / ITEMSIZE)
    check(Network.star(workers, bandwidth, latency), latency, bandwidth, each * workers)


@everywhere_the_same
@given(counts, st.integers(10**6, 10**11), st.integers(2, 300), latencies)
def test_where_each_pair_has_a_link_of_its_own(workers: int, bandwidth: int, seconds: int, latency: int) -> None:
    each = seconds * ceil(bandwidth / ITEMSIZE)
    check(mesh(workers, bandwidth, latency), latency, bandwidth, each * workers, APART)


@everywhere_the_same
@given(counts, st.integers(10**6, 10**11), st.integers(2, 300), latencies)
def test_between_racks_of_one_host(workers: int, bandwidth: int, seconds: int, latency: int) -> None:
    """Three switches lie between any two."""
    each = seconds * ceil(bandwidth / ITEMSIZE)
    check(Network.two_level(workers, 1, bandwidth, bandwidth, latency), 3 * latency, bandwidth, each * workers)


@everywhere_the_same
@given(st.sampled_from([1, 2, 3, 4, 8]), st.sampled_from([1, 2, 4, 8]), st.integers(10**6, 10**11))
def test_in_racks_whose_uplinks_are_wide_enough(racks: int, hosts: int, bandwidth: int) -> None:
    """Where no uplink holds anything up, racks are as good as a star."""
    each = 2 * ceil(bandwidth / ITEMSIZE)
    check(Network.two_level(racks, hosts, bandwidth, hosts * bandwidth), 0, bandwidth, each * racks * hosts)


@everywhere_the_same
@given(st.integers(2, 24), st.integers(0, 10**6), latencies)
def test_a_ring_of_uneven_parts_goes_at_the_pace_of_the_longest(workers: int, numbers: int, latency: int) -> None:
    """Ten nanoseconds a number."""
    time = Ring().time_ns(Network.star(workers, 4e8, latency), range(workers), numbers)
    assert time == 2 * (workers - 1) * (latency + 10 * ceil(Fraction(numbers, workers)))


@everywhere_the_same
@given(st.integers(2, 40), st.integers(1, 10**9), st.integers(10**6, 10**11), latencies)
def test_a_step_of_the_native_one_ends_on_a_whole_nanosecond(
    workers: int, size: int, bandwidth: int, latency: int
) -> None:
    step = latency + ceil(Fraction(size * 10**9, workers * bandwidth))
    time = Native().time_ns(Network.star(workers, bandwidth, latency), range(workers), size, itemsize=1)
    assert time == 2 * (workers - 1) * step


# ---- on the simulated cluster, as it is used


SAMPLES = Samples(torch.zeros(24, 1), torch.zeros(24, dtype=torch.int64))
TASK = Task(model=lambda: nn.Linear(1, 2), train=SAMPLES, test=SAMPLES)


def meeting(workers: int, numbers: int, collective: Collective, cluster: Simulated) -> float:
    """The seconds that nodes take which do nothing but meet once."""

    class Meeting(Strategy):
        name = "meeting"

        async def worker(self, node: Node) -> None:
            async for _ in node.epochs():
                await node.all_reduce(torch.empty(numbers, device="meta"), collective)

    specification = Specification(strategy=Meeting(), workers=workers, cluster=cluster, epochs=1, batch_size=1)
    return lab.rehearse(specification, task=TASK).seconds


@pytest.mark.parametrize("mode", ["rounds", "messages"])
@pytest.mark.parametrize("workers", [2, 3, 4, 5, 8, 16])
def test_a_cluster_takes_the_time_of_the_formulas(workers: int, mode: Any) -> None:
    """A number a nanosecond."""
    numbers, cluster = 1001 * workers, Simulated(bandwidth="4GB/s", latency="7us", collectives=mode)
    for collective in having_formulas(workers):
        exact = SHARING[collective](workers, numbers * ITEMSIZE, Fraction(7, 10**6), Fraction(4 * 10**9))
        assert meeting(workers, numbers, collective, cluster) == pytest.approx(float(exact), rel=1e-9), collective


@everywhere_the_same
@given(
    st.sampled_from([Ring(), Tree(), HalvingDoubling(), Star()]),
    st.integers(1, 24),
    st.integers(0, 10**6),
    st.integers(10**6, 10**9),
    st.integers(1, 10**7),
)
def test_as_a_whole_or_by_messages_it_takes_the_same_time(
    collective: Collective, workers: int, numbers: int, bandwidth: int, latency: int
) -> None:
    """Also where there is no closed formula. Steps that are under way together may round apart."""
    rate, delay = f"{bandwidth}B/s", f"{latency}ns"
    whole, single = (
        meeting(workers, numbers, collective, Simulated(bandwidth=rate, latency=delay, collectives=mode))
        for mode in ("rounds", "messages")
    )
    assert whole == pytest.approx(single, rel=1e-9, abs=2 * workers * 1e-9)
