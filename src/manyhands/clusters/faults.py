"""What goes wrong on purpose: clients that attack, and clients that vanish. The same scripts for both clusters.

Who attacks is drawn from the run's seed, once for all faults of a run: a larger share holds a smaller one, and clients
with several faults are the same ones. Torch is imported inside functions, so that a configuration is read without it.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, ClassVar, Literal

from manyhands import seeds
from manyhands.errors import UserError
from manyhands.values import Family, Value

if TYPE_CHECKING:
    from torch import Tensor

    from manyhands.training.sampler import Sampler

Touches = Literal["data", "reply", "presence"]


@dataclass(frozen=True)
class Fault(Value):
    """Something that some of the workers do wrong."""

    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""
    touches: ClassVar[Touches]
    """the samples of a worker, what it sends, or whether it takes part"""

    def ranks(self, workers: int, seed: int) -> list[int]:
        """The workers that do it, of so many; ascending."""
        raise NotImplementedError

    def check(self, workers: int) -> None:
        """Raise UserError if there are no such workers among so many."""

    def corrupt(self, reply: "tuple[Tensor, ...]", *keys: int | str) -> "tuple[Tensor, ...]":
        """What is sent in place of a reply; ``keys``: of random numbers."""
        return reply

    def drops_out(self, *keys: int | str) -> bool:
        """Whether a worker takes no part in a round; ``keys``: of random numbers."""
        return False


FAULTS: Family[Fault] = Family("fault", Fault)


@dataclass(frozen=True)
class Attack(Fault):
    """A share of the workers, or those that are named, do it all the time."""

    share: float = 0.0
    """of the workers, drawn from the run's seed"""
    clients: str = ""
    """their ranks instead, joined by +, as in 0+3"""

    shown: ClassVar[str] = "SHARE"

    def __post_init__(self) -> None:
        if bool(self.share) == bool(self.clients):
            raise UserError("give a share of the clients or name them, as in clients=0+3")
        if not 0 <= self.share <= 1:
            raise UserError(f"share must lie in (0, 1], not {self.share}")
        named(self.clients)

    def ranks(self, workers: int, seed: int) -> list[int]:
        if self.clients:
            return named(self.clients)
        order = seeds.stream(seed, "attackers").permutation(workers).tolist()
        return sorted(order[: round(self.share * workers)])

    def check(self, workers: int) -> None:
        check_named(self, self.clients, workers)
        if not self.clients and not round(self.share * workers):
            raise UserError(f"--faults {self}: a share of {self.share:g} of {workers} clients is nobody")


@FAULTS.register("label-flip")
@dataclass(frozen=True)
class LabelFlip(Attack):
    """The attackers train honestly on wrong labels: y becomes classes - 1 - y, from the start."""

    paper = "Karimireddy, He & Jaggi 2021, Learning from History for Byzantine Robust Optimization"
    url = "https://arxiv.org/abs/2012.10333"
    touches = "data"


@FAULTS.register("sign-flip")
@dataclass(frozen=True)
class SignFlip(Attack):
    """The attackers send -scale times what they should: they go uphill."""

    scale: float = 1.0
    """how much longer than the honest reply"""

    paper = "Li et al. 2019, RSA: Byzantine-Robust Stochastic Aggregation Methods"
    url = "https://arxiv.org/abs/1811.03761"
    touches = "reply"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive("scale", self.scale)

    def corrupt(self, reply: "tuple[Tensor, ...]", *keys: int | str) -> "tuple[Tensor, ...]":
        return tuple([vector * -self.scale for vector in reply])


@FAULTS.register("gaussian")
@dataclass(frozen=True)
class Gaussian(Attack):
    """The attackers send Gaussian noise in place of what they should."""

    std: float = 1.0
    """its standard deviation"""

    paper = "Blanchard et al. 2017, Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent"
    url = "https://arxiv.org/abs/1703.02757"
    touches = "reply"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive("std", self.std)

    def corrupt(self, reply: "tuple[Tensor, ...]", *keys: int | str) -> "tuple[Tensor, ...]":
        return tuple([_noise(vector, self.std, *keys, place) for place, vector in enumerate(reply)])


@FAULTS.register("scaled-update")
@dataclass(frozen=True)
class ScaledUpdate(Attack):
    """The attackers send what they should, many times as long, so that the mean becomes theirs."""

    factor: float = 10.0
    """with as many as the cohort has clients, one attacker takes the place of the mean"""

    paper = "Bagdasaryan et al. 2020, How To Backdoor Federated Learning"
    url = "https://arxiv.org/abs/1807.00459"
    touches = "reply"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive("factor", self.factor)

    def corrupt(self, reply: "tuple[Tensor, ...]", *keys: int | str) -> "tuple[Tensor, ...]":
        return tuple([vector * self.factor for vector in reply])


@FAULTS.register("drop-out")
@dataclass(frozen=True)
class DropOut(Fault):
    """A client vanishes from a round as soon as it was asked, and is back in the next."""

    probability: float
    """for each client and round, by itself"""
    clients: str = ""
    """the ranks of those that can vanish, joined by +, as in 0+3; default: all"""

    touches = "presence"

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise UserError(f"probability must lie in (0, 1], not {self.probability}")
        named(self.clients)

    def ranks(self, workers: int, seed: int) -> list[int]:
        return named(self.clients) or list(range(workers))

    def check(self, workers: int) -> None:
        check_named(self, self.clients, workers)

    def drops_out(self, *keys: int | str) -> bool:
        return bool(seeds.stream(*keys, "drop-out").random() < self.probability)


class Faulty:
    """The part of `manyhands.clusters.node.Node` that goes wrong."""

    rank: int
    seed: int
    sampler: "Sampler | None"
    faults: tuple[Fault, ...]

    def corrupt(self, reply: "tuple[Tensor, ...]") -> "tuple[Tensor, ...]":
        """What this worker sends in place of a reply: that itself, unless it attacks."""
        for fault in self.faults:
            if fault.touches == "reply":
                assert self.sampler is not None, "servers do not attack"
                reply = fault.corrupt(reply, self.seed, self.rank, self.sampler.drawn)  # another number each time
        return reply

    def drops_out(self, number: int) -> bool:
        """Whether a fault keeps this worker from taking part in a round."""
        return any(fault.drops_out(self.seed, self.rank, number) for fault in self.faults)


def by_rank(faults: Sequence[Fault], workers: int, seed: int) -> dict[int, tuple[Fault, ...]]:
    """The faults of each worker that has any."""
    found: defaultdict[int, tuple[Fault, ...]] = defaultdict(tuple)
    for fault in faults:
        for rank in fault.ranks(workers, seed):
            found[rank] += (fault,)
    return dict(found)


def check_faults(faults: Sequence[Fault], strategy: str, admits: Collection[str], workers: int) -> None:
    """Raise UserError if a strategy with so many workers cannot have these faults; ``admits``: what they may touch."""
    for fault in faults:
        fault.check(workers)
        if fault.touches not in admits:
            raise UserError(f"--faults {fault}: {_WHY_NOT[fault.touches].format(strategy)}")


_WHY_NOT = {
    "data": "the workers of {} hold no samples of their own",
    "reply": "the workers of {} have no server to lie to: use a federated strategy or parameter-server",
    "presence": "the workers of {} cannot miss a round: use a federated strategy",
}


def named(clients: str) -> list[int]:
    """The ranks in a text such as ``0+3``, ascending; raises UserError for what is none."""
    words = clients.split("+") if clients else []
    if not all(word.isdecimal() for word in words):
        raise UserError(f"clients takes ranks joined by +, e.g. 0+3, not '{clients}'")
    return sorted(set(map(int, words)))


def check_named(fault: Fault, clients: str, workers: int) -> None:
    """Raise UserError if a client is named that is none of so many workers."""
    if beyond := [rank for rank in named(clients) if rank >= workers]:
        raise UserError(f"--faults {fault} names client {beyond[0]}, but the clients are 0 … {workers - 1}")


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < inf:
        raise UserError(f"{name} must be positive and finite, not {value}")


def _noise(like: "Tensor", std: float, *keys: int | str) -> "Tensor":
    import torch

    if like.is_meta:
        return torch.empty_like(like)
    generator = torch.Generator().manual_seed(seeds.entropy(*keys, "gaussian") >> 65)
    return (torch.randn(like.shape, generator=generator) * std).to(like.device)
