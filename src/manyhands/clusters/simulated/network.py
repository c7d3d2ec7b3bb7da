"""The network of a simulated cluster: hosts, links, and flows that share the links max-min fairly.

This is the fluid (flow-level) model of a network, as in SimGrid (Casanova et al. 2014, "Versatile, scalable,
and accurate simulation of distributed applications and platforms", https://doi.org/10.1016/j.jpdc.2014.06.008).
"""

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from manyhands.clusters.simulated.clock import Clock, Event, EventQueue
from manyhands.clusters.simulated.fairness import max_min_rates
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


@dataclass(slots=True, eq=False)
class _Flow:
    number: int  # in order of start
    route: tuple[int, ...]
    remaining: float  # bytes, at the time `since` (ns), from when on they go at `rate` (bytes/s)
    on_delivered: Callable[..., None]
    arguments: tuple[Any, ...]
    rate: float = 0.0
    since: int = 0
    end: int = 0  # ns
    departure: Event | None = None


@dataclass(slots=True, eq=False)
class _Pool:
    """Flows that share one link and no other, all at the rate that it lets them have: a server's, most often.

    One counter stands for all: of the bytes that each has been given since the pool began. A flow is done when the
    counter is at its mark, so that who joins or leaves changes one rate, however many flows there are.
    """

    link: int
    narrowest: float  # of their other links' bandwidths, or less
    marks: list[tuple[float, int]]  # a heap, with the flows' numbers
    given: float = 0.0  # bytes, at the time `since` (ns), from when on each flow is given `rate` (bytes/s)
    rate: float = 0.0
    since: int = 0
    departure: Event | None = None


class Flows:
    """The flows under way in a network: each pays its route's latency, then shares its links max-min fairly.

    A flow ends on the whole nanosecond at or after the moment of its last byte, and holds its share until then; a
    later flow between the same hosts may overtake it. Flows that shared links connect, directly or through others,
    depend on each other: their shares are solved anew, once for all that join or leave at one time. Only the first of
    them to end has an event in the queue, as the others' ends are not known before. A flow alone on its links needs
    no solving, and those of a pool need next to none.
    """

    def __init__(self, network: Network, clock: Clock, queue: EventQueue) -> None:
        self._network = network
        self._clock = clock
        self._queue = queue
        self._capacities = [link.bandwidth for link in network.links]
        self._latencies = [link.latency for link in network.links]
        self._flows: dict[int, _Flow] = {}  # those on the links, by number
        self._routes: dict[int, tuple[int, ...]] = {}
        self._members: list[dict[int, None]] = [{} for _ in network.links]  # dicts as ordered sets
        self._pools: dict[int, _Pool] = {}  # by each link that one of their flows crosses
        self._started = 0
        self._touched: dict[int, None] = {}  # links whose flows have changed since the last solution

    def start(
        self, source: int, destination: int, size_bytes: float, on_delivered: Callable[..., None], *arguments: Any
    ) -> None:
        """Send bytes from host to host; ``on_delivered(*arguments)`` is called when the last one arrives."""
        network, now = self._network, self._clock.now
        assert 0 <= source < network.hosts, source
        assert 0 <= destination < network.hosts, destination
        assert 0 <= size_bytes < math.inf, size_bytes
        if source == destination:
            self._queue.push(now + network.local_latency, on_delivered, *arguments)
            return
        route = network.route(source, destination)
        arrival = now + sum([self._latencies[link] for link in route])
        if not size_bytes:
            self._queue.push(arrival, on_delivered, *arguments)
            return
        self._started += 1
        self._queue.push(arrival, self._join, _Flow(self._started, route, size_bytes, on_delivered, arguments))

    def _join(self, flow: _Flow) -> None:
        shared = [link for link in flow.route if self._members[link]]
        for link in flow.route:
            self._members[link][flow.number] = None
        self._flows[flow.number], self._routes[flow.number] = flow, flow.route
        if not shared:
            self._set_rate(flow, min([self._capacities[link] for link in flow.route]))
            flow.departure = self._queue.push(flow.end, self._leave, flow)
        elif not (len(shared) == 1 and self._admit(flow, shared[0])):
            for link in shared:
                if link in self._pools:
                    self._dissolve(self._pools[link])
            self._touch(flow.route)

    def _leave(self, flow: _Flow) -> None:
        self._remove(flow)
        self._touch([link for link in flow.route if self._members[link]])
        flow.on_delivered(*flow.arguments)

    def _remove(self, flow: _Flow) -> None:
        for link in flow.route:
            del self._members[link][flow.number]
        del self._flows[flow.number], self._routes[flow.number]

    def _touch(self, links: Sequence[int]) -> None:
        if links and not self._touched:
            self._queue.push(self._clock.now, self._solve)
        self._touched.update(dict.fromkeys(links))

    def _solve(self) -> None:
        touched, self._touched = self._touched, {}
        solved: set[int] = set()
        for link in touched:
            if link not in solved and self._members[link]:
                links, flows = self._neighbourhood(link)
                solved.update(links)
                self._share_out(links, sorted(flows))

    def _neighbourhood(self, start: int) -> tuple[list[int], Iterable[int]]:
        """All flows that a chain of shared links connects with a link, and all links that they cross."""
        links, known, flows = [start], {start}, dict[int, None]()
        for link in links:  # grows on the way
            for flow in self._members[link]:
                if flow not in flows:
                    flows[flow] = None
                    for other in self._routes[flow]:
                        if other not in known:
                            known.add(other)
                            links.append(other)
        return links, flows

    def _share_out(self, links: Sequence[int], numbers: Sequence[int]) -> None:
        """Give connected flows their rates, and the first to end its event."""
        flows = [self._flows[number] for number in numbers]
        shares = [self._capacities[link] / len(self._members[link]) for link in links]
        least = min(shares)
        bottleneck = links[shares.index(least)]
        private = sum([len(flow.route) - 1 for flow in flows])  # other links, if no two flows share any
        if len(self._members[bottleneck]) == len(flows) > 1 and len(links) == 1 + private:
            self._make_pool(bottleneck, links, flows)
            return
        if least == max(shares):
            rates = dict.fromkeys(numbers, least)
        else:
            rates = max_min_rates({link: self._members[link] for link in links}, self._routes, self._capacities)
        for flow in flows:
            rate = rates[flow.number]
            if rate != flow.rate:
                self._set_rate(flow, rate)
        first = min([flow.end for flow in flows])
        for flow in flows:
            departure, leaves = flow.departure, flow.end == first
            if departure is not None and not (leaves and departure.time == first):
                self._queue.cancel(departure)
                flow.departure = departure = None
            if leaves and departure is None:
                flow.departure = self._queue.push(first, self._leave, flow)

    def _set_rate(self, flow: _Flow, rate: float) -> None:
        now = self._clock.now
        left = flow.remaining - flow.rate * (now - flow.since) * 1e-9
        flow.remaining = left = left if left > 0 else 0.0
        flow.rate, flow.since = rate, now
        flow.end = now + math.ceil(left / rate * 1e9 - 1e-6)  # rounding errors must not cost a nanosecond

    # ---- pools

    def _make_pool(self, link: int, links: Sequence[int], flows: Sequence[_Flow]) -> None:
        pool = _Pool(link, min([self._capacities[other] for other in links if other != link], default=math.inf), [])
        pool.since = self._clock.now
        for flow in flows:
            if flow.departure is not None:
                self._queue.cancel(flow.departure)
                flow.departure = None
            pool.marks.append((flow.remaining - flow.rate * (pool.since - flow.since) * 1e-9, flow.number))
        heapq.heapify(pool.marks)
        self._pools.update(dict.fromkeys(links, pool))
        self._pace(pool)

    def _admit(self, flow: _Flow, link: int) -> bool:
        """Take the flow into the link's pool, unless there is none, or another of its links would hold it up."""
        pool = self._pools.get(link)
        if pool is None or pool.link != link:
            return False
        narrowest = min([pool.narrowest, *[self._capacities[other] for other in flow.route if other != link]])
        if self._capacities[link] / (len(pool.marks) + 1) > narrowest:
            return False
        self._count(pool)
        pool.narrowest = narrowest
        heapq.heappush(pool.marks, (pool.given + flow.remaining, flow.number))
        self._pools.update(dict.fromkeys(flow.route, pool))
        self._pace(pool)
        return True

    def _count(self, pool: _Pool) -> None:
        now = self._clock.now
        pool.given += pool.rate * (now - pool.since) * 1e-9
        pool.since = now

    def _pace(self, pool: _Pool) -> None:
        """Set the rate that the link's flows have now, and the event of the first to end."""
        pool.rate = self._capacities[pool.link] / len(pool.marks)
        left = max(0.0, pool.marks[0][0] - pool.given)
        end = pool.since + math.ceil(left / pool.rate * 1e9 - 1e-6)
        if pool.departure is not None:
            self._queue.cancel(pool.departure)
        pool.departure = self._queue.push(end, self._leave_pool, pool)

    def _leave_pool(self, pool: _Pool) -> None:
        """The first flow ends."""
        self._count(pool)
        pool.departure = None
        _, number = heapq.heappop(pool.marks)
        flow = self._flows[number]
        self._remove(flow)
        for link in flow.route:
            if not self._members[link]:
                del self._pools[link]
        if pool.marks and self._capacities[pool.link] / len(pool.marks) <= pool.narrowest:
            self._pace(pool)
        elif pool.marks:
            self._dissolve(pool)
            self._touch([pool.link])
        flow.on_delivered(*flow.arguments)

    def _dissolve(self, pool: _Pool) -> None:
        """Its flows are to be solved like all others."""
        self._count(pool)
        if pool.departure is not None:
            self._queue.cancel(pool.departure)
        for mark, number in pool.marks:
            flow = self._flows[number]
            flow.remaining, flow.rate, flow.since = max(0.0, mark - pool.given), 0.0, pool.since
            for link in flow.route:
                self._pools.pop(link, None)


def round_ns(network: Network, transfers: Iterable[tuple[int, int, float]]) -> int:
    """Time (ns) until all of these transfers (source host, destination host, bytes) are delivered that start
    together on an idle network: one round of a collective."""
    clock, queue = Clock(), EventQueue()
    flows = Flows(network, clock, queue)
    for source, destination, size_bytes in transfers:
        flows.start(source, destination, size_bytes, lambda: None)
    queue.run(clock)
    return clock.now
