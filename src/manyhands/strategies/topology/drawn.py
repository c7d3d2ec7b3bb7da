"""Topologies that networkx draws. It is imported where it is needed; torch installs it."""

import inspect
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from manyhands.errors import UserError
from manyhands.strategies.topology.base import TOPOLOGIES
from manyhands.strategies.topology.graphs import Arc, Graph, arcs_of


@TOPOLOGIES.register("random-regular")
@dataclass(frozen=True)
class RandomRegular(Graph):
    """A connected graph drawn at random in which everybody has so many neighbours.

    By networkx's ``random_regular_graph``, anew where it falls apart. The seed is the graph's own, not the run's.
    """

    degree: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.degree < 1:
            raise UserError(f"degree must be at least 1, not {self.degree}")

    def arcs(self, size: int) -> list[Arc]:
        import networkx

        self._check_degree(size)
        dense = 2 * self.degree >= size  # drawing would take for ever: draw who does not talk to each other
        degree = size - 1 - self.degree if dense else self.degree
        for attempt in range(1000):
            graph = networkx.random_regular_graph(degree, size, seed=self.seed + attempt * 1_000_003)
            graph = networkx.complement(graph) if dense else graph
            if networkx.is_connected(graph):
                return arcs_of(graph, both_ways=True)
        raise UserError(f"topology {self} is disconnected for {size} workers, however often drawn: use a larger degree")

    def _check_degree(self, size: int) -> None:
        if self.degree >= size:
            raise UserError(f"topology {self} needs more than {self.degree} workers, not {size}")
        if self.degree * size % 2:
            raise UserError(f"topology {self} does not fit {size} workers: workers times degree must be even")
        if self.degree == 1 and size > 2:
            raise UserError(f"topology {self} is disconnected: {size} workers need a degree of at least 2")


@TOPOLOGIES.register("networkx")
@dataclass(frozen=True)
class Networkx(Graph):
    """What a graph generator of networkx makes, called with these arguments in its order.

    ``n`` stands for the number of workers: ``networkx:watts_strogatz_graph,n,4,0.3``, ``networkx:petersen_graph``.
    https://networkx.org/documentation/stable/reference/generators.html
    """

    generator: str
    arguments: tuple[str, ...] = ()
    seed: int = 0
    """for generators that draw at random"""
    directed: bool = False
    """take the edges of a directed graph one way only; else all lead both ways"""

    def arcs(self, size: int) -> list[Arc]:
        graph = self._make(size)
        if len(graph) != size:
            raise UserError(f"topology {self.label} has {len(graph)} nodes, which does not fit {size} workers")
        return arcs_of(graph, both_ways=not (self.directed and graph.is_directed()))

    def _make(self, size: int) -> Any:
        import networkx

        generators = {
            name: made
            for name, made in vars(networkx.generators).items()
            if inspect.isfunction(made) and made.__module__.startswith("networkx.generators.")
        }
        if self.generator not in generators:
            close = get_close_matches(self.generator, generators, 1)
            hint = f"perhaps you meant {close[0]}" if close else "see its list of graph generators"
            raise UserError(f"topology {self.label}: networkx has no generator '{self.generator}'; {hint}")
        generator = generators[self.generator]
        takes = inspect.signature(generator).parameters
        options = {"seed": self.seed} if "seed" in takes else {}
        try:
            graph = generator(*(_argument(text, size) for text in self.arguments), **options)
        except Exception as error:  # whatever a generator makes of arguments that it was not made for
            names = [name for name, each in takes.items() if each.kind == each.POSITIONAL_OR_KEYWORD]
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(
                f"topology {self.label} cannot be made for {size} workers: {self.generator} takes {', '.join(names)}; "
                f"write n for the number of workers ({reason})"
            ) from None
        if not isinstance(graph, networkx.Graph):
            raise UserError(f"topology {self.label}: {self.generator} does not make one graph")
        return graph


def _argument(text: str, size: int) -> Any:
    """A generator's argument: the number of workers, a number, true or false, or a text."""
    words = {"n": size, "true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
