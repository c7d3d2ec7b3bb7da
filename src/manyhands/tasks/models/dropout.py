"""Dropout whose masks come from a seed of their own, so that learners in several threads do not share a generator."""

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """In training, each number is 0 with probability ``rate``, else divided by 1 − rate (Srivastava et al. 2014).

    As ``nn.Dropout`` (https://jmlr.org/papers/v15/srivastava14a.html). With a ``seed``, which a learner sets anew for
    each batch, the mask depends on that alone, and a module may be applied once; without one it comes from torch's
    global generator.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        assert 0 <= rate < 1
        self.rate = rate
        self.seed: int | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.rate:
            return x
        generator = None if self.seed is None else torch.Generator(x.device).manual_seed(self.seed)
        keep = 1 - self.rate
        return x * torch.empty_like(x).bernoulli_(keep, generator=generator).div_(keep)
