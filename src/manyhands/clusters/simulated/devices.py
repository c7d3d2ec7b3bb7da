"""How long computing takes in the simulated cluster: a device's profile, slow nodes, jitter and quotas of a core.

Durations never come from a stopwatch, so that the same seed gives the same times on every machine.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from manyhands import seeds
from manyhands.clusters.simulated.profile import DeviceProfile
from manyhands.clusters.simulated.quota import Quota, together
from manyhands.errors import UserError

_BLOCK = 256  # random numbers drawn at once
SPELL_NS = 500_000_000
"""for how long a core keeps a speed of its own; seen: correlations of 0.7, 0.5 and 0.4 after 0.1, 0.2 and 0.4 s"""

Mark = tuple[int, tuple[int, int, int] | None]
"""what a device has drawn so far, and what is used of its quota"""


class Devices:
    """One device per node: all of one profile, some slower, each with its own jitter.

    cpus: the share of a core that each node may use, as emulated hosts have (`quota.Quota`); 0 for whole cores.
    slow: by rank, how many times as long everything takes there (4.0: four times as long; below 1: faster).
    jitter: σ of the log-normal factor of every duration, with mean 1: exp(σ z - σ² / 2), z standard normal.
    Draw k of node r depends on (seed, r, k) alone, so that ``draws``, how many each node has made so far, and what
    is used of the quotas, is all the state there is to save and restore. A profile's ``speed_spread`` is the σ of
    another such factor, which each core keeps for a spell; emulated hosts share the cores of their machine.
    """

    def __init__(
        self,
        profile: DeviceProfile,
        nodes: int,
        *,
        seed: int,
        slow: Mapping[int, float] | None = None,
        jitter: float = 0.0,
        cpus: float = 0.0,
    ) -> None:
        """Raises UserError where a slow node does not exist, or a factor or the jitter is impossible."""
        factors = dict.fromkeys(range(nodes), 1.0)
        for rank, factor in (slow or {}).items():
            if rank not in factors:
                raise UserError(f"node {rank} cannot be slow: the nodes are 0 to {nodes - 1}")
            if not 0 < factor < math.inf:
                raise UserError(f"node {rank} can be slower by a positive factor, e.g. 4, not by {factor}")
            factors[rank] = factor
        if not 0 <= jitter < math.inf:
            raise UserError(f"the jitter must be zero or positive, e.g. 0.1 for about 10 %, not {jitter}")
        self.profile = profile
        self.factors = tuple(factors.values())
        self._seed = seed
        self._jitter = jitter
        self._draws = [0] * nodes
        self._blocks: dict[tuple[int, str], tuple[int, NDArray[np.float64]]] = {}  # by rank and purpose: the last
        self._cores = int(profile.hardware.get("cores", nodes)) if cpus else nodes
        self._quotas: list[Quota] = []
        self._steady = not (cpus or jitter or profile.speed_spread)  # nothing is left to chance
        if cpus:
            phases = seeds.stream(seed, "quota").random(nodes).tolist()
            warm_up = round(profile.warm_up_seconds * 1e9)
            self._quotas = [
                Quota(cpus / factor, phase, warm_up) for factor, phase in zip(self.factors, phases, strict=True)
            ]

    @property
    def draws(self) -> tuple[int, ...]:
        return tuple(self._draws)

    @property
    def quotas(self) -> list[tuple[int, int, int]]:
        """What is used of each node's quota; empty where there are none."""
        return [quota.used for quota in self._quotas]

    def restore(self, draws: Sequence[int], quotas: Sequence[tuple[int, int, int]] = ()) -> None:
        assert len(draws) == len(self._draws), (len(draws), len(self._draws))
        self._draws = list(draws)
        for quota, used in zip(self._quotas, quotas, strict=True):
            quota.used = (used[0], used[1], used[2])

    def mark(self, rank: int) -> Mark:
        """What there is to know of a node's past; see `rewind`."""
        return self._draws[rank], self._quotas[rank].used if self._quotas else None

    def rewind(self, rank: int, mark: Mark) -> None:
        """What has been asked of a node since does not take place."""
        self._draws[rank], used = mark
        if used is not None:
            self._quotas[rank].used = used

    def duration_ns(self, rank: int, nominal_ns: int, start: int) -> int:
        """How long node `rank` takes, from a time on (ns), for what takes the profile's device `nominal_ns`.

        Makes one draw. Of nodes with quotas, ``start`` must not be before the end of what was asked before.
        """
        draw = self._draws[rank]
        self._draws[rank] += 1
        if self._steady:
            return round(nominal_ns * self.factors[rank])
        chance = self.jitter(rank, draw) * self.speed(rank, start)
        if self._quotas:
            return self._quotas[rank].run(start, round(nominal_ns * self.profile.quota_slowdown * chance)) - start
        return round(nominal_ns * self.factors[rank] * chance)

    def occupy(self, ranks: Sequence[int], work: int, start: int, share: float = 1.0) -> int:
        """When (ns) what nodes do together is done that by itself takes so long (ns), with a share of each one's core.

        Not made longer by slowness or jitter; where nodes have quotas, it counts towards them.
        """
        if not (self._quotas and share):
            return start + work
        return together([self._quotas[rank] for rank in ranks], start, work, share)

    def jitter(self, rank: int, draw: int) -> float:
        """The factor of a node's draw-th duration, whatever has been drawn before."""
        return self._factor(rank, draw, self._jitter, "jitter")

    def speed(self, rank: int, now: int) -> float:
        """The factor of whatever a node begins to compute at a time (ns)."""
        return self._factor(rank % self._cores, now // SPELL_NS, self.profile.speed_spread, "speed")

    def _factor(self, rank: int, draw: int, spread: float, purpose: str) -> float:
        if not spread:
            return 1.0
        number, place = divmod(draw, _BLOCK)
        held, block = self._blocks.get((rank, purpose), (-1, np.empty(0)))
        if held != number:
            normal = seeds.stream(self._seed, rank, purpose, number).standard_normal(_BLOCK)
            block = np.exp(spread * normal - spread**2 / 2)
            self._blocks[rank, purpose] = number, block
        return float(block[place])
