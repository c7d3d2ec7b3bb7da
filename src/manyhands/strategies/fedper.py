from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.errors import UserError
from manyhands.strategies.base import register
from manyhands.strategies.personal import Personal

if TYPE_CHECKING:
    from manyhands.clusters.layout import Layout, Ranges


@register("fedper")
@dataclass(frozen=True, kw_only=True)
class FedPer(Personal):
    """Federated averaging in which every client has last layers of its own, for data that differ in their classes.

    A client trains all its layers together. ``layers=0`` is federated averaging; of a model that is one linear layer
    nothing is shared.
    """

    layers: int = 1
    """how many of the last linear layers stay with the clients (K_P in the paper)"""

    paper = "Arivazhagan et al. 2019, Federated Learning with Personalization Layers"
    url = "https://arxiv.org/abs/1912.00818"
    sends = "C · (P − H) a round; server: n · C · (P − H) a round"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers < 0:
            raise UserError(f"--strategy.layers of {self.name} must be zero or more, not {self.layers}")

    def fit_layers(self, layout: "Layout") -> None:
        if self.layers > len(layout.linears):
            raise UserError(
                f"--strategy.layers {self.layers} of {self.name} is more than the model's linear layers, "
                f"of which it has {len(layout.linears)}"
            )

    def own(self, layout: "Layout") -> "Ranges":
        last = layout.linears[len(layout.linears) - self.layers :]
        return tuple(sorted((part for layer in last for part in layer), key=lambda part: part.start))
