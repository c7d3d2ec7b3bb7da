"""The flow model against an independent oracle on random platforms, the same ones every time."""

import random
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import NamedTuple

import pytest
from oracle import (
    NANO,
    Transfer,
    Undecided,
    deliver,
    deliveries_of_fluid,
    deliveries_on_whole_nanoseconds,
    fair_rates,
)

from manyhands.clusters.simulated.fairness import max_min_rates
from manyhands.clusters.simulated.network import Link, Network

SEEDS = range(240)


class Platform(NamedTuple):
    network: Network
    transfers: list[Transfer]


# ---- random platforms


def star(pick: random.Random, bandwidth: Callable[[], int]) -> Network:
    hosts = pick.randint(3, 12)
    overrides = {host: bandwidth() for host in range(hosts) if pick.random() < 0.4}
    return Network.star(hosts, bandwidth(), pick.randrange(100_000), overrides, local_latency=pick.randrange(9_000))


def two_level(pick: random.Random, bandwidth: Callable[[], int]) -> Network:
    """Uplinks carry from a half to twice what a host sends."""
    own = bandwidth()
    uplink = round(own * pick.uniform(0.5, 2.0))
    return Network.two_level(pick.randint(2, 4), pick.randint(2, 4), own, uplink, pick.randrange(50_000))


def line(pick: random.Random, bandwidth: Callable[[], int]) -> Network:
    """Hosts at switches in a row: who comes from far crosses many trunks, with others on each (a "parking lot")."""
    hosts, switches = pick.randint(3, 8), pick.randint(2, 6)
    at = [pick.randrange(switches) for _ in range(hosts)]

    def route(source: int, destination: int) -> tuple[int, ...]:
        here, there = at[source], at[destination]
        base = 2 * hosts + (0 if here < there else switches)
        return source, *(base + trunk for trunk in range(min(here, there), max(here, there))), hosts + destination

    links = [Link(bandwidth=bandwidth(), latency=pick.randrange(20_000)) for _ in range(2 * hosts + 2 * switches)]
    return Network(hosts=hosts, links=tuple(links), route=route, local_latency=pick.randrange(9_000))


def arbitrary(pick: random.Random, bandwidth: Callable[[], int]) -> Network:
    """Any links for any pair of hosts."""
    hosts = pick.randint(3, 7)
    links = [Link(bandwidth=bandwidth(), latency=pick.randrange(20_000)) for _ in range(pick.randint(4, 14))]
    routes = {
        (source, destination): tuple(pick.sample(range(len(links)), pick.randint(1, min(5, len(links)))))
        for source in range(hosts)
        for destination in range(hosts)
    }
    return Network(hosts=hosts, links=tuple(links), route=lambda source, destination: routes[source, destination])


KINDS = (star, two_level, line, arbitrary)


@cache
def platform(seed: int) -> Platform:
    """A network, and transfers that crowd on it: some of one host's, some after others, some of nothing."""
    pick = random.Random(seed)
    bandwidths: list[Callable[[], int]] = [
        lambda: round(10 ** pick.uniform(7, 9)),
        lambda: pick.choice([10**7, 10**8, 10**9]),
        lambda: round(10**8 * pick.uniform(0.96, 1.04)),  # almost alike
    ]
    network = KINDS[seed % len(KINDS)](pick, pick.choice(bandwidths))
    favourite = pick.randrange(network.hosts)
    scale = pick.choice([1, 1, 100, 10_000])  # of milliseconds
    transfers: list[Transfer] = []
    for number in range(pick.randint(6, 32)):
        source, destination = pick.sample(range(network.hosts), 2)
        if pick.random() < 0.3:
            destination = favourite
        transfers.append(
            Transfer(
                at=pick.randrange(3_000_000 * scale) if pick.random() < 0.8 else 0,
                source=source,
                destination=destination,
                size=pick.randint(1, 500_000 * scale) if pick.random() < 0.95 else 0,
                after=pick.randrange(number) if number and pick.random() < 0.25 else None,
            )
        )
    return Platform(network, transfers)


def routes_of(platform: Platform) -> dict[int, tuple[int, ...]]:
    network, transfers = platform
    return {number: network.route(each.source, each.destination) for number, each in enumerate(transfers)}


each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def platforms(kind: Callable[..., Network]) -> dict[int, Platform]:
    """By seed."""
    return {seed: platform(seed) for seed in SEEDS[KINDS.index(kind) :: len(KINDS)]}


# ---- the oracle itself


def test_the_oracle_knows_the_rates_of_a_parking_lot() -> None:
    """One flow crosses three links; two more share the second with it, one the first, and one the third."""
    routes = {0: (0, 1, 2), 1: (0,), 2: (1,), 3: (1,), 4: (2,)}
    third = Fraction(1, 3)
    rates = fair_rates(routes, [Fraction(1), Fraction(1), Fraction(2)])
    assert rates == {0: third, 1: 2 * third, 2: third, 3: third, 4: 5 * third}


def test_the_oracle_knows_the_times_of_two_flows_that_share_a_link() -> None:
    """Alone, half each, alone again; at 300 MB/s what ends at 1/3 of a nanosecond ends a whole one later."""
    network = Network.star(3, bandwidth=3e8, latency=7)
    transfers = [
        Transfer(at=0, source=0, destination=2, size=300),
        Transfer(at=400, source=1, destination=2, size=31),
        Transfer(at=50, source=2, destination=2, size=10**9, after=1),
    ]
    second = 407 + Fraction(31 * 20, 3)
    moments = deliveries_of_fluid(network, transfers)
    assert [moment.time for moment in moments] == [7 + Fraction(331 * 10, 3), second, second + 50]
    assert deliveries_on_whole_nanoseconds(network, transfers) == [1111, 614, 664]


@each_kind
def test_the_oracle_s_rates_are_max_min_fair(kind: Callable[..., Network]) -> None:
    """They are if and only if no link is overfull and each flow has a bottleneck: a full link where none is faster
    (Bertsekas & Gallager 1992, §6.5.2)."""
    for case in platforms(kind).values():
        capacities, routes = [Fraction(link.bandwidth) for link in case.network.links], routes_of(case)
        rates = fair_rates(routes, capacities)
        on = {link: [rates[flow] for flow in routes if link in routes[flow]] for link in range(len(capacities))}
        assert all(sum(on[link]) <= capacity for link, capacity in enumerate(capacities))
        for flow, route in routes.items():
            assert any(sum(on[link]) == capacities[link] and rates[flow] == max(on[link]) for link in route)


@each_kind
def test_the_platforms_are_crowded(kind: Callable[..., Network]) -> None:
    """Most flows have to share, and shares differ: what follows would not be worth much otherwise."""
    cases = platforms(kind)
    assert len(cases) >= 50
    held_up, differing = 0, 0
    for case in cases.values():
        network, transfers = case
        capacities, routes = [Fraction(link.bandwidth) for link in network.links], routes_of(case)
        differing += len(set(fair_rates(routes, capacities).values())) > 2
        times = deliveries_on_whole_nanoseconds(network, transfers)
        for number, transfer in enumerate(transfers):
            begun = transfer.at + (0 if transfer.after is None else times[transfer.after])
            alone = transfer.size * NANO / min(capacities[link] for link in routes[number])
            latency = sum(network.links[link].latency for link in routes[number])
            held_up += times[number] - begun - latency > 1.1 * alone + 1
    assert differing > 0.8 * len(cases)
    assert held_up > 0.6 * sum(len(case.transfers) for case in cases.values())


# ---- the simulator against it


@each_kind
def test_rates_are_those_of_the_oracle(kind: Callable[..., Network]) -> None:
    for seed, case in platforms(kind).items():
        capacities, routes = [link.bandwidth for link in case.network.links], routes_of(case)
        members = {link: [flow for flow in routes if link in routes[flow]] for link in range(len(capacities))}
        rates = max_min_rates({link: flows for link, flows in members.items() if flows}, routes, capacities)
        exact = fair_rates(routes, [Fraction(capacity) for capacity in capacities])
        assert rates == pytest.approx({flow: float(rate) for flow, rate in exact.items()}, rel=1e-12), seed


@each_kind
def test_transfers_are_delivered_on_the_nanosecond_that_the_oracle_says(kind: Callable[..., Network]) -> None:
    """Binary fractions are good to 10⁻¹⁶ of a time: from ten seconds on, an end that is just on a nanosecond may be
    taken for one after it, and a later end with it."""
    for seed, (network, transfers) in platforms(kind).items():
        exact = deliveries_on_whole_nanoseconds(network, transfers)
        for number, (time, expected) in enumerate(zip(deliver(network, transfers), exact, strict=True)):
            assert abs(time - expected) <= (0 if expected < 10 * NANO else 2), (seed, number)


@each_kind
def test_ending_on_whole_nanoseconds_changes_no_more_than_it_must(kind: Callable[..., Network]) -> None:
    """Against fluid, whose flows end at any moment, within the bound that the oracle derives: for most 1 or 2 ns."""
    decided, slacks = 0, []
    for seed, (network, transfers) in platforms(kind).items():
        try:
            moments = deliveries_of_fluid(network, transfers)
        except Undecided:
            continue
        decided += 1
        slacks += [moment.slack for moment in moments]
        for number, (time, moment) in enumerate(zip(deliver(network, transfers), moments, strict=True)):
            assert abs(time - moment.time) <= moment.slack, (seed, number)
    assert decided >= 50
    assert sorted(slacks)[len(slacks) // 2] < 3
    assert max(slacks) < 100
