"""What a strategy can ask of its cluster: small values, which a node's methods await and every cluster carries out."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

from manyhands.clusters.collectives import Collective
from manyhands.training.contrast import Contrast
from manyhands.training.objective import PLAIN, Objective
from manyhands.training.sampler import Batch

T = TypeVar("T")
Tensors = tuple[Tensor, ...]
NOTHING = -1
"""the recorded outcome of a look for messages when there was none, of a wait that ended before one came, and of a claim
when all was taken; the number of a job that has none"""


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
class Train(Effect[bool]):
    """Local steps, one a batch, with a fresh optimiser: changes the node's weights. False if they were halted."""

    batches: Sequence[Batch]
    objective: Objective = PLAIN
    job: int = NOTHING
    """by which they can be halted; NOTHING: they cannot"""
    contrast: Contrast | None = None
    """a term of the loss that compares what models make of the samples"""


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
    """The next message from a node, or from any; None when the conductors have finished and none will come.

    From any it can be waited for up to a time: then None is answered where none has come before.
    """

    source: int | None
    until: float | None = None
    """seconds on the cluster's clock; None: for as long as it takes"""


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
class Halt(Effect[None]):
    """Tell nodes to leave off the local steps of a job after the batch in progress; does not wait for it.

    Who has not begun them does not begin; who is through with them has nothing to leave off.
    """

    ranks: Sequence[int]
    job: int


@dataclass(frozen=True, eq=False)
class Now(Effect[float]):
    """What the cluster's clock shows, in seconds."""


@dataclass(frozen=True, eq=False)
class Sleep(Effect[None]):
    """Do nothing for a while."""

    seconds: float


@dataclass(frozen=True, eq=False)
class Quiet(Effect[None]):
    """The end of an epoch or round: the cluster comes to rest, is measured and saved off the clock, and goes on."""
