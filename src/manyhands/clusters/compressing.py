"""What a node does with what it sends and receives where a strategy compresses it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

from manyhands.clusters.collectives import Collective, Native
from manyhands.clusters.layout import Layout
from manyhands.compression import Coder, Compression, Uncompressed
from manyhands.runs.trace import Kind

NATIVE = Native()


class Compressing:
    """The part of `manyhands.clusters.node.Node` that compresses."""

    rank: int
    seed: int
    layout: Layout
    compression: Compression
    state: dict[str, Tensor]
    vector_bytes: int
    compression_bytes: int
    arithmetic: Kind
    lap: Callable[[], object]

    async def all_reduce(self, tensor: Tensor, collective: Collective = NATIVE) -> Tensor:
        raise NotImplementedError

    async def all_gather(self, tensor: Tensor) -> list[Tensor]:
        raise NotImplementedError

    def compress(self, vector: Tensor, stream: str = "update") -> Tensor:
        """What to send in place of an update; what it leaves out is added to the next one of the same stream."""
        if isinstance(self.compression, Uncompressed):
            return vector
        with self._compressing(4 * vector.nbytes):
            return self._coder(stream, vector.numel()).encode(vector)

    def decompress(self, payload: Tensor, size: int) -> Tensor:
        """The vector of ``size`` numbers, float32, that was sent as this payload."""
        if isinstance(self.compression, Uncompressed):
            return payload
        with self._compressing(2 * 4 * size):
            return self._coder("received", size).decode(payload)

    def encode(self, vector: Tensor) -> Tensor:
        """What to send in place of a vector that is no update, such as whole weights: nothing is made up for later."""
        if isinstance(self.compression, Uncompressed):
            return vector
        with self._compressing(2 * vector.nbytes):
            return self._coder("vector", vector.numel()).encode(vector, feedback=False)

    async def mean(self, vector: Tensor, collective: Collective = NATIVE, stream: str = "update") -> Tensor:
        """The mean over all workers of their updates, each compressed on its way."""
        if isinstance(self.compression, Uncompressed):
            return await self.all_reduce(vector, collective)

        async def all_reduce(part: Tensor) -> Tensor:
            return await self.all_reduce(part, collective)

        with self._compressing(6 * vector.nbytes):
            return await self._coder(stream, vector.numel()).mean(vector, all_reduce, self.all_gather)

    @contextmanager
    def _compressing(self, traffic: int) -> Iterator[None]:
        """What the node computes meanwhile is booked as compression; of vectors it moves so many bytes."""
        self.lap()
        self.arithmetic = "compression"
        self.vector_bytes += traffic
        self.compression_bytes += traffic
        try:
            yield
        finally:
            self.lap()
            self.arithmetic = "compute"

    def _coder(self, stream: str, size: int) -> Coder:
        shapes = self.layout.layers(size)
        return Coder(self.compression, shapes, self.state, stream=stream, seed=self.seed, rank=self.rank)
