from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.errors import UserError
from manyhands.strategies.base import register
from manyhands.strategies.federated import Federated, Tensors

if TYPE_CHECKING:
    from manyhands.clusters.node import Node


@register("fedsgd")
@dataclass(frozen=True, kw_only=True)
class FedSGD(Federated):
    """Each round the server steps by the mean of its clients' gradients, each over all samples that a client holds.

    The steps are those of the run's optimiser, which remembers the rounds before. With all clients it is SGD over all
    data at once; without momentum it is federated averaging with one full-batch step. Samples are computed on
    ``batch_size`` at a time, which changes nothing but what batch norm sees.
    """

    paper = "McMahan et al. 2017, Communication-Efficient Learning of Deep Networks from Decentralized Data"
    url = "https://arxiv.org/abs/1602.05629"
    sends = "C · (G + B) a round; server: n · C · P a round"
    steps_locally = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.local_epochs != 1 or self.local_steps:
            raise UserError(
                f"{self.name} takes no local steps, but one gradient over all of a client's samples: "
                "leave out --strategy.local-epochs and --strategy.local-steps"
            )

    async def client(self, node: "Node", received: Tensors) -> Tensors:
        """The gradient [T], followed by how the batch statistics changed."""
        (weights,) = received
        node.weights = weights
        gradient = await node.gradient(node.whole_batch())
        reply = node.weights - weights
        reply[: len(gradient)] = gradient
        return (reply,)

    def update(self, node: "Node", mean: Tensors, clients: Sequence[int]) -> None:
        size = node.layout.parameters
        node.step(mean[0][:size])
        node.buffers.add_(mean[0][size:])
