"""Aggregations that look at one coordinate at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log2
from typing import TYPE_CHECKING

from manyhands.aggregation.base import AGGREGATIONS, Aggregation, Arithmetic
from manyhands.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

PART = 2**20
"""numbers that are looked at together: what is needed beside the vectors themselves stays below 20 MiB"""


@AGGREGATIONS.register("median")
@dataclass(frozen=True)
class Median(Aggregation):
    """The median of each coordinate, of an even number the mean of the middle two; clients weigh alike.

    What it gives lies within the honest clients' range as long as they are more than half.
    """

    paper = "Yin et al. 2018, Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates"
    url = "https://arxiv.org/abs/1803.01498"

    def combine(self, vectors: "Sequence[Tensor]", samples: Sequence[float], server: Arithmetic) -> "Tensor":
        return mean_of_the_middle(vectors, (len(vectors) - 1) // 2, server)


@AGGREGATIONS.register("trimmed-mean")
@dataclass(frozen=True)
class TrimmedMean(Aggregation):
    """The mean of each coordinate without the lowest and the highest ⌊fraction · clients⌋; clients weigh alike.

    It withstands as many attackers as it leaves out at one end. With 0 it is ``uniform``.
    """

    fraction: float
    """left out at each end, below 0.5"""

    paper = "Yin et al. 2018, Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates"
    url = "https://arxiv.org/abs/1803.01498"

    def __post_init__(self) -> None:
        if not 0 <= self.fraction < 0.5:
            raise UserError(f"the fraction left out at each end must be at least 0 and below 0.5, not {self.fraction}")

    def check(self, clients: int) -> None:
        super().check(clients)
        if self.fraction and not self.trimmed(clients):
            least = ceil(1000 / clients) / 1000
            instead = f"a fraction of at least {least:g}, or uniform" if clients > 2 else "uniform"
            raise UserError(f"aggregation {self} leaves out nobody of {clients} clients: use {instead}")

    def trimmed(self, clients: int) -> int:
        """How many of so many are left out at each end."""
        return floor(self.fraction * clients + 1e-9)

    def combine(self, vectors: "Sequence[Tensor]", samples: Sequence[float], server: Arithmetic) -> "Tensor":
        return mean_of_the_middle(vectors, self.trimmed(len(vectors)), server)


def mean_of_the_middle(vectors: "Sequence[Tensor]", trimmed: int, server: Arithmetic) -> "Tensor":
    """For each coordinate the mean of what is left without so many of the lowest and of the highest.

    What is no number counts among the highest.
    """
    import torch

    count, result = len(vectors), torch.empty_like(vectors[0])
    for part in parts(len(result), count):
        rows = torch.stack([vector[part] for vector in vectors], dim=1)
        result[part] = rows.sort(dim=1).values[:, trimmed : count - trimmed].mean(dim=1)
    # Rows are written and read once each to lay them side by side and for the mean; a sort goes over them log₂ times.
    server.vector_bytes += 2 * count * result.nbytes * (2 + ceil(log2(count)))
    return result


def parts(size: int, count: int) -> Iterator[slice]:
    """A vector cut so that a part of each of ``count`` vectors together are `PART` numbers."""
    step = max(1, PART // count)
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))
