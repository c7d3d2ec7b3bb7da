"""Differential privacy of clients."""

import logging
from dataclasses import dataclass
from importlib.util import find_spec
from math import inf
from typing import TYPE_CHECKING

from manyhands import seeds
from manyhands.errors import UserError
from manyhands.privacy.base import PRIVACIES, Privacy

if TYPE_CHECKING:
    from torch import Tensor

LEAST, MOST = 1e-12, 1e6
"""noise multipliers for which the accountant's arithmetic holds: far beyond it would promise ε = 0, by overflow"""
SAMPLING = "cohorts of a fixed size without replacement, accounted for as Poisson sampling at sampling_rate"


@PRIVACIES.register("dp")
@dataclass(frozen=True)
class DifferentialPrivacy(Privacy):
    """DP-FedAvg: what becomes known is nearly the same whether or not any one client takes part at all.

    A client shortens its whole reply to a Euclidean norm of at most ``clip``. The server adds the replies up, divides
    by the number of clients that it expected, and adds to each coordinate Gaussian noise of standard deviation
    ``noise · clip / expected``, drawn from the run's seed. Hence one client's part in the sum is at most ``clip``, the
    noise in the sum is ``noise`` times that, and (ε, δ) follow for all rounds by Rényi differential privacy of the
    subsampled Gaussian mechanism (dp-accounting); neighbours are data sets with and without one client.

    What it takes for granted: an honest server that keeps the single replies and the noise for itself; cohorts drawn
    uniformly, of a fixed size without replacement, accounted for as Poisson sampling at the rate cohort / clients, as
    is customary; clients that are not attackers, for these need not clip. Whoever has the seed can subtract the noise.
    Noise of floating-point numbers leaks through their last bits (Mironov 2012). It is for experiments.
    """

    clip: float
    """the greatest Euclidean norm of a client's whole reply"""
    noise: float
    """the noise multiplier z: standard deviation of the noise in the sum, relative to ``clip``"""
    delta: float = 1e-5
    """δ, for which ε is reported; below 1 / clients is usual"""

    paper = "McMahan et al. 2018, Learning Differentially Private Recurrent Language Models"
    url = "https://arxiv.org/abs/1710.06963"

    def __post_init__(self) -> None:
        if not 0 < self.clip < inf:
            raise UserError(f"clip must be positive and finite, not {self.clip}")
        if not LEAST <= self.noise <= MOST:
            raise UserError(f"noise must be positive, from {LEAST:g} to {MOST:g}, not {self.noise}")
        if not 0 < self.delta < 1:
            raise UserError(f"delta must lie between 0 and 1, not {self.delta}")

    def check(self) -> None:
        if find_spec("dp_accounting") is None:
            raise UserError(f"privacy {self} needs dp-accounting to know its ε: pip install 'manyhands[privacy]'")

    def clipped(self, reply: "tuple[Tensor, ...]") -> "tuple[Tensor, ...]":
        import torch

        norms = torch.stack([torch.linalg.vector_norm(vector) for vector in reply])
        factor = (self.clip / torch.linalg.vector_norm(norms)).clamp(max=1.0)
        return tuple([vector * factor for vector in reply])

    def released(
        self, mean: "tuple[Tensor, ...]", replies: int, expected: int, seed: int, number: int
    ) -> "tuple[Tensor, ...]":
        deviation = self.noise * self.clip / expected
        return tuple(
            [
                vector * (replies / expected) + _normal(vector, seed, number, place) * deviation
                for place, vector in enumerate(mean)
            ]
        )

    def facts(self, rate: float, rounds: int) -> dict[str, float | str]:
        return {
            "epsilon": epsilon(self.noise, rate, rounds, self.delta),
            "delta": self.delta,
            "sampling_rate": rate,
            "sampling": SAMPLING,
        }


def epsilon(noise: float, rate: float, rounds: int, delta: float) -> float:
    """The ε of so many rounds of the Gaussian mechanism with this noise multiplier, Poisson-sampled at this rate."""
    import dp_accounting
    from dp_accounting.rdp import RdpAccountant

    one = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise))
    accountant = RdpAccountant()
    logger = logging.getLogger("absl")
    before, logger.disabled = logger.disabled, True  # it tells of orders that it leaves out, without which ε holds too
    try:
        accountant.compose(dp_accounting.SelfComposedDpEvent(one, rounds))
        return float(accountant.get_epsilon(delta))
    finally:
        logger.disabled = before


def _normal(like: "Tensor", seed: int, number: int, place: int) -> "Tensor":
    """Standard normal numbers of a tensor's shape: those of this seed, round and place in the reply, on any device."""
    import torch

    if like.is_meta:
        return torch.empty_like(like)
    generator = torch.Generator().manual_seed(seeds.entropy(seed, "privacy", number, place) >> 65)
    return torch.randn(like.shape, generator=generator).to(like.device)
