"""What communication costs in the simulated cluster: the network's rates and latencies, and the backend's share."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from manyhands.clusters.collectives import Collective, Native
from manyhands.clusters.simulated.network import Network
from manyhands.clusters.simulated.profile import Backend


@dataclass(frozen=True)
class Costs:
    """``bandwidth``: of each host's interface, in each direction, headers included (bytes/s); ``latency`` of the
    network from host to host (ns); ``links``: by host, the factor by which its interface is slower."""

    backend: Backend
    bandwidth: float
    latency: int
    links: Mapping[int, float] = field(default_factory=dict)

    def network(self, hosts: int) -> Network:
        """As a message meets it."""
        return self._star(hosts, self.backend.latency_seconds)

    def network_of(self, collective: Collective, hosts: int) -> Network:
        """As a step of a collective operation meets it that is carried out as a whole.

        Where links are uneven, a ring goes at the pace of the slowest: the steps of which it consists follow on one
        another there without a break. The other collectives are tried out on this very network.
        """
        backend = self.backend
        if isinstance(collective, Native):
            return self._star(hosts, backend.collective_seconds)
        return self._star(hosts, backend.latency_seconds + backend.send_seconds + backend.receive_seconds)

    def _star(self, hosts: int, more: float) -> Network:
        bandwidth = self.bandwidth * self.backend.efficiency
        own = {host: bandwidth / factor for host, factor in self.links.items() if host < hosts}
        return Network.star(hosts, bandwidth, self.latency + round(more * 1e9), own)

    @property
    def word_ns(self) -> int:
        """How long (ns) a word is under way: a message that holds nothing."""
        return self.latency + round(self.backend.latency_seconds * 1e9)

    @property
    def send_ns(self) -> int:
        """Processor time (ns) of the sender of a message."""
        return round(self.backend.send_seconds * 1e9)

    @property
    def receive_ns(self) -> int:
        """Processor time (ns) of the receiver of a message."""
        return round(self.backend.receive_seconds * 1e9)

    def collective_ns(self, collective: Collective, workers: int) -> int:
        """Processor time (ns) of each worker for a collective operation that is carried out as a whole."""
        if not isinstance(collective, Native):  # whose messages' costs count as delays
            return 0
        return round(2 * (workers - 1) * self.backend.collective_processor_seconds * 1e9)
