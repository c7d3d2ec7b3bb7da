"""Error feedback: what a message leaves out is added to the next one, so that nothing is lost, only late."""

from dataclasses import replace
from typing import TYPE_CHECKING

from manyhands.compression.base import AllGather, AllReduce, Compression, Memory

if TYPE_CHECKING:
    from torch import Tensor


class Coder:
    """One node's end of a stream of compressed messages.

    With error feedback (Seide et al. 2014; Karimireddy et al. 2019, algorithm 2, https://arxiv.org/abs/1901.09847)::

        p = vector + residual;  send C(p);  residual = p - C(p)

    so all that was decoded and the residual add up to all the vectors. This makes SGD converge with every compression
    that errs by less than the vector itself.

    A coder is made anew for each call. What must last is in ``state``, under keys that begin with the name of the
    stream; ``shapes`` are those of the layers, which together have as many numbers as the vector. The same seed, rank,
    stream, state and vector give the same message.
    """

    def __init__(
        self,
        compression: Compression,
        shapes: tuple[tuple[int, ...], ...],
        state: "dict[str, Tensor]",
        *,
        stream: str,
        seed: int,
        rank: int,
    ) -> None:
        self.compression = compression
        self.memory = Memory(shapes=shapes, state=state, stream=stream, seed=seed, rank=rank)

    def encode(self, vector: "Tensor", *, feedback: bool = True) -> "Tensor":
        """The message for a vector, float32 [n]: one tensor of one dimension, exactly the bytes sent."""
        if self.compression.lossless or not feedback:
            return self.compression.encode(vector, replace(self.memory, feedback=False))
        wanted = self._with_residual(vector)
        payload = self.compression.encode(wanted, self.memory)
        self._keep_residual(wanted, self.compression.decode(payload, self.memory))
        return payload

    def decode(self, payload: "Tensor") -> "Tensor":
        """The vector that a message of any node stands for, float32 [n]; changes no state."""
        return self.compression.decode(payload, self.memory)

    async def mean(self, vector: "Tensor", all_reduce: AllReduce, all_gather: AllGather) -> "Tensor":
        """The mean over all workers of their vectors; all of them must take part, with the same stream."""
        if self.compression.lossless:
            return (await self.compression.mean(vector, self.memory, all_reduce, all_gather))[0]
        wanted = self._with_residual(vector)
        mean, own = await self.compression.mean(wanted, self.memory, all_reduce, all_gather)
        self._keep_residual(wanted, own)
        return mean

    def _with_residual(self, vector: "Tensor") -> "Tensor":
        residual = self.memory.kept("residual")
        return vector if residual is None else vector + residual

    def _keep_residual(self, wanted: "Tensor", sent: "Tensor") -> None:
        self.memory.keep("residual", wanted - sent)
