"""What a server makes of its clients' mean change: algorithm 2 of Reddi et al. 2021, https://arxiv.org/abs/2003.00295."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.errors import UserError
from manyhands.values import Family, Value

if TYPE_CHECKING:
    from torch import Tensor

    from manyhands.clusters.node import Node


@dataclass(frozen=True)
class ServerOptimizer(Value):
    """An optimiser for which the mean change Δ of the clients' parameters stands in for a negative gradient.

    Its state is kept by the node.
    """

    def step(self, node: "Node", change: "Tensor") -> "Tensor":
        """What to add to the parameters, given Δ; both float32 [T]."""
        raise NotImplementedError


SERVER_OPTIMIZERS: Family[ServerOptimizer] = Family("server optimiser", ServerOptimizer)


@SERVER_OPTIMIZERS.register("sgd")
@dataclass(frozen=True)
class ServerSGD(ServerOptimizer):
    """v ← momentum · v + Δ,  x ← x + lr · v.

    With momentum this is FedAvgM (Hsu et al. 2019, https://arxiv.org/abs/1909.06335); with ``lr=1`` and none it is
    federated averaging.
    """

    lr: float = 1.0
    momentum: float = 0.0

    def __post_init__(self) -> None:
        _check_positive("lr", self.lr)
        _check_share("momentum", self.momentum)

    def step(self, node: "Node", change: "Tensor") -> "Tensor":
        if not self.momentum:
            return self.lr * change
        velocity = node.kept("server-velocity", change.new_zeros(len(change)))
        return self.lr * velocity.mul_(self.momentum).add_(change)


@dataclass(frozen=True)
class Adaptive(ServerOptimizer):
    """m ← beta1 · m + (1 − beta1) · Δ,  v as the member has it,  x ← x + lr · m / (√v + tau).

    m starts at 0 and v at tau²; neither is corrected for that.
    """

    lr: float = 0.01
    """about how long the first step of each parameter is, whatever Δ, unless the betas are changed"""
    tau: float = 1e-3
    """how little adaptive it is: the least that a step is divided by"""
    beta1: float = 0.9

    def __post_init__(self) -> None:
        _check_positive("lr", self.lr)
        _check_positive("tau", self.tau)
        _check_share("beta1", self.beta1)

    def step(self, node: "Node", change: "Tensor") -> "Tensor":
        mean = node.kept("server-mean", change.new_zeros(len(change)))
        square = node.kept("server-square", change.new_full((len(change),), self.tau**2))
        mean.mul_(self.beta1).add_(change, alpha=1 - self.beta1)
        self.accumulate(square, change * change)
        return self.lr * mean / (square.sqrt() + self.tau)

    def accumulate(self, square: "Tensor", new: "Tensor") -> None:
        """Take Δ² into v, in place."""
        raise NotImplementedError


@SERVER_OPTIMIZERS.register("adagrad")
@dataclass(frozen=True)
class ServerAdagrad(Adaptive):
    """v ← v + Δ²."""

    beta1: float = 0.0

    def accumulate(self, square: "Tensor", new: "Tensor") -> None:
        square.add_(new)


@SERVER_OPTIMIZERS.register("adam")
@dataclass(frozen=True)
class ServerAdam(Adaptive):
    """v ← beta2 · v + (1 − beta2) · Δ²."""

    beta2: float = 0.99

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_share("beta2", self.beta2)

    def accumulate(self, square: "Tensor", new: "Tensor") -> None:
        square.mul_(self.beta2).add_(new, alpha=1 - self.beta2)


@SERVER_OPTIMIZERS.register("yogi")
@dataclass(frozen=True)
class ServerYogi(ServerAdam):
    """v ← v − (1 − beta2) · Δ² · sign(v − Δ²)."""

    def accumulate(self, square: "Tensor", new: "Tensor") -> None:
        square.sub_(new * (square - new).sign(), alpha=1 - self.beta2)


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise UserError(f"{name} must be above 0, not {value}")


def _check_share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise UserError(f"{name} must be at least 0 and below 1, not {value}")
