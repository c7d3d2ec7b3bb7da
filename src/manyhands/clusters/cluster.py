"""Where a training runs: the two kinds of cluster and their options. The drivers are imported when they are used."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

from manyhands.clusters.quantities import bytes_per_second, nanoseconds
from manyhands.clusters.spread import Even, Spread
from manyhands.errors import UserError

CLUSTERS: dict[str, type["Cluster"]] = {}


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Base of the kinds of cluster."""

    name: ClassVar[str]
    default_workers: ClassVar[int]

    def check(self, nodes: int) -> None:
        """Raise UserError if so many nodes cannot be on this cluster."""


@dataclass(frozen=True, kw_only=True)
class Simulated(Cluster):
    """All nodes in one process under a virtual clock: real gradients, modelled time, the same bits every time."""

    bandwidth: str = "1Gbit/s"
    """of each host's interface, in each direction"""
    latency: str = "50us"
    """from host to host"""
    profile: str = "nominal"
    """of the devices: a shipped name or a JSON file"""
    slow: tuple[str, ...] = ()
    """nodes that are slower than the profile, as RANK:FACTOR, e.g. 3:4 is a quarter of the speed"""
    jitter: float = 0.0
    """standard deviation of the logarithm of a computation's duration"""
    cpus: float = 0.0
    """share of a core that each node may use, as emulated hosts have; 0: a whole one"""
    threads: int | None = None
    """computations carried out at once; default: one a core. Changes how long it takes, never the result"""
    collectives: Literal["rounds", "messages"] = "rounds"
    """how collective operations are simulated: as a whole, in rounds, or message by message"""
    executor: Literal["auto", "single", "stacked"] = "auto"
    """how local steps are computed: client by client, or of several at once, which models of dense layers gain by"""
    speeds: Spread = Even()
    """factors by which computing takes longer at each worker, drawn from the seed; servers are as the profile has it"""
    links: Spread = Even()
    """factors by which each worker's interface is slower than --cluster.bandwidth, in both directions"""

    name = "simulated"
    default_workers = 8

    def __post_init__(self) -> None:
        bytes_per_second(self.bandwidth)
        nanoseconds(self.latency)
        self.slow_factors()
        if not 0 <= self.jitter < inf:
            raise UserError(f"--cluster.jitter must be zero or more and finite, not {self.jitter}")
        if not 0 <= self.cpus <= 1:
            raise UserError(f"--cluster.cpus must be a share of a core, 0 to 1, not {self.cpus}")
        if self.threads is not None and self.threads < 1:
            raise UserError(f"--cluster.threads must be at least 1, not {self.threads}")

    def slow_factors(self) -> dict[int, float]:
        """The factor by which each slow node is slower."""
        return _slow_factors(self.slow)

    def computing_factors(self, workers: int, seed: int) -> dict[int, float]:
        """The factor by which computing takes longer, of nodes that are not as the profile has it."""
        factors = self.speeds.factors(workers, seed, "speeds")
        return factors | {rank: slow * factors.get(rank, 1.0) for rank, slow in self.slow_factors().items()}

    def link_factors(self, workers: int, seed: int) -> dict[int, float]:
        """The factor by which an interface is slower, of nodes whose is not nominal."""
        return self.links.factors(workers, seed, "links")


@dataclass(frozen=True, kw_only=True)
class Processes(Cluster):
    """One process a node over torch.distributed: Gloo on processors, NCCL on CUDA. Real time, real bytes."""

    port: int = 0
    """on which the processes find each other; 0 takes a free one"""
    interface: str = ""
    """the network interface to use, e.g. eth0; default: loopback, or under torchrun the backend's choice"""
    threads: int = 0
    """intra-operator threads of each process; 0 shares the cores among the processes of a host"""
    timeout: float = 120.0
    """seconds after which a silent peer counts as dead"""
    hosts: int = 0
    """emulate so many hosts on this machine: network namespaces with shaped links (Linux, root); node r is on r % N"""
    network: str = "1Gbit/s"
    """rate of each emulated host's interface, in each direction"""
    delay: str = ""
    """from emulated host to host, besides that of the machine itself, e.g. 5ms; needs a kernel with netem"""
    cpus: float = 0.0
    """cores that each emulated host may use; 0 shares out those of the machine, at most one each"""
    slow: tuple[str, ...] = ()
    """nodes whose emulated hosts get a part of the cores, as RANK:FACTOR, e.g. 3:4 is a quarter"""

    name = "processes"
    default_workers = 2

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise UserError(f"--cluster.port must lie in 0 … 65535, not {self.port}")
        if self.threads < 0:
            raise UserError(f"--cluster.threads must not be negative, but is {self.threads}")
        if not 0 < self.timeout <= 86_400:
            raise UserError(f"--cluster.timeout must be a number of seconds up to a day, 86400, not {self.timeout}")
        self._check_hosts()

    def _check_hosts(self) -> None:
        if self.hosts < 0:
            raise UserError(f"--cluster.hosts must not be negative, but is {self.hosts}")
        for name in ("network", "delay", "cpus", "slow"):
            if not self.hosts and getattr(self, name) != getattr(Processes, name):
                raise UserError(f"--cluster.{name} is for emulated hosts: give --cluster.hosts too, or leave it out")
        if not 0 <= self.cpus < inf:
            raise UserError(f"--cluster.cpus must be zero or more and finite, not {self.cpus}")
        self.slow_factors()
        if self.hosts:
            from manyhands.clusters.processes.hosts import check_count, check_rate

            check_count(self.hosts)
            check_rate(bytes_per_second(self.network))
            if self.delay:
                nanoseconds(self.delay)
            if self.interface:
                raise UserError("--cluster.interface: emulated hosts have their own, leave it out")

    def check(self, nodes: int) -> None:
        if self.hosts > nodes:
            raise UserError(f"--cluster.hosts {self.hosts} is more than the {nodes} nodes: each host needs one")
        if beyond := [rank for rank in self.slow_factors() if rank >= nodes]:
            raise UserError(f"--cluster.slow names node {beyond[0]}, but the nodes are 0 to {nodes - 1}")

    def slow_factors(self) -> dict[int, float]:
        """The factor by which each slow node is slower."""
        return _slow_factors(self.slow)


def _slow_factors(slow: tuple[str, ...]) -> dict[int, float]:
    factors = {}
    for text in slow:
        rank, _, factor = text.partition(":")
        try:
            factors[int(rank)] = float(factor)
        except ValueError:
            raise UserError(f"--cluster.slow takes RANK:FACTOR, e.g. 3:4, not '{text}'") from None
        if not 0 < factors[int(rank)] < inf or int(rank) < 0:
            raise UserError(f"--cluster.slow takes a rank from 0 and a positive factor, not '{text}'")
    return factors


CLUSTERS.update({kind.name: kind for kind in (Simulated, Processes)})
