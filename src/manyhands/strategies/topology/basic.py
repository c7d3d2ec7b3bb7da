"""Topologies that follow from the number of workers alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isqrt, prod

import numpy as np

from manyhands.errors import UserError
from manyhands.strategies.topology.base import TOPOLOGIES, Topology, gap


@dataclass(frozen=True)
class _Symmetric(Topology):
    """A graph that looks the same from every worker, who stand on a cycle, or on a grid that is closed at its ends.

    A Fourier transform of one row of W has all its eigenvalues, as W is a convolution.
    """

    def grid(self, size: int) -> tuple[int, ...]:
        """The lengths of the cycles; the last one's places have successive ranks."""
        return (size,)

    def hops(self, size: int, phase: int) -> Iterable[tuple[int, ...]]:
        """How far away those are to whom a worker sends, along each of the cycles."""
        raise NotImplementedError

    def spectral_gap(self, size: int) -> float:
        spectra = []
        for step in range(self.period(size)):
            mixing, row = self.mixing(0, size, step), np.zeros(size)
            row[list(mixing)] = list(mixing.values())
            spectra.append(np.fft.fftn(row.reshape(self.grid(size))).ravel())
        return gap(prod(spectra, start=np.ones(size)), len(spectra))

    def _sends_to(self, rank: int, size: int, phase: int) -> list[int]:
        return [self._at(rank, size, hop, 1) for hop in self.hops(size, phase)]

    def _hears_from(self, rank: int, size: int, phase: int) -> list[int]:
        return [self._at(rank, size, hop, -1) for hop in self.hops(size, phase)]

    def _at(self, rank: int, size: int, hop: tuple[int, ...], sign: int) -> int:
        """Who is a hop away from ``rank``."""
        found, places = 0, 1
        for length, distance in zip(reversed(self.grid(size)), reversed(hop), strict=True):
            rank, place = divmod(rank, length)
            found += (place + sign * distance) % length * places
            places *= length
        return found


@TOPOLOGIES.register("ring")
@dataclass(frozen=True)
class Ring(_Symmetric):
    """Each worker talks to the one before and the one after it."""

    def hops(self, size: int, phase: int) -> list[tuple[int]]:
        return [(1,), (-1,)]


@TOPOLOGIES.register("torus")
@dataclass(frozen=True)
class Torus(_Symmetric):
    """A grid whose ends are joined: each worker talks to those above, below, left and right of it.

    Ranks go along the rows. Of a prime number of workers, or with one row, it is a ring.
    """

    rows: int = 0
    """0: so many that the grid is as square as it can be"""

    def check(self, size: int) -> None:
        super().check(size)
        if self.rows < 0 or (self.rows and size % self.rows):
            fitting = ", ".join(str(rows) for rows in range(1, size + 1) if size % rows == 0)
            raise UserError(f"topology {self} does not fit {size} workers: rows must be one of {fitting}")

    def grid(self, size: int) -> tuple[int, int]:
        rows = self.rows or max(rows for rows in range(1, isqrt(size) + 1) if size % rows == 0)
        return rows, size // rows

    def hops(self, size: int, phase: int) -> list[tuple[int, int]]:
        return [(0, 1), (0, -1), (1, 0), (-1, 0)]


@TOPOLOGIES.register("star")
@dataclass(frozen=True)
class Star(Topology):
    """Everybody talks to worker 0 alone."""

    def spectral_gap(self, size: int) -> float:
        """1 / size: a leaf listens to the centre with this weight."""
        return 1 / size if size > 2 else 1.0

    def _sends_to(self, rank: int, size: int, phase: int) -> Iterable[int]:
        return range(1, size) if rank == 0 else [0]


@TOPOLOGIES.register("complete")
@dataclass(frozen=True)
class Complete(_Symmetric):
    """Everybody talks to everybody."""

    def hops(self, size: int, phase: int) -> list[tuple[int]]:
        return [(hop,) for hop in range(1, size)]


@TOPOLOGIES.register("exponential")
@dataclass(frozen=True)
class Exponential(_Symmetric):
    """Each worker talks to those 1, 2, 4, … places before and after it: log N neighbours, a gap that stays wide.

    The undirected form of the static exponential graph: Ying et al. 2021, https://arxiv.org/abs/2110.13363
    """

    def hops(self, size: int, phase: int) -> list[tuple[int]]:
        return [(sign << power,) for power in range(_powers(size)) for sign in (1, -1)]


@dataclass(frozen=True)
class _OneWay(_Symmetric):
    """Workers send one way round."""

    @property
    def directed(self) -> bool:
        return True


@TOPOLOGIES.register("one-peer-exponential")
@dataclass(frozen=True)
class OnePeerExponential(_OneWay):
    """Each worker sends to one other: the next, in the next step the one 2 places on, then 4, …, and then anew.

    Where the number of workers is a power of two, a period of halving averages exactly: the gap is 1.
    Assran et al. 2019, https://arxiv.org/abs/1811.10792; Ying et al. 2021, https://arxiv.org/abs/2110.13363
    """

    def period(self, size: int) -> int:
        return _powers(size)

    def hops(self, size: int, phase: int) -> list[tuple[int]]:
        return [(1 << phase,)]


@TOPOLOGIES.register("directed-ring")
@dataclass(frozen=True)
class DirectedRing(_OneWay):
    """Each worker sends to the one after it."""

    def hops(self, size: int, phase: int) -> list[tuple[int]]:
        return [(1,)]


@TOPOLOGIES.register("directed-exponential")
@dataclass(frozen=True)
class DirectedExponential(_OneWay):
    """Each worker sends to those 1, 2, 4, … places after it: the static exponential graph of Ying et al. 2021."""

    def hops(self, size: int, phase: int) -> list[tuple[int]]:
        return [(1 << power,) for power in range(_powers(size))]


def _powers(size: int) -> int:
    """How many powers of two, from 1 on, are smaller than ``size``; at least one."""
    return max(1, (size - 1).bit_length())
