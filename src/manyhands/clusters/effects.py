"""What a strategy can ask of its cluster: small values, which a node's methods await and every cluster carries out."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

from manyhands.clusters.collectives import Collective
from manyhands.training.sampler import Batch

T = TypeVar("T")
Tensors = tuple[Tensor, ...]
NOTHING = -1
"""the recorded outcome of a look for messages when there was none, and of a claim when all was taken"""


@dataclass(frozen=True, eq=False)
class Effect(Generic[T]):
    """Something that a strategy asks of its cluster; awaiting it gives the answer, of type ``T``."""

    def __await__(self) -> "Generator[Effect[T], T, T]":
        return (yield self)


@dataclass(frozen=True, eq=False)
class Gradient(Effect[Tensor]):
    """The gradient of the loss on a batch at the node's weights, float32 [T]."""

    batch: Batch


@dataclass(frozen=True, eq=False)
class MeanGradient(Effect[Tensor]):
    """The mean over all workers of their gradients on their batches, overlapped with computing them."""

    batch: Batch


@dataclass(frozen=True, eq=False)
class Train(Effect[None]):
    """Local steps, one a batch, with a fresh optimiser: changes the node's weights."""

    batches: Sequence[Batch]


@dataclass(frozen=True, eq=False)
class Send(Effect[None]):
    """Hand a message to the network; does not wait for its arrival. Messages of one pair of nodes stay in order."""

    to: int
    tensors: Tensors
    tag: int = 0


@dataclass(frozen=True, eq=False)
class Message:
    """What arrived. It unpacks like the tuple of its tensors: ``(weights,) = message``."""

    source: int
    tensors: Tensors
    tag: int = 0
    """a number on the envelope, such as a version; not counted in the bytes"""

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.tensors)


@dataclass(frozen=True, eq=False)
class Receive(Effect[Message | None]):
    """The next message from a node, or from any; None when the conductors have finished and none will come."""

    source: int | None


@dataclass(frozen=True, eq=False)
class Poll(Effect[Message | None]):
    """The next message from anybody if one has arrived already, else None at once."""


@dataclass(frozen=True, eq=False)
class Claim(Effect[int | None]):
    """One of ``limit`` numbers from 0 that all workers share out among them; None when all are taken."""

    pool: int
    """each pool has numbers of its own"""
    limit: int


@dataclass(frozen=True, eq=False)
class AllReduce(Effect[Tensor]):
    """The mean over all workers of a tensor that each of them holds."""

    tensor: Tensor
    collective: Collective


@dataclass(frozen=True, eq=False)
class Load(Effect[Tensors]):
    """The samples of a batch themselves, prepared for the model: inputs [b, …] and targets int64 [b]."""

    batch: Batch


@dataclass(frozen=True, eq=False)
class Quiet(Effect[None]):
    """The end of an epoch or round: the cluster comes to rest, is measured and saved off the clock, and goes on."""
