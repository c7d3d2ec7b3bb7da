"""Secure aggregation: a server that learns the sum of its clients' replies, and none of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from manyhands import seeds

if TYPE_CHECKING:
    from torch import Tensor

SCALE = 2.0**32
"""a number x is sent as the whole number nearest to SCALE · x"""
RANGE = 2.0**62
"""of the sum of all clients' whole numbers; int64 holds twice that"""


@dataclass(frozen=True)
class SecureAggregation:
    """The masks of one round's clients, after Bonawitz et al. 2017 (https://doi.org/10.1145/3133956.3133982).

    Each pair of clients has a vector of random whole numbers, drawn anew each round, which the one adds to its reply
    and the other subtracts from its own, modulo 2⁶⁴. What a client sends is then uniformly random to whoever does not
    know its masks; in the sum over all clients the masks cancel, exactly. A reply is weighted by its sender,
    and the weight travels at its end, so that the server sees Σ wᵢ xᵢ and Σ wᵢ and nothing else.

    Left out is what the paper does besides: the agreement of keys, and the recovery from clients that drop out. Where
    one is missing, the sum stays masked, and the round is lost. The masks are drawn from the run's seed, so that runs
    repeat: whoever has the seed can take them off. So it shows what secure aggregation costs and forbids, to an honest
    server that is curious; it is no protection of real data. Numbers are rounded to 2⁻³² and limited to
    2³⁰ / clients, weighted.
    """

    seed: int
    number: int
    """of the round"""
    clients: tuple[int, ...]
    """the ranks of all who take part"""

    @classmethod
    def of(cls, roll: "Tensor", seed: int, number: int) -> "SecureAggregation":
        """From what the server sent."""
        return cls(seed, number, tuple(roll.tolist()))

    def roll(self) -> "Tensor":
        """What the server sends to the clients, so that each knows the others: their ranks, int64 [clients]."""
        import torch

        return torch.tensor(self.clients)

    @property
    def traffic(self) -> int:
        """Bytes of memory that masking moves for each number: to scale it, and to draw and add the masks."""
        return 12 + 32 * (len(self.clients) - 1)

    def hide(self, rank: int, reply: "Sequence[Tensor]", weight: float) -> "Tensor":
        """What a client sends: its reply's numbers, joined, and its weight, masked; int64 [numbers + 1]."""
        import torch

        numbers = torch.cat([*reply, reply[0].new_ones(1)]).double() * (weight * SCALE)
        limit = RANGE / len(self.clients)
        hidden = numbers.round().nan_to_num(0.0, limit, -limit).clamp(-limit, limit).long()
        if hidden.is_meta:
            return hidden
        for other in self.clients:
            if other != rank:
                hidden.add_(self._mask(rank, other, len(hidden)).to(hidden.device), alpha=1 if rank < other else -1)
        return hidden

    def _mask(self, rank: int, other: int, size: int) -> "Tensor":
        """The random numbers of a pair, int64 [size]."""
        import torch

        pair = min(rank, other), max(rank, other)
        generator = seeds.stream(self.seed, "mask", self.number, *pair)
        return torch.from_numpy(generator.integers(0, 2**64, size, np.uint64).view(np.int64))

    @staticmethod
    def reveal(hidden: "Sequence[Tensor]", sizes: Sequence[int]) -> "tuple[Tensor, ...]":
        """What the server makes of what all clients of a round sent: the weighted mean of their replies.

        It is cut into float32 vectors of these sizes.
        """
        import torch

        total = hidden[0].clone()
        for one in hidden[1:]:
            total += one
        sums = total.double()
        return torch.split((sums[:-1] / sums[-1]).float(), list(sizes))
