"""Several workers that agree on means, without a cluster."""

from collections.abc import Coroutine, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from manyhands.compression import COMPRESSIONS, Coder

SHAPES = ((6, 4, 2), (5,), (3, 9), (2, 2), (7,), (1, 4))
"""two matrices worth factorising, and other tensors"""
SIZE = sum(map(prod, SHAPES))
LOSSY = (
    *("bf16", "int8", "int8:5", "qsgd:1", "qsgd:7,16", "qsgd:300", "sign", "top-k:1", "top-k:0.2", "random-k:3"),
    *("random-k:0.5", "powersgd:1", "powersgd:2"),
)
LOSSLESS = (f"top-k:{SIZE}", "top-k:1.0", f"random-k:{SIZE}", "random-k:1.0", "powersgd:9")
ALL = ("none", *LOSSY, *LOSSLESS)


class Workers:
    """The states of several workers, each with a coder for one stream."""

    def __init__(
        self, text: str, count: int, shapes: Sequence[tuple[int, ...]] = SHAPES, stream: str = "update", seed: int = 5
    ) -> None:
        self.states: list[dict[str, Tensor]] = [{} for _ in range(count)]
        self.sent: list[list[Tensor]] = [[] for _ in range(count)]
        """what each worker handed over to a collective operation"""
        self._text, self._shapes, self._stream, self._seed = text, tuple(shapes), stream, seed

    def coder(self, rank: int = 0) -> Coder:
        compression = COMPRESSIONS.parse(self._text)
        return Coder(compression, self._shapes, self.states[rank], stream=self._stream, seed=self._seed, rank=rank)

    def residual(self, rank: int = 0) -> Tensor:
        return self.states[rank].get(f"{self._stream}/residual", torch.zeros(sum(map(prod, self._shapes))))

    def mean(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        """What each worker gets as the mean of all workers' vectors."""

        async def all_reduce(tensor: Tensor) -> Tensor:
            return await Meeting("reduce", tensor)

        async def all_gather(tensor: Tensor) -> list[Tensor]:
            return await Meeting("gather", tensor)

        return self._meet([self.coder(rank).mean(v, all_reduce, all_gather) for rank, v in enumerate(vectors)])

    def _meet(self, turns: Sequence[Coroutine[Any, Any, Tensor]]) -> list[Tensor]:
        """Carry all workers from one meeting to the next; they must all come to the same ones."""
        answer: Any = None
        while True:
            results, brought = [], []
            for turn in turns:
                try:
                    brought.append(turn.send(answer))
                except StopIteration as stop:
                    results.append(stop.value)
            if results:
                assert not brought, "some go on while others have finished"
                return results
            for rank, meeting in enumerate(brought):
                self.sent[rank].append(meeting.tensor)
            tensors = [meeting.tensor for meeting in brought]
            assert len({(meeting.kind, meeting.tensor.shape, meeting.tensor.dtype) for meeting in brought}) == 1
            answer = tensors if brought[0].kind == "gather" else sum(tensors[1:], tensors[0]) / len(tensors)


class Meeting:
    """What a worker brings to a collective operation."""

    def __init__(self, kind: str, tensor: Tensor) -> None:
        self.kind, self.tensor = kind, tensor

    def __await__(self) -> Any:
        return (yield self)


def vector(seed: int, size: int = SIZE) -> Tensor:
    """Numbers of very different magnitudes, some of them zero."""
    generator = torch.Generator().manual_seed(seed)
    wide = torch.randn(size, generator=generator) * torch.exp(2 * torch.randn(size, generator=generator))
    return wide * (torch.rand(size, generator=generator) < 0.9)


def distance(one: Tensor, other: Tensor) -> float:
    """Relative to the second."""
    return float((one - other).norm() / other.norm().clamp(min=1e-30))
