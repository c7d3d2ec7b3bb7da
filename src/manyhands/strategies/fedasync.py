from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.errors import UserError
from manyhands.strategies.asynchronous import Arrival, Asynchronous
from manyhands.strategies.base import register

if TYPE_CHECKING:
    from manyhands.clusters.node import Node


@register("fedasync")
@dataclass(frozen=True, kw_only=True)
class FedAsync(Asynchronous):
    """The server mixes each client's weights into its own as they come: x ← (1 − α_t) · x + α_t · x_new.

    α_t is ``alpha`` times a factor that falls with the staleness of x_new. ``alpha=0.5`` with a constant factor is the
    pairwise averaging of global and client weights that courses often show. With one client ``alpha=1`` is plain SGD.
    What a client sends is how its weights changed, and the server remembers what it had handed out.
    """

    alpha: float = 0.6
    """share of a client's weights in the mixture (α in the paper)"""

    paper = "Xie, Koyejo & Gupta 2019, Asynchronous Federated Optimization"
    url = "https://arxiv.org/abs/1903.03934"
    sends = "P a round; server: n · P a round"
    replies_per_update = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.alpha <= 1:
            raise UserError(f"--strategy.alpha of {self.name} must lie in (0, 1], not {self.alpha}")

    def check(self, workers: int) -> None:
        super().check(workers)
        self.aggregation.check(1)

    def merge(self, node: "Node", arrivals: list[Arrival]) -> None:
        (arrival,) = arrivals
        samples = [float(node.samples_of(arrival.client))]
        (change,) = self.aggregation.combine_replies([arrival.reply], samples, node)
        alpha = self.alpha * self.staleness.factor(arrival.staleness)
        node.weights.lerp_(arrival.start.weights + change, alpha)
