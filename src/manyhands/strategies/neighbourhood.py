"""What strategies have in common whose workers talk to their neighbours in a graph alone."""

from dataclasses import dataclass

from manyhands.strategies.base import Strategy
from manyhands.strategies.topology import Ring, Topology


@dataclass(frozen=True, kw_only=True)
class Neighbourhood(Strategy):
    """Workers on a graph."""

    topology: Topology = Ring()
    """who talks to whom"""

    def check(self, workers: int) -> None:
        self.topology.check(workers)

    def cycle(self, workers: int) -> int:
        return self.topology.period(workers)

    def facts(self, workers: int, rounds: int) -> dict[str, float | str]:
        return {"spectral_gap": self.topology.spectral_gap(workers)}
