"""A term that makes a model see samples as one model does, and not as another one does."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Contrast:
    """``weight`` · ℓ, the model-contrastive term of MOON (Li et al. 2021, https://arxiv.org/abs/2103.16257, eq. 3).

        ℓ = − log( exp(sim(z, z₊) / temperature) / (exp(sim(z, z₊) / temperature) + exp(sim(z, z₋) / temperature)) )

    z is what the model in training makes of a sample, z₊ and z₋ what two others make of it, which stand still; sim is
    the cosine. A sample's representation is what the model's last linear layer is given. Where the two others are the
    same, the term has no gradient.
    """

    weight: float
    """μ in the paper"""
    temperature: float
    """τ in the paper"""
    like: Tensor
    """weights of the model to be near to, float32 [P]"""
    unlike: Tensor
    """weights of the model to be far from, float32 [P]"""

    def term(self, own: Tensor, like: Tensor, unlike: Tensor) -> Tensor:
        """The term's mean over a batch, a scalar; of representations [b, …]."""
        own = own.flatten(1).float()
        near, far = (F.cosine_similarity(own, other.flatten(1).float()) for other in (like, unlike))
        logits = torch.stack([near, far], dim=1) / self.temperature
        return self.weight * F.cross_entropy(logits, torch.zeros(len(own), dtype=torch.int64, device=own.device))


def last_linear(module: nn.Module) -> nn.Linear:
    """The last of a module's linear layers, in the order in which they were made part of it."""
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]


@contextmanager
def given_to(layer: nn.Module) -> Iterator[list[Tensor]]:
    """A list to which all that a layer is given meanwhile is added."""
    given: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, arguments: given.append(arguments[0]))
    try:
        yield given
    finally:
        hook.remove()
