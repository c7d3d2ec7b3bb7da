from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from operator import attrgetter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Transfer, deliver, deliveries_on_whole_nanoseconds, fair_rates

from manyhands.clusters.simulated.clock import Clock, EventQueue
from manyhands.clusters.simulated.fairness import max_min_rates
from manyhands.clusters.simulated.network import Flows, Link, Network, round_ns
from manyhands.errors import UserError

same_200 = settings(derandomize=True, deadline=None, max_examples=200)


# --- random platforms ---------------------------------------------------------------------------------------

Routing = tuple[list[list[int]], list[int]]  # routes through links, and the links' capacities
Traffic = tuple[Network, list[Transfer]]

bandwidths = st.one_of(st.sampled_from([10**6, 125 * 10**6, 10**9]), st.integers(10**6, 10**10))
latencies = st.one_of(st.just(0), st.integers(0, 100_000))


@st.composite
def routings(draw: st.DrawFn) -> Routing:
    capacities = draw(st.lists(bandwidths, min_size=1, max_size=8))
    route = st.lists(st.integers(0, len(capacities) - 1), min_size=1, max_size=4, unique=True)
    return draw(st.lists(route, max_size=20)), capacities


@st.composite
def networks(draw: st.DrawFn) -> Network:
    match draw(st.sampled_from(["star", "two-level", "general"])):
        case "star":
            hosts = draw(st.integers(2, 6))
            overrides = draw(st.dictionaries(st.integers(0, hosts - 1), bandwidths))
            return Network.star(hosts, draw(bandwidths), draw(latencies), overrides)
        case "two-level":
            racks, hosts = draw(st.sampled_from([(1, 2), (2, 1), (2, 3), (3, 2)]))
            return Network.two_level(racks, hosts, draw(bandwidths), draw(bandwidths), draw(latencies))
        case _:
            hosts = draw(st.integers(2, 4))
            link = st.builds(Link, bandwidth=bandwidths, latency=latencies)
            links = draw(st.lists(link, min_size=1, max_size=6))
            route = st.lists(st.integers(0, len(links) - 1), min_size=1, unique=True).map(tuple)
            routes = {(a, b): draw(route) for a in range(hosts) for b in range(hosts) if a != b}
            return Network(hosts=hosts, links=tuple(links), route=lambda a, b: routes[a, b])


@st.composite
def traffic(draw: st.DrawFn) -> tuple[Network, list[Transfer]]:
    network = draw(networks())
    hosts = st.integers(0, network.hosts - 1)
    transfer = st.builds(
        Transfer,
        at=st.one_of(st.just(0), st.integers(0, 10**7)),
        source=hosts,
        destination=hosts,
        size=st.one_of(st.sampled_from([0, 1, 10**6]), st.integers(0, 10**6)),
    ).filter(lambda transfer: transfer.source != transfer.destination)
    return network, draw(st.lists(transfer, min_size=1, max_size=12))


# --- the properties -----------------------------------------------------------------------------------------


def rates_of(routes: Sequence[Sequence[int]], capacities: Sequence[float]) -> list[float]:
    members: dict[int, list[int]] = {}
    for flow, route in enumerate(routes):
        for link in route:
            members.setdefault(link, []).append(flow)
    rates = max_min_rates(members, routes, capacities)
    return [rates[flow] for flow in range(len(routes))]


@same_200
@given(routings())
def test_rates_are_those_of_rising_water(routing: Routing) -> None:
    routes, capacities = routing
    exact = fair_rates(dict(enumerate(routes)), [Fraction(capacity) for capacity in capacities])
    assert rates_of(routes, capacities) == pytest.approx([float(rate) for rate in exact.values()], rel=1e-9)


@same_200
@given(routings())
def test_no_link_is_overfull_and_every_flow_has_a_bottleneck(routing: Routing) -> None:
    """A rate is max-min fair if and only if some link of its flow is full, and no flow there is faster."""
    routes, capacities = routing
    rates = rates_of(routes, capacities)
    through = [
        [rate for rate, route in zip(rates, routes, strict=True) if link in route] for link in range(len(capacities))
    ]
    assert all(sum(through[link]) <= capacity * (1 + 1e-12) for link, capacity in enumerate(capacities))
    for rate, route in zip(rates, routes, strict=True):
        assert any(
            sum(through[link]) >= capacities[link] * (1 - 1e-12) and rate >= max(through[link]) * (1 - 1e-12)
            for link in route
        )


@same_200
@given(traffic())
def test_flows_are_delivered_when_exact_arithmetic_says(case: Traffic) -> None:
    network, transfers = case
    exact = deliveries_on_whole_nanoseconds(network, transfers)
    for time, expected in zip(deliver(network, transfers), exact, strict=True):
        assert abs(time - expected) <= 1 + expected / 10**9


@st.composite
def crowds(draw: st.DrawFn) -> tuple[Network, list[Transfer]]:
    """Many to one host, at different times, and a few others that may get in their way."""
    hosts = draw(st.integers(4, 16))
    overrides = draw(st.dictionaries(st.integers(0, hosts - 1), st.sampled_from([10**8, 25 * 10**7]), max_size=2))
    network = Network.star(hosts, 10**9, draw(st.sampled_from([0, 100])), overrides)
    times, sizes = st.integers(0, 3000), st.integers(0, 2000)
    to_one = st.builds(Transfer, at=times, source=st.integers(1, hosts - 1), destination=st.just(0), size=sizes)
    anywhere = st.builds(
        Transfer, at=times, source=st.integers(0, hosts - 1), destination=st.integers(0, hosts - 1), size=sizes
    ).filter(lambda transfer: transfer.source != transfer.destination)
    sender = attrgetter("source")
    return network, draw(st.lists(to_one, min_size=3, max_size=20, unique_by=sender)) + draw(
        st.lists(anywhere, max_size=3)
    )


def test_a_crowd_at_one_host_is_delivered_when_exact_arithmetic_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools, as they are made, joined, left and dissolved."""
    made: Counter[str] = Counter()

    def counted(name: str) -> Callable[..., Any]:
        method = getattr(Flows, name)

        def call(flows: Flows, *arguments: Any) -> Any:
            answer = method(flows, *arguments)
            made[name if answer is None else f"{name} {answer}"] += 1
            return answer

        return call

    for name in ("_make_pool", "_admit", "_leave_pool", "_dissolve"):
        monkeypatch.setattr(Flows, name, counted(name))

    @same_200
    @given(crowds())
    def check(case: Traffic) -> None:
        network, transfers = case
        exact = deliveries_on_whole_nanoseconds(network, transfers)
        for time, expected in zip(deliver(network, transfers), exact, strict=True):
            assert abs(time - expected) <= 2

    check()
    assert set(made) == {"_make_pool", "_admit True", "_admit False", "_leave_pool", "_dissolve"}
    assert min(made.values()) > 30


@same_200
@given(traffic())
def test_the_same_traffic_is_delivered_alike_at_any_time(case: Traffic) -> None:
    network, transfers = case
    day = 86_400 * 10**9
    first = deliver(network, transfers)
    assert deliver(network, transfers) == first
    later = [replace(transfer, at=transfer.at + day) for transfer in transfers]
    assert deliver(network, later) == [time + day for time in first]


# --- platforms by hand --------------------------------------------------------------------------------------


def test_a_flow_alone_pays_latency_and_bandwidth() -> None:
    network = Network.star(2, bandwidth=125e6, latency=50_000)
    assert round_ns(network, [(0, 1, 1_000_000)]) == 50_000 + 8_000_000
    assert round_ns(network, [(0, 1, 0)]) == 50_000
    assert round_ns(network, [(0, 1, 1)]) == 50_000 + 8


def test_a_time_is_rounded_up() -> None:
    assert round_ns(Network.star(2, bandwidth=3e9), [(0, 1, 1)]) == 1
    assert round_ns(Network.star(2, bandwidth=3e9), [(0, 1, 4)]) == 2
    assert round_ns(Network.star(2, bandwidth=3e9), [(0, 1, 6)]) == 2


@pytest.mark.parametrize("size", [61, 121, 127, 1_000_003])
def test_rounding_errors_do_not_cost_a_nanosecond(size: int) -> None:
    """In floating point 61 bytes at 1 GB/s take 61.00000000000001 ns."""
    assert round_ns(Network.star(2, bandwidth=1e9), [(0, 1, size)]) == size


def test_both_directions_of_an_interface_are_independent() -> None:
    network = Network.star(2, bandwidth=1e9)
    assert round_ns(network, [(0, 1, 1_000), (1, 0, 1_000)]) == 1_000


def test_senders_to_one_host_share_its_interface() -> None:
    network = Network.star(5, bandwidth=1e9)
    assert round_ns(network, [(sender, 0, 1_000) for sender in range(1, 5)]) == 4_000


def test_what_a_slow_sender_leaves_the_others_take() -> None:
    network = Network.star(3, bandwidth=1e9, overrides={1: 0.25e9})
    transfers = [
        Transfer(at=0, source=1, destination=0, size=250),
        Transfer(at=0, source=2, destination=0, size=750),
    ]
    assert deliver(network, transfers) == [1_000, 1_000]


def test_a_flow_speeds_up_when_another_ends_and_slows_down_when_one_starts() -> None:
    network = Network.star(3, bandwidth=1e9)
    transfers = [
        Transfer(at=0, source=0, destination=2, size=1_000),
        Transfer(at=400, source=1, destination=2, size=100),
    ]
    assert deliver(network, transfers) == [1_100, 600]


def test_an_oversubscribed_uplink_is_shared() -> None:
    network = Network.two_level(2, 4, bandwidth=1e9, uplink=1e9, latency=10)
    across = [(host, host + 4, 1_000) for host in range(4)]
    within = [(0, 1, 1_000), (2, 3, 1_000)]
    assert round_ns(network, within) == 10 + 1_000
    assert round_ns(network, across) == 30 + 4_000


def test_nodes_on_one_host_pay_a_local_latency_only() -> None:
    assert round_ns(Network.star(2, bandwidth=1.0), [(1, 1, 10**9)]) == 0
    assert round_ns(Network.star(2, bandwidth=1.0, local_latency=300), [(1, 1, 10**9)]) == 300


def test_a_round_of_nothing_takes_no_time() -> None:
    assert round_ns(Network.star(2, bandwidth=1.0, latency=5), []) == 0


def test_equal_flows_are_delivered_in_the_order_in_which_they_started() -> None:
    clock, queue, order = Clock(), EventQueue(), list[int]()
    flows = Flows(Network.star(9, bandwidth=1e9), clock, queue)
    for sender in (5, 2, 8, 1, 7):
        flows.start(sender, 0, 1_000, partial(order.append, sender))
    queue.run(clock)
    assert order == [5, 2, 8, 1, 7]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Network.star(0, 1e9), "at least 1 host, not 0"),
        (lambda: Network.star(2, 0.0), "a bandwidth must be positive, e.g. 1Gbit/s, not 0.0"),
        (lambda: Network.star(2, float("nan")), "a bandwidth must be positive"),
        (lambda: Network.star(2, float("inf")), "a bandwidth must be positive"),
        (lambda: Network.star(2, 1e9, -1), "a latency must not be negative, e.g. 50us, not -1 ns"),
        (lambda: Network.star(2, 1e9, local_latency=-1), "a latency must not be negative"),
        (lambda: Network.star(2, 1e9, overrides={2: 1e6}), "host 2: the hosts are 0 to 1"),
        (lambda: Network.star(2, 1e9, overrides={1: -1e6}), "a bandwidth must be positive"),
        (lambda: Network.two_level(0, 4, 1e9, 1e9), "at least 1 rack of 1 host, not 0 of 4"),
        (lambda: Network.two_level(2, 4, 1e9, -1e9), "a bandwidth must be positive"),
    ],
)
def test_an_impossible_network_is_refused(build: Callable[[], Network], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build()
