"""Who talks to whom: graphs over the workers, with the weights by which neighbours average."""

from manyhands.strategies.topology.base import TOPOLOGIES, Topology
from manyhands.strategies.topology.basic import (
    Complete,
    DirectedExponential,
    DirectedRing,
    Exponential,
    OnePeerExponential,
    Ring,
    Star,
    Torus,
)
from manyhands.strategies.topology.drawn import Networkx, RandomRegular
from manyhands.strategies.topology.graphs import Edges

__all__ = [
    "TOPOLOGIES",
    "Complete",
    "DirectedExponential",
    "DirectedRing",
    "Edges",
    "Exponential",
    "Networkx",
    "OnePeerExponential",
    "RandomRegular",
    "Ring",
    "Star",
    "Topology",
    "Torus",
]
