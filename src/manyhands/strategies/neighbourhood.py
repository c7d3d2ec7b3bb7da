"""What strategies have in common whose workers talk to their neighbours in a graph alone."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.strategies.base import Strategy
from manyhands.strategies.topology import Ring, Topology

if TYPE_CHECKING:
    from manyhands.clusters.layout import Layout


@dataclass(frozen=True, kw_only=True)
class Neighbourhood(Strategy):
    """Workers on a graph."""

    topology: Topology = Ring()
    """who talks to whom"""

    def check(self, workers: int) -> None:
        self.topology.check(workers)

    def cycle(self, workers: int) -> int:
        return self.topology.period(workers)

    def quantities(self, layout: "Layout", workers: int, steps: int) -> dict[str, float]:
        cycle = range(self.topology.period(workers))
        sent = sum(len(self.topology.neighbours(rank, workers, step)) for rank in range(workers) for step in cycle)
        return {"d": sent / (workers * len(cycle))}

    def facts(self, workers: int, rounds: int) -> dict[str, float | str]:
        return {"spectral_gap": self.topology.spectral_gap(workers)}
