"""What a compression is, and what it may remember from one message to the next.

This module and its neighbours import torch inside functions, so that a configuration is read without it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

from manyhands import seeds
from manyhands.values import Family, Value

if TYPE_CHECKING:
    from torch import Tensor

AllReduce = Callable[["Tensor"], Awaitable["Tensor"]]
"""the mean over all workers of a tensor that each of them holds"""
AllGather = Callable[["Tensor"], Awaitable["list[Tensor]"]]
"""the tensors of all workers, in the order of their ranks"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Memory:
    """What a node knows beside the vector itself. It is made anew for each call; only ``state`` lasts."""

    shapes: tuple[tuple[int, ...], ...]
    """of the layers in the vector, in their order"""
    state: "dict[str, Tensor]"
    """what lasts, under keys that begin with the stream's name"""
    stream: str
    """the purpose of the messages: each has a state and random numbers of its own"""
    seed: int
    rank: int
    feedback: bool = True
    """whether what a message leaves out is added to the next one"""

    @property
    def size(self) -> int:
        """How many numbers the vector has."""
        return sum(map(prod, self.shapes))

    def kept(self, name: str) -> "Tensor | None":
        return self.state.get(f"{self.stream}/{name}")

    def keep(self, name: str, value: "Tensor") -> None:
        self.state[f"{self.stream}/{name}"] = value

    def draw(self, *, shared: bool = False) -> int:
        """A random number of 63 bits; the next call gives another one.

        It depends on the seed, the stream, how many of its kind were drawn before and, unless ``shared``, on the rank.
        """
        import torch

        who = "all" if shared else self.rank
        counter = "shared-draws" if shared else "draws"
        kept = self.kept(counter)
        count = 0 if kept is None else int(kept)
        self.keep(counter, torch.tensor([count + 1]))
        return seeds.entropy(self.seed, "compression", self.stream, who, count) >> 65

    def uniform(self, like: "Tensor") -> "Tensor":
        """Random numbers in [0, 1), of a tensor's shape, on its device; each node has its own."""
        import torch

        if like.is_meta:
            return torch.empty_like(like)
        generator = torch.Generator(like.device).manual_seed(self.draw())
        return torch.rand(like.shape, generator=generator, device=like.device)

    def shared_normal(self, count: int, like: "Tensor") -> "Tensor":
        """Random numbers from the standard normal distribution, float32 [count], the same at every node."""
        import torch

        if like.is_meta:
            return like.new_empty(count)
        generator = torch.Generator().manual_seed(self.draw(shared=True))  # all devices must draw the same
        return torch.randn(count, generator=generator).to(like.device)


@dataclass(frozen=True)
class Compression(Value):
    """How a vector, float32 [n], becomes a shorter message.

    A message is one tensor of one dimension: exactly the bytes that are sent, n and the layers' shapes apart, which the
    receiver knows. All that is done here works on tensors without values too (torch's device "meta").
    """

    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""
    lossless: ClassVar[bool] = False
    """whether nothing is ever left out, so that there is nothing to feed back"""
    whole: ClassVar[bool] = False
    """whether it works on whole layers, so that a part of the vector that cuts them cannot be compressed"""

    @property
    def dense(self) -> bool:
        """Whether what arrives is near any vector that was sent, so that even weights can be sent like this."""
        return False

    def check(self, size: int) -> None:
        """Raise UserError if a vector of so many numbers cannot be compressed like this."""

    def encode(self, vector: "Tensor", memory: Memory) -> "Tensor":
        """The message for a vector."""
        raise NotImplementedError

    def decode(self, payload: "Tensor", memory: Memory) -> "Tensor":
        """The vector that a message stands for, float32 [n]. It needs nothing of the sender's state."""
        raise NotImplementedError

    async def mean(
        self, vector: "Tensor", memory: Memory, all_reduce: AllReduce, all_gather: AllGather
    ) -> "tuple[Tensor, Tensor]":
        """The mean over all workers, and what became of this worker's own vector in it.

        The workers' own shares have the mean as their mean. Here every worker hears every message, and decodes it;
        those whose messages can be added up override this.
        """
        payload = self.encode(vector, memory)
        own = self.decode(payload, memory)
        payloads = await all_gather(payload)
        total = own.new_zeros(len(own))
        for each in payloads:
            total += self.decode(each, memory)
        return total.div_(len(payloads)), own


COMPRESSIONS: Family[Compression] = Family("compression", Compression)


@COMPRESSIONS.register("none")
@dataclass(frozen=True)
class Uncompressed(Compression):
    """Every number as it is: 4n bytes."""

    lossless = True
    dense = True

    def encode(self, vector: "Tensor", memory: Memory) -> "Tensor":
        return vector

    def decode(self, payload: "Tensor", memory: Memory) -> "Tensor":
        return payload

    async def mean(
        self, vector: "Tensor", memory: Memory, all_reduce: AllReduce, all_gather: AllGather
    ) -> "tuple[Tensor, Tensor]":
        return await all_reduce(vector), vector
