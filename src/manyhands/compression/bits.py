"""Small whole numbers as bits, and tensors of several types as one tensor of bytes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def pack(numbers: "Tensor", width: int) -> "Tensor":
    """Whole numbers from 0 to 2**width - 1 as bytes: uint8 [width · ⌈n / 8⌉].

    The lowest bits of all numbers come first, then the second bits, …; the eight bits of a byte belong to numbers that
    are ⌈n / 8⌉ apart, so that all is done with long runs of neighbouring memory.
    """
    import torch

    eighths = padded(numbers.to(_type(width)), 8).view(8, -1)
    planes = eighths.new_zeros(width, eighths.shape[1], dtype=torch.uint8)
    for bit, plane in enumerate(planes.unbind()):
        for place, eighth in enumerate(((eighths >> bit) & 1).to(torch.uint8).unbind()):
            plane |= eighth << place
    return planes.view(-1)


def unpack(payload: "Tensor", count: int, width: int) -> "Tensor":
    """The numbers that were packed, of an integer type [count]."""
    planes = payload.view(width, -1)
    eighths = planes.new_zeros(8, planes.shape[1], dtype=_type(width))
    for bit, plane in enumerate(planes.unbind()):
        for place, eighth in enumerate(eighths.unbind()):
            eighth |= ((plane >> place) & 1).to(eighths.dtype) << bit
    return eighths.view(-1)[:count]


def _type(width: int) -> "torch.dtype":
    import torch

    return torch.uint8 if width <= 8 else torch.int32


def padded(vector: "Tensor", multiple: int) -> "Tensor":
    """The vector with as many zeros at its end as make its length a multiple."""
    import torch.nn.functional as F

    return F.pad(vector, (0, -len(vector) % multiple))


def as_bytes(*tensors: "Tensor") -> "Tensor":
    """The bytes of several tensors of one dimension, one after the other: uint8 [bytes]."""
    import torch

    return torch.cat([tensor.view(torch.uint8) for tensor in tensors])


def as_floats(payload: "Tensor") -> "Tensor":
    """The float32 numbers of these bytes, wherever in memory the bytes begin."""
    import torch

    return payload.clone().view(torch.float32)
