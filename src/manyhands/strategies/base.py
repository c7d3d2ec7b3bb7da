"""What every way of training together has in common, and the register of them all."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import ceil
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar, get_type_hints

from manyhands.errors import UserError
from manyhands.values import read

if TYPE_CHECKING:
    from manyhands.clusters.node import Node

STRATEGIES: dict[str, type["Strategy"]] = {}

S = TypeVar("S", bound="type[Strategy]")


def register(name: str) -> Callable[[S], S]:
    """Give a strategy the name by which the command line, run folders and the conformance table know it."""

    def add(strategy: S) -> S:
        strategy.name = name
        STRATEGIES[name] = strategy
        return strategy

    return add


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """How the nodes of a cluster train together: one coroutine for each role, which sees nothing but its node.

    A strategy without servers *conducts* itself: every worker loops over ``node.batches()`` or ``node.epochs()``.
    With servers, these conduct, by ``node.epochs()`` or ``node.rounds()``, and the workers answer what arrives.
    Local variables do not outlive an epoch or round: what must, lives in ``node.weights`` and ``node.state``.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    url: ClassVar[str]
    unit: ClassVar[Literal["epoch", "round"]] = "epoch"
    servers: ClassVar[int] = 0

    def __str__(self) -> str:
        """The name and what differs from the defaults: ``gossip:topology=complete``."""
        options = [
            f"{option.name}={getattr(self, option.name)}"
            for option in fields(self)
            if getattr(self, option.name) != option.default
        ]
        return f"{self.name}:{','.join(options)}" if options else self.name

    @property
    def synchronous(self) -> bool:
        """Whether the result does not depend on the order in which messages arrive."""
        return True

    def check(self, workers: int) -> None:
        """Raise UserError if the strategy cannot work with so many workers."""

    def rounds(self, epochs: int) -> int:
        """How many of the strategy's units (epochs, or rounds) draw as many samples as ``epochs`` passes."""
        return ceil(epochs / self.epochs_per_round())

    def epochs_per_round(self) -> float:
        """Passes over all training data in one of the strategy's units, in expectation."""
        return 1.0

    async def worker(self, node: "Node") -> None:
        raise NotImplementedError

    async def server(self, node: "Node") -> None:
        raise NotImplementedError


def parse_strategy(text: str) -> Strategy:
    """The inverse of ``str``: a name, then options as ``option=value``; raises UserError for what does not exist."""
    name, _, rest = text.strip().partition(":")
    if name not in STRATEGIES:
        raise UserError(f"unknown strategy '{name}': choose from {', '.join(STRATEGIES)}")
    kinds = get_type_hints(STRATEGIES[name])
    options = {option.name: kinds[option.name] for option in fields(STRATEGIES[name])}
    values = {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        key = key.replace("-", "_")
        if key not in options:
            raise UserError(f"strategy {name} has no option '{key}'; it takes {', '.join(options) or 'none'}")
        values[key] = read(key, options[key], value)
    return STRATEGIES[name](**values)


def positive(strategy: str, option: str, value: float) -> None:
    """Raise UserError unless the option's value is above zero."""
    if not value > 0:
        raise UserError(f"--strategy.{option.replace('_', '-')} of {strategy} must be positive, not {value}")
