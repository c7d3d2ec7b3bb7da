"""What communication costs in the simulated cluster: the network's rates and latencies, and the backend's share."""

from dataclasses import dataclass

from manyhands.clusters.collectives import Collective, Native
from manyhands.clusters.simulated.network import Network
from manyhands.clusters.simulated.profile import Backend


@dataclass(frozen=True)
class Costs:
    """``bandwidth``: of each host's interface, in each direction, headers included (bytes/s); ``latency`` of the
    network from host to host (ns)."""

    backend: Backend
    bandwidth: float
    latency: int

    def network(self, hosts: int) -> Network:
        """As a message meets it."""
        return self._star(hosts, self.backend.latency_seconds)

    def network_of(self, collective: Collective, hosts: int) -> Network:
        """As a step of a collective operation meets it that is carried out as a whole."""
        backend = self.backend
        if isinstance(collective, Native):
            return self._star(hosts, backend.collective_seconds)
        return self._star(hosts, backend.latency_seconds + backend.send_seconds + backend.receive_seconds)

    def _star(self, hosts: int, more: float) -> Network:
        return Network.star(hosts, self.bandwidth * self.backend.efficiency, self.latency + round(more * 1e9))

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
