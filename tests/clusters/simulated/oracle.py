"""The flow model of a network as a textbook has it, in exact fractions, to hold the simulator against.

All rates are solved anew, for all flows, whenever one begins or ends; nothing is shared with the simulator but the
description of the network. What ends when is computed either as fluid does, at any moment, or as the simulator
says that it does: on the whole nanosecond at or after it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from math import ceil
from typing import NamedTuple

from manyhands.clusters.simulated.clock import Clock, EventQueue
from manyhands.clusters.simulated.network import Flows, Network

NANO = 10**9


@dataclass(frozen=True, kw_only=True)
class Transfer:
    at: int  # ns: from the beginning, or from the delivery of the transfer of that number
    source: int
    destination: int
    size: int  # bytes
    after: int | None = None


def deliver(network: Network, transfers: Sequence[Transfer]) -> list[int]:
    """When each transfer is delivered by the simulator (ns)."""
    clock, queue = Clock(), EventQueue()
    flows = Flows(network, clock, queue)
    delivered = [-1] * len(transfers)

    def start(number: int) -> None:
        transfer = transfers[number]
        flows.start(transfer.source, transfer.destination, transfer.size, note, number)

    def note(number: int) -> None:
        assert delivered[number] == -1, "delivered twice"
        delivered[number] = clock.now
        plan(number)

    def plan(after: int | None) -> None:
        for number, transfer in enumerate(transfers):
            if transfer.after == after:
                queue.push(clock.now + transfer.at, partial(start, number))

    plan(None)
    queue.run(clock)
    assert min(delivered, default=0) >= 0, "never delivered"
    return delivered


def fair_rates(routes: Mapping[int, Sequence[int]], capacities: Sequence[Fraction]) -> dict[int, Fraction]:
    """The max-min fair rate of each flow: water rises in all flows alike, and those that cross a link that is full
    stay as they are (progressive filling: Bertsekas & Gallager 1992, Data Networks, §6.5.2)."""
    flows_on: dict[int, list[int]] = {}
    for flow, route in routes.items():
        for link in route:
            flows_on.setdefault(link, []).append(flow)
    rates = dict.fromkeys(routes, Fraction(0))
    rising = set(routes)
    while rising:
        room = {}  # how far the flows that still rise can rise before the link is full
        for link, flows in flows_on.items():
            if count := len(rising.intersection(flows)):
                room[link] = (capacities[link] - sum(rates[flow] for flow in flows)) / count
        rise = min(room.values())
        for flow in rising:
            rates[flow] += rise
        for link in room:
            if room[link] == rise:
                rising -= set(flows_on[link])
    return rates


class Moment(NamedTuple):
    time: Fraction  # ns
    slack: Fraction  # ns: the simulator's time is nearer than this


class Undecided(Exception):
    """Two events are so near each other that rounding to nanoseconds can exchange them."""


def deliveries_on_whole_nanoseconds(network: Network, transfers: Sequence[Transfer]) -> list[int]:
    """When each transfer is delivered (ns), where a flow ends on the whole nanosecond at or after the moment of its
    last byte, and keeps its share until then."""
    return [int(moment.time) for moment in _deliveries(network, transfers, whole=True)]


def deliveries_of_fluid(network: Network, transfers: Sequence[Transfer]) -> list[Moment]:
    """When each transfer is delivered (ns), and how far from that the simulator may be, as flows end there on whole
    nanoseconds. Raises Undecided where that has no bound.

    Let event k, a beginning or an end, be at t_k here and at t'_k in the simulator, with |t'_k − t_k| ≤ D_k, and in
    the same order. Flow f has the rate r_k from event k on in both, and from its beginning, j, to its end, K, the same
    bytes go through:  Σ r_{k−1} (t_k − t_{k−1}) = Σ r_{k−1} (t'_k − t'_{k−1}) − r_{K−1} ε,  where 0 ≤ ε < 1 is what
    the end is late. Summed by parts, with r_{j−1} = 0:

        D_K = 1 + Σ_{k = j … K−1} |r_k − r_{k−1}| D_k / r_{K−1}

    A beginning has the D of what it comes after, or 0. Binary fractions add less than 10⁻¹² of the time. The order is
    the same if each event that is still to come lies further ahead than both events' D.
    """
    return _deliveries(network, transfers, whole=False)


def _deliveries(network: Network, transfers: Sequence[Transfer], whole: bool) -> list[Moment]:
    capacities = [Fraction(link.bandwidth) for link in network.links]
    away = [transfer.source != transfer.destination for transfer in transfers]
    routes = [network.route(each.source, each.destination) if away[i] else () for i, each in enumerate(transfers)]
    latencies = [
        sum(network.links[link].latency for link in route) if away[i] else network.local_latency
        for i, route in enumerate(routes)
    ]
    left = [Fraction(transfer.size if away[i] else 0) for i, transfer in enumerate(transfers)]
    shifted = [Fraction(0)] * len(transfers)  # Σ |r_k − r_{k−1}| D_k
    delivered: dict[int, Moment] = {}
    rates: dict[int, Fraction] = {}  # of the flows on the links
    beginnings: dict[int, Moment] = {}  # on the links, of those that are under way to them

    def plan(after: int | None, moment: Moment) -> None:
        for number, transfer in enumerate(transfers):
            if transfer.after == after:
                beginnings[number] = Moment(moment.time + transfer.at + latencies[number], moment.slack)

    now = Fraction(0)
    plan(None, Moment(now, Fraction(0)))
    while beginnings or rates:
        ends = {}
        for flow, rate in rates.items():
            time = now + left[flow] / rate * NANO
            ends[flow] = Moment(Fraction(ceil(time)) if whole else time, 1 + shifted[flow] / rate + time / 10**12)
        ahead = [*beginnings.values(), *ends.values()]
        event = min(ahead)
        if not whole:
            _check_order(event, ahead)
        for flow, rate in rates.items():
            left[flow] = max(Fraction(0), left[flow] - rate * (event.time - now) / NANO)
        now = event.time
        begun = [flow for flow, moment in beginnings.items() if moment.time == now]
        for flow in begun:
            del beginnings[flow]
        ended = [flow for flow, moment in ends.items() if moment.time == now]
        for flow in [*ended, *begun]:
            if not left[flow]:
                delivered[flow] = event
                plan(flow, event)
        under_way = [flow for flow in [*rates, *begun] if left[flow]]
        before, rates = rates, fair_rates({flow: routes[flow] for flow in under_way}, capacities)
        for flow, rate in rates.items():
            shifted[flow] += abs(rate - before.get(flow, 0)) * event.slack
    return [delivered[flow] for flow in range(len(transfers))]


def _check_order(event: Moment, ahead: Sequence[Moment]) -> None:
    """Raises Undecided unless this is the first event in the simulator too."""
    for other in ahead:
        uncertain = event.slack + other.slack
        if other is not event and uncertain and other.time - event.time <= uncertain:
            raise Undecided
