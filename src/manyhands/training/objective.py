"""What local steps minimise beside the loss on their batches."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Objective:
    """F(w) + ⟨offset, w⟩ + pull/2 · ‖w − anchor‖², where F is the loss on a batch; only F by default.

    All that FedProx, SCAFFOLD and FedDyn change in a client's local steps.
    """

    pull: float = 0.0
    anchor: Tensor | None = None
    """float32 [T]; needed where there is a pull"""
    offset: Tensor | None = None
    """float32 [T]"""

    def add_gradient(self, gradient: Tensor, parameters: Tensor) -> None:
        """Add to F's ``gradient`` [T], in place, that of the rest at ``parameters`` [T]."""
        if self.offset is not None:
            gradient += self.offset
        if self.pull and self.anchor is not None:
            gradient.add_(parameters, alpha=self.pull).sub_(self.anchor, alpha=self.pull)

    @property
    def traffic(self) -> int:
        """Bytes that it moves in a step for each parameter."""
        return 12 * (self.offset is not None) + 16 * bool(self.pull)


PLAIN = Objective()
