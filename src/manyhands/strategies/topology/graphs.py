"""Topologies that are made as a whole, and one that is given by its edges."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from manyhands.errors import UserError
from manyhands.strategies.topology.base import TOPOLOGIES, Topology

Arc = tuple[int, int]
"""one direction of an edge: from worker, to worker"""
Links = list[list[int]]
"""by rank"""


@dataclass(frozen=True)
class Graph(Topology):
    """A graph that is made as a whole, once for each number of workers."""

    def arcs(self, size: int) -> Collection[Arc]:
        """All edges, those that lead both ways twice; raises UserError where the graph does not fit."""
        raise NotImplementedError

    def check(self, size: int) -> None:
        super().check(size)
        ahead, back = self._links(size)
        for links in (ahead, back):
            apart = set(range(size)) - _reached(links)
            if apart:
                ends = (0, min(apart)) if links is ahead else (min(apart), 0)
                raise UserError(
                    f"topology {self.label} is disconnected: of {size} workers, "
                    f"nothing gets from worker {ends[0]} to worker {ends[1]}"
                )

    def _links(self, size: int) -> tuple[Links, Links]:
        """Where each worker sends to, and where it hears from."""
        return self._kept("links", self._make_links, 0, size, 0)

    def _make_links(self, _: int, size: int, __: int) -> tuple[Links, Links]:
        ahead: Links = [[] for _ in range(size)]
        back: Links = [[] for _ in range(size)]
        for start, end in self.arcs(size):
            ahead[start].append(end)
            back[end].append(start)
        return ahead, back

    def _sends_to(self, rank: int, size: int, phase: int) -> list[int]:
        return self._links(size)[0][rank]

    def _hears_from(self, rank: int, size: int, phase: int) -> list[int]:
        return self._links(size)[1][rank]


@TOPOLOGIES.register("edges")
@dataclass(frozen=True)
class Edges(Graph):
    """The edges themselves: ``edges:0-1,1-2,2>0`` has two that lead both ways, and one from worker 2 to worker 0.

    In a shell, ``>`` wants quotes.
    """

    edges: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.edges:
            raise UserError("there must be at least one edge, such as 0-1")
        for edge in self.edges:
            start, _, end = _split(edge)
            if start == end:
                raise UserError(f"an edge joins two workers, not worker {start} with itself")

    @classmethod
    def of(cls, graph: Any) -> "Edges":
        """The edges of any networkx graph, one way where that is directed.

        Nodes are ranks if they are the numbers from 0 on; else their order in the graph gives the ranks.
        """
        arcs = set(arcs_of(graph, both_ways=not graph.is_directed()))
        both = sorted({(min(arc), max(arc)) for arc in arcs if arc[::-1] in arcs})
        one_way = sorted(arc for arc in arcs if arc[::-1] not in arcs)
        return cls((*(f"{a}-{b}" for a, b in both), *(f"{a}>{b}" for a, b in one_way)))

    @property
    def directed(self) -> bool:
        return self._directed

    def arcs(self, size: int) -> frozenset[Arc]:
        last = max(max(arc) for arc in self._arcs)
        if last >= size:
            raise UserError(f"topology {self.label} names worker {last}: {size} workers are 0 to {size - 1}")
        return self._arcs

    @cached_property
    def _arcs(self) -> frozenset[Arc]:
        arcs = set()
        for edge in self.edges:
            start, way, end = _split(edge)
            arcs |= {(start, end), (end, start)} if way == "-" else {(start, end)}
        return frozenset(arcs)

    @cached_property
    def _directed(self) -> bool:
        return any((end, start) not in self._arcs for start, end in self._arcs)


def _split(edge: str) -> tuple[int, str, int]:
    """Its start, how it is written, and its end."""
    if not (match := re.fullmatch("([0-9]{1,9})([->])([0-9]{1,9})", edge)):
        raise UserError(f"an edge is written 0-1, or 0>1 where it leads one way, not '{edge}'")
    return int(match[1]), match[2], int(match[3])


def arcs_of(graph: Any, both_ways: bool) -> list[Arc]:
    """The edges of a networkx graph between ranks, without loops."""
    nodes = list(graph)
    numbered = set(nodes) == set(range(len(nodes)))
    ranks = {node: node if numbered else place for place, node in enumerate(nodes)}
    arcs = [(ranks[start], ranks[end]) for start, end in graph.edges() if start != end]
    return [*arcs, *((end, start) for start, end in arcs)] if both_ways else arcs


def _reached(links: Sequence[Sequence[int]]) -> set[int]:
    """Whom worker 0 gets to along the links."""
    reached, frontier = {0}, [0]
    while frontier:
        fresh = set(links[frontier.pop()]) - reached
        reached |= fresh
        frontier += fresh
    return reached
