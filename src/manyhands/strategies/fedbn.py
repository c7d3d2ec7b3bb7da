from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.strategies.base import register
from manyhands.strategies.personal import Personal

if TYPE_CHECKING:
    from manyhands.clusters.layout import Layout, Ranges


@register("fedbn")
@dataclass(frozen=True, kw_only=True)
class FedBN(Personal):
    """Federated averaging in which every client has norm layers of its own, for data that differ in their features.

    Scales, shifts and batch statistics stay with the clients; of group and layer norms too, which the paper does not
    speak of. For a model without norms it is federated averaging.
    """

    paper = "Li et al. 2021, FedBN: Federated Learning on Non-IID Features via Local Batch Normalization"
    url = "https://arxiv.org/abs/2102.07623"
    sends = "C · (P − H) a round; server: n · C · (P − H) a round"

    def own(self, layout: "Layout") -> "Ranges":
        return layout.norms
