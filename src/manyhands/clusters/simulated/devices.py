"""How long computing takes in the simulated cluster: a device's profile, slow nodes and jitter.

Durations never come from a stopwatch, so that the same seed gives the same times on every machine.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands import seeds
from manyhands.errors import UserError

_BLOCK = 256  # jitters drawn at once


@dataclass(frozen=True, kw_only=True)
class DeviceProfile:
    """What a device can do: a step takes a + b * batch seconds (a: overhead, b: from FLOPs and rate)."""

    name: str
    flops_per_second: float
    overhead_seconds: float
    memory_bytes_per_second: float
    backward_to_forward: float = 2.0
    description: str
    source: str

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is str:
                if not isinstance(value, str):
                    raise UserError(f"{field.name} must be a text, not {value!r}")
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise UserError(f"{field.name} must be a number, not {value!r}")
            may_be_zero = field.name in ("overhead_seconds", "backward_to_forward")
            if not (0 < value < math.inf or (may_be_zero and value == 0)):
                raise UserError(f"{field.name} must be {'zero or ' * may_be_zero}positive, not {value}")

    @classmethod
    def load(cls, name: str) -> "DeviceProfile":
        """Read a shipped profile (``nominal``) or a JSON file (``my/laptop.json``) with this class's fields.

        Raises UserError where there is none, or where it is damaged or has other fields.
        """
        file: Traversable = Path(name)
        if not name.endswith(".json"):
            file = _shipped() / f"{name}.json"
            if not file.is_file():
                names = ", ".join(sorted(other.name.removesuffix(".json") for other in _shipped().iterdir()))
                raise UserError(f"unknown device profile '{name}': choose from {names}, or name a .json file")
        try:
            return cls._of(json.loads(file.read_bytes()))
        except OSError as error:
            raise UserError(f"device profile '{name}' cannot be read: {error.strerror}") from None
        except UserError as error:
            raise UserError(f"device profile '{name}': {error}") from None
        except (ValueError, RecursionError):  # what JSON or UTF-8 is not
            raise UserError(f"device profile '{name}' is damaged: it must be a JSON object") from None

    @classmethod
    def _of(cls, content: Any) -> "DeviceProfile":
        if not isinstance(content, dict):
            raise UserError(f"must be a JSON object, not a {type(content).__name__}")
        known = {field.name: field for field in fields(cls)}
        for key in content:
            if key not in known:
                raise UserError(f"has no '{key}'; it takes {', '.join(known)}")
        for key, field in known.items():
            if field.default is MISSING and key not in content:
                raise UserError(f"needs {key}")
        return cls(**content)

    def step_ns(self, flops_forward_per_sample: float, batch: int) -> int:
        """Time (ns) of forward and backward over a batch: a + b * batch with b = (1 + backward_to_forward) *
        flops / rate, where the backward pass costs twice the forward one unless measured otherwise."""
        flops = (1 + self.backward_to_forward) * flops_forward_per_sample * batch
        return round((self.overhead_seconds + flops / self.flops_per_second) * 1e9)

    def vector_ns(self, size_bytes: float) -> int:
        """Time (ns) of vector work that moves so many bytes to and from memory, reads and writes together."""
        return round(size_bytes / self.memory_bytes_per_second * 1e9)


def _shipped() -> Traversable:
    return resources.files("manyhands.clusters.simulated") / "profiles"


class Devices:
    """One device per node: all of one profile, some slower, each with its own jitter.

    slow: by rank, how many times as long everything takes there (4.0: four times as long; below 1: faster).
    jitter: σ of the log-normal factor of every duration, with mean 1: exp(σ z - σ² / 2), z standard normal.
    Draw k of node r depends on (seed, r, k) alone, so that ``draws``, how many each node has made so far, is
    all the state there is to save and restore.
    """

    def __init__(
        self,
        profile: DeviceProfile,
        nodes: int,
        *,
        seed: int,
        slow: Mapping[int, float] | None = None,
        jitter: float = 0.0,
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
        self._blocks: dict[int, tuple[int, NDArray[np.float64]]] = {}  # by rank: the block last drawn from

    @property
    def draws(self) -> tuple[int, ...]:
        return tuple(self._draws)

    def restore(self, draws: Sequence[int]) -> None:
        assert len(draws) == len(self._draws), (len(draws), len(self._draws))
        self._draws = list(draws)

    def duration_ns(self, rank: int, nominal_ns: int) -> int:
        """How long node `rank` takes for what takes the profile's device `nominal_ns`; makes one draw."""
        draw = self._draws[rank]
        self._draws[rank] += 1
        return round(nominal_ns * self.factors[rank] * self.jitter(rank, draw))

    def jitter(self, rank: int, draw: int) -> float:
        """The factor of a node's draw-th duration, whatever has been drawn before."""
        if not self._jitter:
            return 1.0
        number, place = divmod(draw, _BLOCK)
        held, block = self._blocks.get(rank, (-1, np.empty(0)))
        if held != number:
            normal = seeds.stream(self._seed, rank, "jitter", number).standard_normal(_BLOCK)
            block = np.exp(self._jitter * normal - self._jitter**2 / 2)
            self._blocks[rank] = number, block
        return float(block[place])
