"""How clients differ in what they can do: by which factor each takes longer than the nominal one."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

import numpy as np

from manyhands import seeds
from manyhands.errors import UserError
from manyhands.values import Family, Value


@dataclass(frozen=True)
class Spread(Value):
    """A factor for each client: 4 takes four times as long, 0.5 half as long."""

    def factors(self, clients: int, seed: int, purpose: str) -> dict[int, float]:
        """By rank, of those that are not nominal; the same for the same seed and purpose. Raises UserError."""
        return dict(enumerate(map(float, self._draw(clients, seeds.stream(seed, purpose)))))

    def _draw(self, clients: int, rng: np.random.Generator) -> Sequence[float] | np.ndarray:
        raise NotImplementedError


SPREADS: Family[Spread] = Family("spread", Spread)


@SPREADS.register("even")
@dataclass(frozen=True)
class Even(Spread):
    """All alike."""

    def factors(self, clients: int, seed: int, purpose: str) -> dict[int, float]:
        return {}


@SPREADS.register("lognormal")
@dataclass(frozen=True)
class LogNormal(Spread):
    """exp(σ z), z standard normal: half of the clients are faster than the nominal one, and a few much slower."""

    sigma: float
    """0.5: one in six takes more than 1.65 times as long, and as many less than 0.61 times"""

    def __post_init__(self) -> None:
        if not 0 < self.sigma < inf:
            raise UserError(f"sigma must be positive and finite, not {self.sigma}")

    def _draw(self, clients: int, rng: np.random.Generator) -> np.ndarray:
        return np.exp(self.sigma * rng.standard_normal(clients))


@SPREADS.register("uniform")
@dataclass(frozen=True)
class UniformSpread(Spread):
    """Any factor between two, all as likely."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high < inf:
            raise UserError(f"factors must be positive and finite, the lower one first, not {self.low},{self.high}")

    def _draw(self, clients: int, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(self.low, self.high, clients)


@SPREADS.register("file")
@dataclass(frozen=True)
class Listed(Spread):
    """The factors in a file: a JSON list of numbers, of client 0, 1, …; more than there are clients do no harm."""

    path: str

    def _draw(self, clients: int, rng: np.random.Generator) -> list[float]:
        try:
            factors = json.loads(Path(self.path).read_bytes())
        except OSError as error:
            raise UserError(f"spread '{self}' cannot be read: {error.strerror}") from None
        except (ValueError, RecursionError):  # what JSON or UTF-8 is not
            factors = None
        if not (isinstance(factors, list) and all(type(each) in (int, float) for each in factors)):
            raise UserError(f"spread '{self}' is damaged: it must be a JSON list of numbers, e.g. [1, 4, 0.5]")
        if bad := [each for each in factors if not 0 < each < inf]:
            raise UserError(f"spread '{self}': factors must be positive and finite, not {bad[0]}")
        if len(factors) < clients:
            raise UserError(f"spread '{self}' has {len(factors)} factors for {clients} clients")
        return factors[:clients]
