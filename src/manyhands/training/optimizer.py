"""Stochastic gradient descent over flat vectors. Torch is imported on use only: SGD is configuration too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class SGD:
    """Stochastic gradient descent.

    With the semantics of torch.optim.SGD after torch.nn.utils.clip_grad_norm_:

        g ← g · min(1, clip_norm / (‖g‖ + 1e-6))
        d ← g + weight_decay · w
        m ← momentum · m + d
        w ← w − lr · m,  or with Nesterov (Sutskever et al. 2013)  w ← w − lr · (d + momentum · m)

    ``decay_norms_and_biases=False`` spares the parameters that ``decay_mask`` marks 0 (Goyal et al. 2017,
    https://arxiv.org/abs/1706.02677, section 5.1). Raises UserError for values out of range.
    """

    momentum: float = 0.0
    """share of the last step's velocity that is kept"""
    nesterov: bool = False
    """momentum as Nesterov has it"""
    weight_decay: float = 0.0
    """factor of the weights that is added to their gradient"""
    decay_norms_and_biases: bool = True
    """whether the weight decay is for norms and biases too"""
    clip_norm: float | None = None
    """largest norm of a gradient, to which longer ones are scaled; default: any"""

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise UserError(f"momentum must be at least 0 and below 1, not {self.momentum}")
        if self.nesterov and not self.momentum:
            raise UserError("nesterov needs a momentum above 0, such as 0.9")
        if not 0 <= self.weight_decay < float("inf"):
            raise UserError(f"weight decay must be at least 0, not {self.weight_decay}")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise UserError(f"clip norm must be above 0, not {self.clip_norm}")

    @property
    def needs_decay_mask(self) -> bool:
        """Whether ``step`` must be given a decay mask."""
        return self.weight_decay > 0 and not self.decay_norms_and_biases

    def init(self, parameters: Tensor) -> dict[str, Tensor]:
        """The state before the first step, for parameters [T]: empty, or ``momentum`` [T] of zeros."""
        return {"momentum": parameters.new_zeros(parameters.shape)} if self.momentum else {}

    def step(
        self,
        parameters: Tensor,
        gradient: Tensor,
        state: dict[str, Tensor],
        lr: float,
        decay_mask: Tensor | None = None,
    ) -> None:
        """One step in place on ``parameters`` [T] and on ``state``. ``gradient`` [T] is left as it is.

        ``decay_mask`` [T] is 1 where the weight decay applies and 0 elsewhere; None where it applies
        everywhere.
        """
        import torch

        assert decay_mask is not None or not self.needs_decay_mask
        with torch.no_grad():
            scale = 1.0
            if self.clip_norm is not None:
                scale = min(1.0, self.clip_norm / (float(gradient.norm()) + 1e-6))
            if not self.momentum:
                self._decay(parameters, parameters, -lr * self.weight_decay, decay_mask)
                parameters.add_(gradient, alpha=-lr * scale)
                return
            # Each of these lines is one pass over memory, and none makes a temporary vector.
            momentum = state["momentum"]
            if scale == 1.0:
                torch.add(gradient, momentum, alpha=self.momentum, out=momentum)
            else:
                momentum.mul_(self.momentum).add_(gradient, alpha=scale)
            self._decay(momentum, parameters, self.weight_decay, decay_mask)
            if self.nesterov:
                self._decay(parameters, parameters, -lr * self.weight_decay, decay_mask)
                parameters.add_(gradient, alpha=-lr * scale)
                parameters.add_(momentum, alpha=-lr * self.momentum)
            else:
                parameters.add_(momentum, alpha=-lr)

    def _decay(self, target: Tensor, parameters: Tensor, scale: float, mask: Tensor | None) -> None:
        """Add scale · mask · parameters to the target, in place."""
        if not self.weight_decay:
            return
        if mask is None:
            target.add_(parameters, alpha=scale)
        else:
            target.addcmul_(parameters, mask, value=scale)


def decay_mask(module: nn.Module) -> Tensor:
    """Float [T] over the module's trainable parameters: 0 on the norms' parameters and biases, 1 elsewhere.

    Told by their shape: norms' scales and biases are the parameters with at most one dimension.
    """
    import torch

    return torch.cat(
        [
            torch.full((p.numel(),), float(p.ndim > 1), device=p.device, dtype=p.dtype)
            for p in module.parameters()
            if p.requires_grad
        ]
    )
