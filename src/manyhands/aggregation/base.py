"""What an aggregation is. Torch is imported inside functions, so that a configuration is read without it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from manyhands.errors import UserError
from manyhands.values import Family, Value

if TYPE_CHECKING:
    from torch import Tensor


class Arithmetic(Protocol):
    """What an aggregation needs of its server."""

    vector_bytes: int
    """the account of the memory that vector arithmetic moves"""

    def average(self, tensors: "Sequence[Tensor]", weights: Sequence[float] | None = None) -> "Tensor":
        """The weighted mean of vectors, summed in the order given and put on the account; of one it is that itself."""


@dataclass(frozen=True)
class Aggregation(Value):
    """What a server makes of the vectors that its clients sent, all float32 [n].

    All that is done here works on tensors without values too (torch's device "meta"): who is chosen by values is then
    anybody, since every choice takes as long.
    """

    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""
    linear: ClassVar[bool] = False
    """whether it is a weighted mean with weights known before, so that masked vectors can be added up instead"""
    whole: ClassVar[bool] = False
    """whether it judges a client by all of its vector, so that the vector must not be cut"""

    @property
    def least(self) -> int:
        """How many vectors it needs."""
        return 1

    def check(self, clients: int) -> None:
        """Raise UserError if the vectors of so many clients are too few."""
        if clients < self.least:
            raise UserError(
                f"aggregation {self} needs the updates of at least {self.least} clients, and gets those of {clients}: "
                "have more of them take part, or choose another"
            )

    def weight(self, samples: float) -> float:
        """What a client with so many samples counts: all alike, but in a mean weighted by samples."""
        return 1.0

    def combine(self, vectors: "Sequence[Tensor]", samples: Sequence[float], server: Arithmetic) -> "Tensor":
        """One vector, float32 [n]; it may be one of those given. ``samples``: how many each client holds."""
        raise NotImplementedError

    def combine_replies(
        self, replies: "Sequence[Sequence[Tensor]]", samples: Sequence[float], server: Arithmetic
    ) -> "tuple[Tensor, ...]":
        """Of replies that have several vectors each: joined where a client is judged as a whole."""
        import torch

        if not self.whole or len(replies[0]) == 1:
            return tuple([self.combine(vectors, samples, server) for vectors in zip(*replies, strict=True)])
        joined = [torch.cat(list(reply)) for reply in replies]
        server.vector_bytes += 2 * sum([vector.nbytes for vector in joined])
        return torch.split(self.combine(joined, samples, server), [len(vector) for vector in replies[0]])


AGGREGATIONS: Family[Aggregation] = Family("aggregation", Aggregation)


@AGGREGATIONS.register("mean")
@dataclass(frozen=True)
class Mean(Aggregation):
    """Weighted by the clients' numbers of samples, as in federated averaging."""

    paper = "McMahan et al. 2017, Communication-Efficient Learning of Deep Networks from Decentralized Data"
    url = "https://arxiv.org/abs/1602.05629"
    linear = True

    def weight(self, samples: float) -> float:
        return samples

    def combine(self, vectors: "Sequence[Tensor]", samples: Sequence[float], server: Arithmetic) -> "Tensor":
        return server.average(vectors, samples)


@AGGREGATIONS.register("uniform")
@dataclass(frozen=True)
class UniformMean(Aggregation):
    """All clients weigh alike, whatever they hold: nobody gains by claiming more samples."""

    paper = "Li et al. 2020, On the Convergence of FedAvg on Non-IID Data"
    url = "https://arxiv.org/abs/1907.02189"
    linear = True

    def combine(self, vectors: "Sequence[Tensor]", samples: Sequence[float], server: Arithmetic) -> "Tensor":
        return server.average(vectors)
