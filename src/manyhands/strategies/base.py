"""What every way of training together has in common, and the register of them all."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from inspect import cleandoc
from math import ceil
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar, get_type_hints

from manyhands.compression import Compression, Uncompressed
from manyhands.errors import UserError
from manyhands.values import read, write

if TYPE_CHECKING:
    from torch import Tensor

    from manyhands.clusters.layout import Layout
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
    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""
    unit: ClassVar[Literal["epoch", "round"]] = "epoch"
    default_optimizer: ClassVar[str] = "sgd"
    """the name of the optimiser of local steps, where the run does not choose one"""
    followers_keep_weights: ClassVar[bool] = False
    """whether workers that answer a server have weights of their own, which a checkpoint must keep"""
    steps_locally: ClassVar[bool] = True
    """of strategies with rounds: whether clients take steps of their own, so that what these lead to is worth a test"""
    pools_data: ClassVar[bool] = False
    """whether the first worker holds the samples of all, and draws the batches of all"""
    admits: ClassVar[frozenset[str]] = frozenset({"data"})
    """what a fault may touch (`manyhands.clusters.faults.Touches`)"""

    compression: Compression = Uncompressed()
    """of the updates that are sent, with error feedback"""

    def __str__(self) -> str:
        """The name and what differs from the defaults: ``gossip:topology=complete``."""
        options = [
            f"{option.name}={write(getattr(self, option.name))}"
            for option in fields(self)
            if getattr(self, option.name) != option.default
        ]
        return f"{self.name}:{','.join(options)}" if options else self.name

    @property
    def sends(self) -> str:
        """The bytes that a node sends, as `manyhands.strategies.formula` reads them; empty if it does not say.

        Of a training without compression, deadlines, drop-outs and secure aggregation.
        """
        return ""

    def quantities(self, layout: "Layout", workers: int, steps: int) -> dict[str, float]:
        """The values of those symbols in ``sends`` that are the strategy's own, with so many steps in an epoch."""
        return {}

    def method(self) -> dict[str, str]:
        """What the strategy is, where it comes from and what it sends; without what it does not say."""
        about = cleandoc(self.__doc__ or "").partition("\n")[0].replace("``", "")
        facts = {"about": about, "paper": self.paper, "url": self.url, "sends": self.sends}
        return {key: value for key, value in facts.items() if value}

    @property
    def servers(self) -> int:
        """How many nodes there are beside the workers."""
        return 0

    def conductors(self, workers: range, servers: range) -> range:
        """The nodes whose loops drive the training, and whose mean weights are its result."""
        return servers or workers

    @property
    def sharded(self) -> bool:
        """Whether each server holds a part of the weights, instead of all of them."""
        return False

    @property
    def synchronous(self) -> bool:
        """Whether the result does not depend on the order in which messages arrive."""
        return True

    @property
    def polls(self) -> bool:
        """Whether its nodes look for messages without waiting for them, or wait for them up to a time."""
        return False

    def check(self, workers: int) -> None:
        """Raise UserError if the strategy cannot work with so many workers."""

    def fit(self, parameters: int) -> None:
        """Raise UserError if the strategy cannot work with a model of so many trainable parameters."""
        self.compression.check(parameters)

    def fit_layers(self, layout: "Layout") -> None:
        """Raise UserError if the strategy cannot work with a model of these layers."""

    def personal(self, layout: "Layout") -> "Tensor | None":
        """Which of the weights stay with each worker, bool [P]; None: none do.

        A worker keeps its own in ``node.state["personal"]``, in the order in which they stand in the weights, once it
        has trained; before that they are those that all nodes began with.
        """
        return None

    def facts(self, workers: int, rounds: int) -> dict[str, float | str]:
        """What is known of the strategy before it runs, by name, such as the spectral gap of its topology.

        ``rounds``: how many of its units, epochs or rounds, the training lasts.
        """
        return {}

    def rounds(self, epochs: int) -> int:
        """How many of the strategy's units (epochs, or rounds) draw as many samples as ``epochs`` passes."""
        return ceil(epochs / self.epochs_per_round())

    def epochs_per_round(self) -> float:
        """Passes over all training data in one of the strategy's units, in expectation."""
        return 1.0

    def cycle(self, workers: int) -> int:
        """After how many steps what its nodes do begins again; what they do once an epoch does not count."""
        return 1

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
    for part in _options(rest, options):
        key, _, value = part.partition("=")
        key = key.replace("-", "_")
        if key not in options:
            raise UserError(f"strategy {name} has no option '{key}'; it takes {', '.join(options) or 'none'}")
        values[key] = read(key, options[key], value)
    return STRATEGIES[name](**values)


def _options(text: str, names: Collection[str]) -> list[str]:
    """``option=value`` parts; what follows a comma but names no option belongs to the value before it.

    So ``topology=random-regular:3,seed=5`` is one part.
    """
    parts: list[str] = []
    for word in filter(None, text.split(",")):
        key = word.partition("=")[0].replace("-", "_")
        if parts and key not in names and ":" in parts[-1]:
            parts[-1] += f",{word}"
        else:
            parts.append(word)
    return parts


def positive(strategy: str, option: str, value: float) -> None:
    """Raise UserError unless the option's value is above zero."""
    if not value > 0:
        raise UserError(f"--strategy.{option.replace('_', '-')} of {strategy} must be positive, not {value}")


def dense_alone(strategy: Strategy, why: str) -> None:
    """Raise UserError if the strategy's compression leaves numbers out, where error feedback cannot make up for it."""
    if not strategy.compression.dense:
        raise UserError(f"{strategy.name} cannot use {strategy.compression}: {why}; use bf16, int8 or qsgd:255")
