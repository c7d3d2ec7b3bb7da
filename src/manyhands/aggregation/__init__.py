"""How a server makes one vector of its clients' vectors: means, and what a few liars cannot bend."""

from manyhands.aggregation.base import AGGREGATIONS, Aggregation, Arithmetic, Mean, UniformMean
from manyhands.aggregation.coordinates import Median, TrimmedMean
from manyhands.aggregation.distances import Clipped, GeometricMedian, Krum, MultiKrum

__all__ = [
    "AGGREGATIONS",
    "Aggregation",
    "Arithmetic",
    "Clipped",
    "GeometricMedian",
    "Krum",
    "Mean",
    "Median",
    "MultiKrum",
    "TrimmedMean",
    "UniformMean",
]
