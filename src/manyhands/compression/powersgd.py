"""PowerSGD: each layer's matrix as the product of two thin ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isqrt, prod
from typing import TYPE_CHECKING, NamedTuple

from manyhands.compression.base import COMPRESSIONS, AllGather, AllReduce, Compression, Memory
from manyhands.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


class Factors(NamedTuple):
    """The sizes in M ≈ P Qᵀ: M is n × m, P is n × r, and Q is m × r."""

    n: int
    m: int
    r: int


@COMPRESSIONS.register("powersgd")
@dataclass(frozen=True)
class PowerSGD(Compression):
    """One step of power iteration for each layer's matrix M, which begins where the last one ended.

        P = M Q,  P̂ = orthogonalise(P),  Q = Mᵀ P̂,  M ≈ P̂ Qᵀ

    A tensor of two or more dimensions is a matrix, the first dimension × the rest. Those that this would not make
    smaller, and norms and biases, are sent as they are: 4 (Σ r (n + m) + rest) bytes.

    A mean over workers takes P and Q from the mean of all matrices: two all-reduces. Each worker's own share is P̂ Q_wᵀ,
    with its own Q_w before the mean of these is taken.
    """

    rank: int
    """columns of P and Q; 1, 2 and 4 are usual"""

    paper = "Vogels et al. 2019, PowerSGD: Practical Low-Rank Gradient Compression for Distributed Optimization"
    url = "https://arxiv.org/abs/1905.13727"
    whole = True

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UserError(f"rank must be at least 1, not {self.rank}")

    def check(self, size: int) -> None:
        if self.rank > isqrt(size):
            raise UserError(
                f"compression {self}: a matrix of at most {size:,} numbers has no rank above {isqrt(size):,}; "
                "give a smaller one"
            )

    def encode(self, vector: "Tensor", memory: Memory) -> "Tensor":
        matrices, rest = self._split(vector, memory.shapes)
        old_q = self._last_q(vector, memory)
        p = [_orthogonalise(matrix @ q) for matrix, q in zip(matrices, old_q, strict=True)]
        q = [matrix.T @ p_hat for matrix, p_hat in zip(matrices, p, strict=True)]
        memory.keep("q", _flat(q, like=vector))
        return _flat([*p, *q, rest], like=vector)

    def decode(self, payload: "Tensor", memory: Memory) -> "Tensor":
        factors = self._factors(memory.shapes)
        shapes = [(n, r) for n, _, r in factors] + [(m, r) for _, m, r in factors]
        *thin, rest = _cut(payload, shapes)
        return self._join(thin[: len(factors)], thin[len(factors) :], rest, memory.shapes)

    async def mean(
        self, vector: "Tensor", memory: Memory, all_reduce: AllReduce, all_gather: AllGather
    ) -> "tuple[Tensor, Tensor]":
        factors = self._factors(memory.shapes)
        matrices, rest = self._split(vector, memory.shapes)
        old_q = self._last_q(vector, memory)
        p_and_rest = await all_reduce(
            _flat([*(matrix @ q for matrix, q in zip(matrices, old_q, strict=True)), rest], like=vector)
        )
        *mean_p, mean_rest = _cut(p_and_rest, [(n, r) for n, _, r in factors])
        p = [_orthogonalise(each) for each in mean_p]
        own_q = [matrix.T @ p_hat for matrix, p_hat in zip(matrices, p, strict=True)]
        if not factors:
            return mean_rest, rest
        mean_q = await all_reduce(_flat(own_q, like=vector))
        memory.keep("q", mean_q.clone())  # others may hold the same tensor
        *q, _ = _cut(mean_q, [(m, r) for _, m, r in factors])
        return self._join(p, q, mean_rest, memory.shapes), self._join(p, own_q, rest, memory.shapes)

    def _last_q(self, vector: "Tensor", memory: Memory) -> "list[Tensor]":
        """The Q that the last message of this stream ended with; at first a random one, the same at every node."""
        shapes = [(m, r) for _, m, r in self._factors(memory.shapes)]
        kept = memory.kept("q")
        if kept is None:
            kept = memory.shared_normal(sum(map(prod, shapes)), like=vector)
        return _cut(kept, shapes)[:-1]

    def _factors(self, shapes: tuple[tuple[int, ...], ...]) -> list[Factors]:
        return [factors for factors in _layout(shapes, self.rank) if factors is not None]

    def _split(self, vector: "Tensor", shapes: tuple[tuple[int, ...], ...]) -> "tuple[list[Tensor], Tensor]":
        """The matrices in a vector, and all its other numbers in a row."""
        layout = _layout(shapes, self.rank)
        parts = vector.split_with_sizes([prod(shape) for shape in shapes])
        matrices = [part.view(each.n, each.m) for part, each in zip(parts, layout, strict=True) if each is not None]
        rest = [part for part, each in zip(parts, layout, strict=True) if each is None]
        return matrices, _flat(rest, like=vector)

    def _join(
        self, p: "Sequence[Tensor]", q: "Sequence[Tensor]", rest: "Tensor", shapes: tuple[tuple[int, ...], ...]
    ) -> "Tensor":
        """The vector whose matrices are P Qᵀ."""
        layout = _layout(shapes, self.rank)
        products = iter([left @ right.T for left, right in zip(p, q, strict=True)])
        others = iter(
            rest.split_with_sizes([prod(shape) for shape, each in zip(shapes, layout, strict=True) if each is None])
        )
        return _flat([next(others) if each is None else next(products) for each in layout], like=rest)


@lru_cache(maxsize=64)
def _layout(shapes: tuple[tuple[int, ...], ...], rank: int) -> list[Factors | None]:
    """How each tensor is factorised; None for those that are sent as they are."""
    return [_factorise(shape, rank) for shape in shapes]


def _factorise(shape: tuple[int, ...], rank: int) -> Factors | None:
    if len(shape) < 2:
        return None
    n, m = shape[0], prod(shape[1:])
    r = min(n, m, rank)
    return Factors(n, m, r) if r * (n + m) < n * m else None


def _orthogonalise(matrix: "Tensor") -> "Tensor":
    """Orthonormal columns that span those of a matrix [n, r].

    By Householder's reflections, so that they are orthonormal even where the matrix has not the full rank: what is zero
    for once does not stay zero.
    """
    import torch

    orthonormal: Tensor = torch.linalg.qr(matrix).Q
    return orthonormal


def _flat(tensors: "Sequence[Tensor]", like: "Tensor") -> "Tensor":
    """All numbers of several tensors in a row."""
    import torch

    return torch.cat([tensor.reshape(-1) for tensor in tensors]) if tensors else like.new_empty(0)


def _cut(vector: "Tensor", shapes: Sequence[tuple[int, int]]) -> "list[Tensor]":
    """The matrices that stand first in a vector, and what follows them."""
    sizes = [prod(shape) for shape in shapes]
    *parts, rest = vector.split_with_sizes([*sizes, len(vector) - sum(sizes)])
    return [*(part.view(shape) for part, shape in zip(parts, shapes, strict=True)), rest]
