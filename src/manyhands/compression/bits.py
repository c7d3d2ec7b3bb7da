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
    planes, places = eighths.new_empty(width, eighths.shape[1], dtype=torch.uint8), _places(eighths)
    for bit, plane in enumerate(planes.unbind()):
        bits = ((eighths >> bit) & 1).to(torch.uint8)
        torch.sum(bits << places, 0, dtype=torch.uint8, out=plane)
    return planes.view(-1)


def unpack(payload: "Tensor", count: int, width: int) -> "Tensor":
    """The numbers that were packed, of an integer type [count]."""
    planes, places = payload.view(width, -1), _places(payload)
    eighths = planes.new_zeros(8, planes.shape[1], dtype=_type(width))
    for bit, plane in enumerate(planes.unbind()):
        eighths |= (plane >> places).bitwise_and_(1).to(eighths.dtype).bitwise_left_shift_(bit)
    return eighths.view(-1)[:count]


def _places(like: "Tensor") -> "Tensor":
    """Of the eight bits in a byte: uint8 [8, 1]."""
    import torch

    return torch.arange(8, dtype=torch.uint8, device=like.device).view(8, 1)


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
