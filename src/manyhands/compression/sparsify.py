"""A few of the numbers alone: the largest ones, or some at random."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands import seeds
from manyhands.compression.base import COMPRESSIONS, AllGather, AllReduce, Compression, Memory
from manyhands.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Sparse(Compression):
    """k of the n numbers arrive as they are, zeros in the place of the others."""

    k: int | float
    """a whole number of entries, or a share of all, above 0 and up to 1.0"""

    def __post_init__(self) -> None:
        if isinstance(self.k, int) and self.k < 1:
            raise UserError(f"k must be at least 1, not {self.k}")
        if isinstance(self.k, float) and not 0 < self.k <= 1:
            raise UserError(f"k must be a whole number, or a share above 0 and up to 1.0, not {self.k}")

    def check(self, size: int) -> None:
        if self.k > size:
            raise UserError(f"compression {self}: there are {size:,} numbers; k must be at most {size}, or a share")

    def entries(self, size: int) -> int:
        """How many of so many numbers are sent: at least one; of a part that has fewer than k, all."""
        return min(size, max(1, round(self.k * size)) if isinstance(self.k, float) else self.k)


@COMPRESSIONS.register("top-k")
@dataclass(frozen=True)
class TopK(Sparse):
    """The k numbers of largest magnitude, each with its place: 8k bytes."""

    paper = "Aji & Heafield 2017, Sparse Communication for Distributed Gradient Descent"
    url = "https://arxiv.org/abs/1704.05021"

    def encode(self, vector: "Tensor", memory: Memory) -> "Tensor":
        import torch

        places = vector.abs().topk(self.entries(len(vector)), sorted=False).indices
        return torch.cat([places.to(torch.int32), vector[places].view(torch.int32)])

    def decode(self, payload: "Tensor", memory: Memory) -> "Tensor":
        import torch

        places, values = payload.tensor_split(2)
        return _scatter(values.view(torch.float32), places.long(), memory.size)


@COMPRESSIONS.register("random-k")
@dataclass(frozen=True)
class RandomK(Sparse):
    """k numbers at random places, which the receiver draws again.

    The places of a mean are the same at all workers, so that their messages can be added up: 4k bytes. A message to a
    single node carries the 8 bytes from which its places are drawn: 4k + 8. What arrives is not scaled up by n / k:
    error feedback brings the rest later.
    """

    paper = "Stich et al. 2018, Sparsified SGD with Memory"
    url = "https://arxiv.org/abs/1809.07599"

    def encode(self, vector: "Tensor", memory: Memory) -> "Tensor":
        import torch

        number = _number(memory, vector)
        values = vector[self._places(number, len(vector))]
        return torch.cat([number.view(torch.int32), values.view(torch.int32)])

    def decode(self, payload: "Tensor", memory: Memory) -> "Tensor":
        import torch

        number, values = payload[:2].clone().view(torch.int64), payload[2:].view(torch.float32)
        return _scatter(values, self._places(number, memory.size), memory.size)

    async def mean(
        self, vector: "Tensor", memory: Memory, all_reduce: AllReduce, all_gather: AllGather
    ) -> "tuple[Tensor, Tensor]":
        places = self._places(_number(memory, vector, shared=True), len(vector))
        values = vector[places]
        mean = await all_reduce(values)
        return _scatter(mean, places, len(vector)), _scatter(values, places, len(vector))

    def _places(self, number: "Tensor", size: int) -> "Tensor":
        """The places that all who know this number draw alike, int64 [k]."""
        import torch

        count = self.entries(size)
        if number.is_meta:
            return number.new_empty(count)
        drawn = seeds.stream("places", int(number)).choice(size, count, replace=False, shuffle=False)
        return torch.from_numpy(drawn).to(number.device)


def _number(memory: Memory, like: "Tensor", *, shared: bool = False) -> "Tensor":
    """A random number for drawing places, int64 [1], on a tensor's device."""
    import torch

    if like.is_meta:
        return like.new_empty(1, dtype=torch.int64)
    return torch.tensor([memory.draw(shared=shared)], device=like.device)


def _scatter(values: "Tensor", places: "Tensor", size: int) -> "Tensor":
    """A vector of so many zeros, but for these values at their places."""
    vector = values.new_zeros(size)
    vector[places] = values
    return vector
