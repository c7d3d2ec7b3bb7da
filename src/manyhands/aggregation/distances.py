"""Aggregations that judge a client by the length of its vector, or by how far it is from the others'."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.aggregation.base import AGGREGATIONS, Aggregation, Arithmetic
from manyhands.aggregation.coordinates import parts
from manyhands.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class _Nearest(Aggregation):
    """The clients whose vectors have the nearest company: krum(i) = Σ ‖vᵢ - vⱼ‖² over its n - F - 2 nearest others."""

    attackers: int
    """F, how many of the clients may lie; there must be at least 2F + 3 clients"""

    paper = "Blanchard et al. 2017, Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent"
    url = "https://arxiv.org/abs/1703.02757"
    whole = True

    def __post_init__(self) -> None:
        if self.attackers < 0:
            raise UserError(f"the number of attackers must be zero or more, not {self.attackers}")

    @property
    def least(self) -> int:
        return 2 * self.attackers + 3

    @property
    def chosen(self) -> int:
        """How many clients' vectors are taken."""
        return 1

    def combine(self, vectors: "Sequence[Tensor]", samples: Sequence[float], server: Arithmetic) -> "Tensor":
        return server.average([vectors[place] for place in self._best(vectors, server)])

    def _best(self, vectors: "Sequence[Tensor]", server: Arithmetic) -> Sequence[int]:
        """The places of those with the lowest scores; of equal ones the first."""
        gram = products(vectors, server)
        if gram is None:
            return range(self.chosen)
        lengths = gram.diagonal()
        distances = (lengths[:, None] + lengths - 2 * gram).clamp(min=0)
        nearest = distances.sort(dim=1).values[:, 1 : len(vectors) - self.attackers - 1]  # the first is its own, 0
        best: list[int] = nearest.sum(1).argsort(stable=True)[: self.chosen].tolist()
        return best


@AGGREGATIONS.register("krum")
@dataclass(frozen=True)
class Krum(_Nearest):
    """The one client's vector that is nearest to its n - F - 2 nearest others, whatever the others are."""


@AGGREGATIONS.register("multi-krum")
@dataclass(frozen=True)
class MultiKrum(_Nearest):
    """The mean of the M vectors that Krum thinks best; M = 1 is ``krum``."""

    taken: int
    """M, of whom the mean is taken; at most as many as there are clients that do not lie"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.taken < 1:
            raise UserError(f"multi-krum must take at least 1 vector, not {self.taken}")

    @property
    def least(self) -> int:
        return max(super().least, self.attackers + self.taken)

    @property
    def chosen(self) -> int:
        return self.taken


@AGGREGATIONS.register("geometric-median")
@dataclass(frozen=True)
class GeometricMedian(Aggregation):
    """The vector with the least weighted sum of distances to all (RFA), by smoothed Weiszfeld steps::

        v = Σ βᵢ vᵢ / Σ βᵢ,  βᵢ = αᵢ / max(ν, ‖v - vᵢ‖),  αᵢ: the clients' shares of the samples

    beginning at the weighted mean. All these v are weighted means of the clients' vectors, so that the distances follow
    from the vectors' inner products: the vectors themselves are read for these, and for the last mean. It withstands
    attackers with less than half of the samples, but not what is no number.
    """

    iterations: int = 100
    """Weiszfeld steps; the paper takes few, as each costs a round of secure aggregation there"""
    smoothing: float = 1e-6
    """ν, a distance"""

    paper = "Pillutla, Kakade & Harchaoui 2022, Robust Aggregation for Federated Learning"
    url = "https://arxiv.org/abs/1912.13445"
    whole = True

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise UserError(f"there must be at least 1 iteration, not {self.iterations}")
        if not self.smoothing > 0:
            raise UserError(f"the smoothing must be positive, not {self.smoothing}")

    def combine(self, vectors: "Sequence[Tensor]", samples: Sequence[float], server: Arithmetic) -> "Tensor":
        return server.average(vectors, self._weights(vectors, samples, server))

    def _weights(self, vectors: "Sequence[Tensor]", samples: Sequence[float], server: Arithmetic) -> Sequence[float]:
        gram = products(vectors, server)
        if gram is None:
            return samples
        shares = gram.new_tensor(samples) / sum(samples)
        weights = shares
        for _ in range(self.iterations):
            projected = gram @ weights
            squares = gram.diagonal() - 2 * projected + weights @ projected
            weights = shares / squares.clamp(min=0).sqrt().clamp(min=self.smoothing)
            weights = weights / weights.sum()
        found: list[float] = weights.tolist()
        return found


@AGGREGATIONS.register("clipped")
@dataclass(frozen=True)
class Clipped(Aggregation):
    """Vectors longer than ``norm`` are shortened to it, then averaged by numbers of samples."""

    norm: float
    """the greatest Euclidean length of a client's whole update"""

    paper = "Sun et al. 2019, Can You Really Backdoor Federated Learning?"
    url = "https://arxiv.org/abs/1911.07963"
    whole = True

    def __post_init__(self) -> None:
        if not self.norm > 0:
            raise UserError(f"the norm to clip to must be positive, not {self.norm}")

    def combine(self, vectors: "Sequence[Tensor]", samples: Sequence[float], server: Arithmetic) -> "Tensor":
        weights = [self._factor(vector) * share for vector, share in zip(vectors, samples, strict=True)]
        server.vector_bytes += sum([vector.nbytes for vector in vectors]) + 2 * vectors[0].nbytes
        return server.average(vectors, weights) * (sum(weights) / sum(samples))

    def _factor(self, vector: "Tensor") -> float:
        import torch

        if vector.is_meta:
            return 1.0
        return min(1.0, self.norm / max(float(torch.linalg.vector_norm(vector, dtype=torch.float64)), 1e-30))


def products(vectors: "Sequence[Tensor]", server: Arithmetic) -> "Tensor | None":
    """The inner products of all pairs, float64 [clients, clients]; None of vectors that have no values."""
    import torch

    count, first = len(vectors), vectors[0]
    server.vector_bytes += count * (count - 1) * first.nbytes  # each pair is read
    if first.is_meta:
        return None
    gram = torch.zeros(count, count, dtype=torch.float64, device=first.device)
    for part in parts(len(first), count):
        rows = torch.stack([vector[part] for vector in vectors]).double()
        gram += rows @ rows.T
    return gram
