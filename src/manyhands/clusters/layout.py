"""Where in the flat vectors what stands."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Ranges = tuple[range, ...]
"""places in the weights [P], ascending"""

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
"""layers that normalise: batch, instance, group, layer and root-mean-square norms"""


@dataclass(frozen=True)
class Layout:
    """How many numbers a model has: ``parameters`` trainable ones (T), then ``buffers`` (float, e.g. batch-norm's)."""

    parameters: int
    buffers: int
    shapes: tuple[tuple[int, ...], ...] = ()
    """of the trainable tensors, in the order in which they stand in the vector"""
    norms: Ranges = ()
    """where the norm layers' numbers stand: scales and shifts, and batch statistics among the buffers"""
    linears: tuple[Ranges, ...] = ()
    """for each linear layer, in the order of the model, where its numbers stand"""
    variances: Ranges = ()
    """where batch norms' variances stand, which cannot be below zero"""

    @classmethod
    def of(cls, module: nn.Module) -> "Layout":
        """That of the flat vectors of a module, which may be on device "meta"."""
        parameters = [tensor for tensor in module.parameters() if tensor.requires_grad]
        buffers = [tensor for tensor in module.buffers() if tensor.is_floating_point()]
        places: dict[int, range] = {}
        end = 0
        for tensor in (*parameters, *buffers):
            places[id(tensor)] = range(end, end := end + tensor.numel())
        layers = list(module.modules())
        return cls(
            parameters=sum(tensor.numel() for tensor in parameters),
            buffers=sum(tensor.numel() for tensor in buffers),
            shapes=tuple(tuple(tensor.shape) for tensor in parameters),
            norms=_places(_tensors([layer for layer in layers if isinstance(layer, NORMS)]), places),
            linears=tuple(_places(_tensors([layer]), places) for layer in layers if isinstance(layer, nn.Linear)),
            variances=_places([t for name, t in module.named_buffers() if name.endswith("running_var")], places),
        )

    def shard(self, place: int, shards: int) -> slice:
        """Which of the T parameters are in one of ``shards`` parts of nearly the same size, as in tensor_split."""
        size, longer = divmod(self.parameters, shards)
        start = place * size + min(place, longer)
        return slice(start, start + size + (place < longer))

    def layers(self, size: int) -> tuple[tuple[int, ...], ...]:
        """The shapes that make up a vector: of the trainable tensors, of these and the buffers, or it is a part."""
        whole = self.parameters + self.buffers
        return {self.parameters: self.shapes, whole: (*self.shapes, (self.buffers,))}.get(size, ((size,),))

    # ---- parts of the weights

    def others(self, ranges: Iterable[range]) -> Ranges:
        """The places of the weights that are in none of the ranges, which are ascending."""
        gaps, start = [], 0
        for taken in ranges:
            gaps.append(range(start, taken.start))
            start = taken.stop
        gaps.append(range(start, self.parameters + self.buffers))
        return tuple(gap for gap in gaps if gap)

    def mask(self, ranges: Iterable[range]) -> Tensor:
        """True at these places, bool [P]."""
        mask = torch.zeros(self.parameters + self.buffers, dtype=torch.bool)
        for part in ranges:
            mask[part.start : part.stop] = True
        return mask

    @staticmethod
    def take(weights: Tensor, ranges: Sequence[range]) -> Tensor:
        """A copy of what stands at these places, one after another."""
        return torch.cat([weights[part.start : part.stop] for part in ranges] or [weights[:0]])

    @staticmethod
    def put(weights: Tensor, ranges: Sequence[range], values: Tensor) -> None:
        """The inverse of ``take``, in place."""
        start = 0
        for part in ranges:
            weights[part.start : part.stop] = values[start : start + len(part)]
            start += len(part)


def _tensors(layers: Iterable[nn.Module]) -> list[Tensor]:
    return [t for layer in layers for t in (*layer.parameters(recurse=False), *layer.buffers(recurse=False))]


def _places(tensors: Iterable[Tensor], places: dict[int, range]) -> Ranges:
    """Those of all numbers of some tensors, ascending; neighbours are joined."""
    found = {places[id(tensor)] for tensor in tensors if id(tensor) in places}
    joined: list[range] = []
    for part in sorted(found, key=lambda part: part.start):
        if joined and joined[-1].stop == part.start:
            joined[-1] = range(joined[-1].start, part.stop)
        elif part:
            joined.append(part)
    return tuple(joined)
