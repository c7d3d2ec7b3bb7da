"""The network of a simulated cluster: hosts, links, and flows that share the links max-min fairly.

This is the fluid (flow-level) model of a network, as in SimGrid (Casanova et al. 2014, "Versatile, scalable,
and accurate simulation of distributed applications and platforms", https://doi.org/10.1016/j.jpdc.2014.06.008).
"""

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from manyhands.clusters.simulated.clock import Clock, Event, EventQueue
from manyhands.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Link:
    """One direction of a cable: bandwidth in bytes per second, latency in nanoseconds."""

    bandwidth: float
    latency: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.bandwidth < math.inf:
            raise UserError(f"a bandwidth must be positive, e.g. 1Gbit/s, not {self.bandwidth} bytes/s")
        if self.latency < 0:
            raise UserError(f"a latency must not be negative, e.g. 50us, not {self.latency} ns")


@dataclass(frozen=True, kw_only=True)
class Network:
    """Hosts 0 to hosts - 1, links, and the route between every two different hosts.

    ``route(source, destination)`` names the links that a flow crosses by their place in ``links``: at least
    one, none twice. Two nodes on one host use no link; their messages take ``local_latency`` (ns).
    """

    hosts: int
    links: tuple[Link, ...]
    route: Callable[[int, int], tuple[int, ...]]
    local_latency: int = 0

    def __post_init__(self) -> None:
        if self.hosts < 1:
            raise UserError(f"a network needs at least 1 host, not {self.hosts}")
        if self.local_latency < 0:
            raise UserError(f"a latency must not be negative, e.g. 50us, not {self.local_latency} ns")

    @classmethod
    def star(
        cls,
        hosts: int,
        bandwidth: float,
        latency: int = 0,
        overrides: Mapping[int, float] | None = None,
        *,
        local_latency: int = 0,
    ) -> "Network":
        """All hosts at one non-blocking switch.

        bandwidth: of each host's interface, in each direction (bytes/s); overrides: another one, by host.
        latency: one way, from host to host (ns).
        """
        bandwidths = dict.fromkeys(range(hosts), bandwidth)
        for host, other in (overrides or {}).items():
            if host not in bandwidths:
                raise UserError(f"a bandwidth is given for host {host}: the hosts are 0 to {hosts - 1}")
            bandwidths[host] = other
        up = [Link(bandwidth=own, latency=latency) for own in bandwidths.values()]
        down = [Link(bandwidth=own) for own in bandwidths.values()]
        return cls(
            hosts=hosts,
            links=(*up, *down),
            route=lambda source, destination: (source, hosts + destination),
            local_latency=local_latency,
        )

    @classmethod
    def two_level(
        cls,
        racks: int,
        hosts_per_rack: int,
        bandwidth: float,
        uplink: float,
        latency: int = 0,
        *,
        local_latency: int = 0,
    ) -> "Network":
        """Racks of hosts, each with a switch, under one non-blocking core switch. Host h stands in rack
        h // hosts_per_rack.

        bandwidth: of each host's interface, in each direction (bytes/s).
        uplink: between a rack and the core, in each direction (bytes/s); oversubscribed where it is less than
        hosts_per_rack * bandwidth.
        latency: one way, for each switch crossed (ns): one inside a rack, three between racks.
        """
        if racks < 1 or hosts_per_rack < 1:
            raise UserError(f"a network needs at least 1 rack of 1 host, not {racks} of {hosts_per_rack}")
        hosts = racks * hosts_per_rack

        def route(source: int, destination: int) -> tuple[int, ...]:
            above, below = source // hosts_per_rack, destination // hosts_per_rack
            if above == below:
                return source, hosts + destination
            return source, 2 * hosts + above, 2 * hosts + racks + below, hosts + destination

        # A link carries the latency of the switch that it leads to.
        inward = Link(bandwidth=bandwidth, latency=latency)
        outward = Link(bandwidth=bandwidth)
        between = Link(bandwidth=uplink, latency=latency)
        links = (inward,) * hosts + (outward,) * hosts + (between,) * (2 * racks)
        return cls(hosts=hosts, links=links, route=route, local_latency=local_latency)


def max_min_rates(routes: Sequence[Sequence[int]], capacities: Sequence[float]) -> list[float]:
    """The max-min fair rate of each flow, in the capacities' unit: none can rise unless another falls that is
    no greater.

    Progressive filling (Bertsekas & Gallager 1992, Data Networks, §6.5.2): the link with the smallest fair
    share is the bottleneck of its flows; they get that share, their other links lose it, and so on.
    """
    members: dict[int, list[int]] = {}
    for flow, route in enumerate(routes):
        for link in route:
            members.setdefault(link, []).append(flow)
    left = {link: capacities[link] for link in members}
    waiting = {link: len(flows) for link, flows in members.items()}
    rates = [0.0] * len(routes)
    heap = [(left[link] / waiting[link], link) for link in members]
    heapq.heapify(heap)
    while heap:
        known, bottleneck = heapq.heappop(heap)
        if not waiting[bottleneck]:
            continue
        share = left[bottleneck] / waiting[bottleneck]
        if share > known:  # shares only grow: one that is out of date is too small, never too large
            heapq.heappush(heap, (share, bottleneck))
            continue
        for flow in members[bottleneck]:
            if not rates[flow]:
                rates[flow] = share
                for link in routes[flow]:
                    left[link] -= share
                    waiting[link] -= 1
    return rates


@dataclass(slots=True, eq=False)
class _Flow:
    number: int  # in order of start
    route: tuple[int, ...]
    remaining: float  # bytes, at the time `since` (ns), from when on they go at `rate` (bytes/s)
    on_delivered: Callable[[], None]
    rate: float = 0.0
    since: int = 0
    end: Event | None = None


class Flows:
    """The flows under way in a network: each pays its route's latency, then shares its links max-min fairly.

    A flow ends on the whole nanosecond at or after the moment of its last byte, and holds its share until
    then; a later flow between the same hosts may overtake it. Shares are solved anew once for the flows that
    join or leave at one time, and only for those that shared links connect with them; a flow alone on its
    links needs no solving.
    """

    def __init__(self, network: Network, clock: Clock, queue: EventQueue) -> None:
        self._network = network
        self._clock = clock
        self._queue = queue
        self._capacities = [link.bandwidth for link in network.links]
        self._members: list[dict[_Flow, None]] = [{} for _ in network.links]  # dicts as ordered sets
        self._started = 0
        self._touched: dict[int, None] = {}  # links whose flows have changed since the last solution

    def start(self, source: int, destination: int, size_bytes: float, on_delivered: Callable[[], None]) -> None:
        """Send bytes from host to host; ``on_delivered`` is called at the time when the last one arrives."""
        network, now = self._network, self._clock.now
        assert 0 <= source < network.hosts, source
        assert 0 <= destination < network.hosts, destination
        assert 0 <= size_bytes < math.inf, size_bytes
        if source == destination:
            self._queue.push(now + network.local_latency, on_delivered)
            return
        flow = _Flow(self._started, network.route(source, destination), size_bytes, on_delivered)
        self._started += 1
        latency = sum(network.links[link].latency for link in flow.route)
        self._queue.push(now + latency, partial(self._join, flow))

    def _join(self, flow: _Flow) -> None:
        alone = not any(self._members[link] for link in flow.route)
        for link in flow.route:
            self._members[link][flow] = None
        if alone:
            self._set_rate(flow, min(self._capacities[link] for link in flow.route))
        else:
            self._touch(flow.route)

    def _leave(self, flow: _Flow) -> None:
        for link in flow.route:
            del self._members[link][flow]
        self._touch(link for link in flow.route if self._members[link])
        flow.on_delivered()

    def _touch(self, links: Iterable[int]) -> None:
        planned = bool(self._touched)
        self._touched.update(dict.fromkeys(links))
        if self._touched and not planned:
            self._queue.push(self._clock.now, self._solve)

    def _solve(self) -> None:
        flows = sorted(self._neighbourhood(), key=lambda flow: flow.number)
        self._touched.clear()
        rates = max_min_rates([flow.route for flow in flows], self._capacities)
        for flow, rate in zip(flows, rates, strict=True):
            if rate != flow.rate:
                self._set_rate(flow, rate)

    def _neighbourhood(self) -> Iterable[_Flow]:
        """The flows whose rates may change: all that a chain of shared links connects with a touched link."""
        links, flows = dict(self._touched), dict[_Flow, None]()
        frontier = list(links)
        while frontier:
            for flow in self._members[frontier.pop()]:
                if flow not in flows:
                    flows[flow] = None
                    fresh = [link for link in flow.route if link not in links]
                    links.update(dict.fromkeys(fresh))
                    frontier += fresh
        return flows

    def _set_rate(self, flow: _Flow, rate: float) -> None:
        now = self._clock.now
        flow.remaining = max(0.0, flow.remaining - flow.rate * (now - flow.since) * 1e-9)
        flow.rate, flow.since = rate, now
        if flow.end is not None:
            self._queue.cancel(flow.end)
        wait = math.ceil(flow.remaining / rate * 1e9 - 1e-6)  # rounding errors must not cost a nanosecond
        flow.end = self._queue.push(now + max(0, wait), partial(self._leave, flow))


def round_ns(network: Network, transfers: Iterable[tuple[int, int, float]]) -> int:
    """Time (ns) until all of these transfers (source host, destination host, bytes) are delivered that start
    together on an idle network: one round of a collective."""
    clock, queue = Clock(), EventQueue()
    flows = Flows(network, clock, queue)
    for source, destination, size_bytes in transfers:
        flows.start(source, destination, size_bytes, lambda: None)
    queue.run(clock)
    return clock.now
