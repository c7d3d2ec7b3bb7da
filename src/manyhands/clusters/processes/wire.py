"""Messages between processes: a header of fixed size that says what follows, then the tensors themselves.

Only tensors travel, never pickles. What else a cluster must say (reports, checkpoints) goes as JSON or safetensors in
a tensor of bytes.

Gloo asks before it sends: the receiver's word that it is ready goes back over the connection of the pair. Were that
the one on which the receiver's own tensors travel, it would queue behind them, and two nodes that exchange tensors
would do so one after the other. So headers, tensors to higher ranks and tensors to lower ranks have connections of
their own.
"""

import json
import struct
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save
from torch import Tensor

from manyhands.clusters.effects import Tensors
from manyhands.errors import RunError

DTYPES = (
    torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.uint8, torch.int8,
    torch.bool,
)  # fmt: skip
MAX_DIMENSIONS = 6
MAX_TENSORS = 7
WINDOW = 16
"""messages to one node that may be under way at once; the next waits until the oldest has been received"""
HEADER = 4 + MAX_TENSORS * (2 + MAX_DIMENSIONS)


class Kind(IntEnum):
    """What a message is for: the strategy's own, or the cluster's."""

    DATA = 0
    REPORT_PLEASE = 1
    REPORT = 2
    GO_ON = 3
    CLOSE = 4
    RESTORE = 5


LOST = "a node is lost"
"""said where it is not known which"""


class PeerLost(RunError):
    """A node that the others needed is gone or silent."""


@dataclass(frozen=True, eq=False)
class Header:
    kind: Kind
    source: int
    progress: float
    tag: int
    specs: tuple[tuple[torch.dtype, tuple[int, ...]], ...]


class Wire:
    """One process's end of all its connections. Messages of one pair of nodes keep their order."""

    def __init__(self, rank: int, device: torch.device, timeout: timedelta | None = None) -> None:
        """All processes of the default group make theirs together. ``timeout``: of a silent peer."""
        self.rank, self.device = rank, device
        self._up, self._down = (dist.new_group(timeout=timeout) if dist.is_initialized() else None for _ in range(2))
        self._under_way: defaultdict[int, deque[list[tuple[dist.Work, Tensor]]]] = defaultdict(deque)

    def send(self, to: int, kind: Kind, *tensors: Tensor, progress: float = 0.0, tag: int = 0) -> int:
        """Start sending; returns the bytes of the tensors. They are copied, so that the caller may change its own."""
        copies = [tensor.detach().clone(memory_format=torch.contiguous_format) for tensor in tensors]
        under_way = self._under_way[to]
        if len(under_way) == WINDOW:  # Gloo never says that a message is received, other than to those who wait for it
            _wait(to, under_way.popleft())
        parts = []
        way = self._way(self.rank, to)
        for part, group in ((_encode(kind, progress, tag, copies), None), *((c, way) for c in copies if c.numel())):
            try:
                work = dist.isend(part, to, group=group)
            except RuntimeError as error:
                raise _lost(to, error) from None
            assert work is not None
            parts.append((work, part))
        under_way.append(parts)
        return sum(copy.nbytes for copy in copies)

    def receive_header(self, source: int | None) -> Header:
        """Wait for the next message of a node, or of any."""
        code = torch.empty(HEADER, dtype=torch.int64)
        try:
            sender = dist.recv(code, source)
        except RuntimeError as error:
            raise _lost(source, error) from None
        return _decode(code, sender)

    def receive_tensors(self, header: Header, device: torch.device | None = None) -> Tensors:
        """The tensors that a header announced."""
        tensors = tuple(torch.empty(shape, dtype=dtype, device=device or self.device) for dtype, shape in header.specs)
        way = self._way(header.source, self.rank)
        for tensor in tensors:
            if tensor.numel():
                try:
                    dist.recv(tensor, header.source, group=way)
                except RuntimeError as error:
                    raise _lost(header.source, error) from None
        return tensors

    def expect(self, source: int, kind: Kind) -> Tensors:
        """The next message of a node, which must be of this kind; on the CPU."""
        header = self.receive_header(source)
        assert header.kind == kind, f"node {self.rank} expected {kind.name} of node {source}, got {header.kind.name}"
        return self.receive_tensors(header, torch.device("cpu"))

    def _way(self, source: int, to: int) -> dist.ProcessGroup | None:
        """The connections over which tensors go from one rank to another."""
        return self._up if source < to else self._down

    def flush(self) -> None:
        """Wait until everything sent has been received."""
        for to, under_way in self._under_way.items():
            while under_way:
                _wait(to, under_way.popleft())


@contextmanager
def naming_peers() -> Iterator[None]:
    """A collective operation fails when a peer is gone; which one, the launcher finds out."""
    try:
        yield
    except RuntimeError as error:
        raise PeerLost(f"{LOST}: {str(error).splitlines()[0]}") from None


def json_bytes(data: Any) -> Tensor:
    """As JSON, uint8 [n]."""
    return torch.from_numpy(np.frombuffer(json.dumps(data).encode(), dtype=np.uint8).copy())


def tensor_bytes(tensors: dict[str, Tensor]) -> Tensor:
    """As safetensors, uint8 [n]."""
    return torch.from_numpy(np.frombuffer(save(tensors), dtype=np.uint8).copy())


def unbytes(tensor: Tensor) -> bytes:
    return tensor.numpy().tobytes()


def _wait(to: int, parts: list[tuple[dist.Work, Tensor]]) -> None:
    for work, _ in parts:
        try:
            work.wait()
        except RuntimeError as error:
            raise _lost(to, error) from None


def _lost(source: int | None, error: RuntimeError) -> PeerLost:
    who = LOST if source is None else f"node {source} is lost"
    return PeerLost(f"{who}: {str(error).splitlines()[0]}")


def _encode(kind: Kind, progress: float, tag: int, tensors: list[Tensor]) -> Tensor:
    assert len(tensors) <= MAX_TENSORS, f"a message holds at most {MAX_TENSORS} tensors"
    numbers = [int(kind), struct.unpack("q", struct.pack("d", progress))[0], tag, len(tensors)]
    for tensor in tensors:
        assert tensor.dim() <= MAX_DIMENSIONS, f"a tensor on the wire has at most {MAX_DIMENSIONS} dimensions"
        padding = [0] * (MAX_DIMENSIONS - tensor.dim())
        numbers += [DTYPES.index(tensor.dtype), tensor.dim(), *tensor.shape, *padding]
    return torch.tensor(numbers + [0] * (HEADER - len(numbers)), dtype=torch.int64)


def _decode(code: Tensor, source: int) -> Header:
    numbers = code.tolist()
    progress = struct.unpack("d", struct.pack("q", numbers[1]))[0]
    specs = []
    for i in range(numbers[3]):
        dtype, dimensions, *shape = numbers[4 + i * (2 + MAX_DIMENSIONS) : 4 + (i + 1) * (2 + MAX_DIMENSIONS)]
        specs.append((DTYPES[dtype], tuple(shape[:dimensions])))
    return Header(Kind(numbers[0]), source, progress, numbers[2], tuple(specs))
