"""Fewer bits for each number: bf16, int8, QSGD and signs."""

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

from manyhands.compression.base import COMPRESSIONS, AllGather, AllReduce, Compression, Memory
from manyhands.compression.bits import as_bytes, as_floats, pack, padded, unpack
from manyhands.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

MAX_LEVELS = 2**15 - 1
"""so that a signed level fits in 16 bits"""


@COMPRESSIONS.register("bf16")
@dataclass(frozen=True)
class BFloat16(Compression):
    """Each number rounded to bfloat16, which has 8 significant bits: 2n bytes.

    A mean over workers is summed in bfloat16 as well. The rounding of these sums is nobody's own: it is not fed back.
    """

    paper = "Kalamkar et al. 2019, A Study of BFLOAT16 for Deep Learning Training"
    url = "https://arxiv.org/abs/1905.12322"
    dense = True

    def encode(self, vector: "Tensor", memory: Memory) -> "Tensor":
        return vector.bfloat16()

    def decode(self, payload: "Tensor", memory: Memory) -> "Tensor":
        return payload.float()

    async def mean(
        self, vector: "Tensor", memory: Memory, all_reduce: AllReduce, all_gather: AllGather
    ) -> "tuple[Tensor, Tensor]":
        payload = self.encode(vector, memory)
        mean = await all_reduce(payload)
        return self.decode(mean, memory), self.decode(payload, memory)


@COMPRESSIONS.register("int8")
@dataclass(frozen=True)
class Int8(Compression):
    """Each number as one of 255 multiples of its bucket's scale, rounded at random, right on average.

        scale = max |v| / 127,  Q(v)_i = scale · ⌊v_i / scale + u⌋,  u uniform in [0, 1)

    n + 4 ⌈n / bucket⌉ bytes.
    """

    bucket: int = 512
    """numbers that share a scale"""

    paper = "Gupta et al. 2015, Deep Learning with Limited Numerical Precision"
    url = "https://arxiv.org/abs/1502.02551"
    dense = True

    def __post_init__(self) -> None:
        _check_bucket(self.bucket)

    def encode(self, vector: "Tensor", memory: Memory) -> "Tensor":
        import torch

        buckets = padded(vector, self.bucket).view(-1, self.bucket)
        scales = _not_zero(buckets.abs().amax(1) / 127)
        levels = _round_at_random(buckets / scales[:, None], memory).clamp_(-127, 127)
        return as_bytes(scales, levels.view(-1)[: len(vector)].to(torch.int8))

    def decode(self, payload: "Tensor", memory: Memory) -> "Tensor":
        import torch

        head = 4 * -(-memory.size // self.bucket)
        scales, levels = as_floats(payload[:head]), payload[head:].view(torch.int8).float()
        buckets = padded(levels, self.bucket).view(-1, self.bucket)
        return buckets.mul_(scales[:, None]).view(-1)[: memory.size]


@COMPRESSIONS.register("qsgd")
@dataclass(frozen=True)
class QSGD(Compression):
    """Each number as one of ``levels`` shares of its bucket's norm and a sign, rounded at random, right on average.

        Q(v)_i = ‖v‖₂ · sgn(v_i) · ξ_i,  ξ_i = ⌊levels · |v_i| / ‖v‖₂ + u⌋ / levels,  u uniform in [0, 1)

    With b the bits of 2 · levels, b ⌈n / 8⌉ + 4 ⌈n / bucket⌉ bytes. The length of a message does not depend on its
    content, unlike with the paper's Elias code.

    E‖Q(v) - v‖² ≤ ω ‖v‖² with ω = min(bucket / levels², √bucket / levels). That can be more than ‖v‖², and error
    feedback would then blow the error up. With it, Q(v) / (1 + ω) is sent instead, which errs by less than ‖v‖ on
    average (Beznosikov et al. 2020, https://arxiv.org/abs/2002.12410).
    """

    levels: int
    """above zero; 7 make 4 bits a number, 127 make 8"""
    bucket: int = 512
    """numbers that share a norm"""

    paper = "Alistarh et al. 2017, QSGD: Communication-Efficient SGD via Gradient Quantization and Encoding"
    url = "https://arxiv.org/abs/1610.02132"

    def __post_init__(self) -> None:
        if not 1 <= self.levels <= MAX_LEVELS:
            raise UserError(f"levels must lie between 1 and {MAX_LEVELS:,}, not {self.levels}")
        _check_bucket(self.bucket)

    @property
    def variance(self) -> float:
        """The bound ω on E‖Q(v) - v‖² / ‖v‖²."""
        return min(self.bucket / self.levels**2, sqrt(self.bucket) / self.levels)

    @property
    def dense(self) -> bool:
        """With so many levels that the error is at most a tenth of the vector: 227 for buckets of 512."""
        return self.variance <= 0.01

    @property
    def width(self) -> int:
        """Bits a number."""
        return (2 * self.levels).bit_length()

    def encode(self, vector: "Tensor", memory: Memory) -> "Tensor":
        buckets = padded(vector, self.bucket).view(-1, self.bucket)
        norms = _not_zero(buckets.norm(dim=1))
        levels = _round_at_random(buckets / norms[:, None] * self.levels, memory).clamp_(-self.levels, self.levels)
        codes = levels.view(-1)[: len(vector)] + self.levels
        damping = 1 + self.variance if memory.feedback else 1.0
        return as_bytes(norms / damping, pack(codes, self.width))

    def decode(self, payload: "Tensor", memory: Memory) -> "Tensor":
        head = 4 * -(-memory.size // self.bucket)
        norms, codes = as_floats(payload[:head]), unpack(payload[head:], memory.size, self.width)
        buckets = padded(codes.float() - self.levels, self.bucket).view(-1, self.bucket)
        return buckets.mul_((norms / self.levels)[:, None]).view(-1)[: memory.size]


@COMPRESSIONS.register("sign")
@dataclass(frozen=True)
class Sign(Compression):
    """EF-signSGD: the signs, times the mean of all magnitudes: ⌈n / 8⌉ + 4 bytes.

        C(v) = ‖v‖₁ / n · sign(v)

    Zero has the sign +.
    """

    paper = "Karimireddy et al. 2019, Error Feedback Fixes SignSGD and other Gradient Compression Schemes"
    url = "https://arxiv.org/abs/1901.09847"

    def encode(self, vector: "Tensor", memory: Memory) -> "Tensor":
        magnitude = vector.abs().sum() / max(len(vector), 1)
        return as_bytes(magnitude.view(1), pack(vector >= 0, 1))

    def decode(self, payload: "Tensor", memory: Memory) -> "Tensor":
        magnitude, positive = as_floats(payload[:4]), unpack(payload[4:], memory.size, 1)
        return positive.float().mul_(2).sub_(1).mul_(magnitude)


def _round_at_random(numbers: "Tensor", memory: Memory) -> "Tensor":
    """Each number rounded down or up to a whole one, with the odds that make it right on average."""
    lower = numbers.floor()
    return lower.add_(memory.uniform(numbers) < numbers - lower)


def _not_zero(scales: "Tensor") -> "Tensor":
    """Scales by which one can divide, also of buckets that hold nothing but zeros."""
    import torch

    return scales.clamp_(min=torch.finfo(torch.float32).tiny)


def _check_bucket(bucket: int) -> None:
    if bucket < 1:
        raise UserError(f"bucket must be at least 1, not {bucket}")
