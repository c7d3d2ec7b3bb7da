"""The loss of classification. Torch is imported on the first call only: the value itself is configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """Mean cross-entropy of the softmax over a batch.

    ``label_smoothing`` ε mixes each target with the uniform distribution, (1 − ε) onehot + ε / classes
    (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567). ``one_hot`` computes with one-hot vectors for
    targets instead of class numbers; the loss is the same. Raises UserError for an ε outside [0, 1].
    """

    label_smoothing: float = 0.0
    """share of each target that is spread over all classes"""
    one_hot: bool = False
    """compute with one-hot vectors for targets"""

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing <= 1:
            raise UserError(f"label smoothing must lie between 0 and 1, not {self.label_smoothing}")

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits [b, classes] and targets int64 [b] to a scalar, in float32 at least."""
        import torch
        import torch.nn.functional as F

        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if self.one_hot:
            targets = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
        return F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
