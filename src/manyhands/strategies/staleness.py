"""How much less a client's update counts the more others came before it."""

from dataclasses import dataclass

from manyhands.errors import UserError
from manyhands.values import Family, Value


@dataclass(frozen=True)
class Staleness(Value):
    """A factor s(u) on an update that was computed at weights u versions old: 1 for none, and falling.

    The functions of section 5.2 of Xie et al. 2019, https://arxiv.org/abs/1903.03934.
    """

    def factor(self, versions: int) -> float:
        """s(u), above 0 and at most 1."""
        raise NotImplementedError


STALENESS: Family[Staleness] = Family("staleness", Staleness)


@STALENESS.register("constant")
@dataclass(frozen=True)
class Constant(Staleness):
    """s(u) = 1."""

    def factor(self, versions: int) -> float:
        return 1.0


@STALENESS.register("polynomial")
@dataclass(frozen=True)
class Polynomial(Staleness):
    """s(u) = (1 + u)^−a."""

    a: float = 0.5

    def __post_init__(self) -> None:
        _check("a", self.a)

    def factor(self, versions: int) -> float:
        return float((1 + versions) ** -self.a)


@STALENESS.register("hinge")
@dataclass(frozen=True)
class Hinge(Staleness):
    """s(u) = 1 up to b versions, and 1 / (a · (u − b) + 1) beyond."""

    a: float = 10.0
    b: float = 4.0

    def __post_init__(self) -> None:
        _check("a", self.a)
        _check("b", self.b)

    def factor(self, versions: int) -> float:
        return 1 / (self.a * max(0.0, versions - self.b) + 1)


def _check(name: str, value: float) -> None:
    if not value >= 0:
        raise UserError(f"{name} must be zero or more, not {value}")
