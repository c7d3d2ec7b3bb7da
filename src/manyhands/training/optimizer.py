"""Optimisers over flat vectors. Torch is imported on use only: an optimiser is configuration too.

State is a dictionary of tensors, which checkpoints keep as it is. On device "meta", which has shapes and no values, a
step changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from math import inf, prod
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from manyhands.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

State: TypeAlias = "dict[str, Tensor]"
Mask: TypeAlias = "Tensor | None"
Shapes: TypeAlias = Sequence[tuple[int, ...]]

OPTIMIZERS: dict[str, type[Optimizer]] = {}


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """What makes a step of a gradient. The value holds the options; the state is given to each call.

    ``clip_norm`` scales the whole gradient first, as torch.nn.utils.clip_grad_norm_ does:
    g ← g · min(1, clip_norm / (‖g‖ + 1e-6)). Raises UserError for options out of range.
    """

    name: ClassVar[str]
    default_lr: ClassVar[float]
    """the learning rate where the run gives none"""
    layerwise: ClassVar[bool] = False
    """whether a number's step depends on the others of its layer"""

    clip_norm: float | None = None
    """largest norm of a gradient, to which longer ones are scaled; default: any"""

    def __post_init__(self) -> None:
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise UserError(f"clip norm must be above 0, not {self.clip_norm}")

    def __str__(self) -> str:
        """The name and what differs from the defaults: ``sgd:momentum=0.9``."""
        given = [(option.name, getattr(self, option.name), option.default) for option in fields(self)]
        options = ",".join(f"{name}={value}" for name, value, default in given if value != default)
        return f"{self.name}:{options}" if options else self.name

    @property
    def elementwise(self) -> bool:
        """Whether each number's step depends on its own gradients alone, so that parts may step by themselves."""
        return not self.layerwise and self.clip_norm is None

    @property
    def needs_decay_mask(self) -> bool:
        """Whether ``step`` must be given a decay mask."""
        return False

    def init(self, parameters: Tensor) -> State:
        """The state before the first step, for parameters [T]."""
        raise NotImplementedError

    def step(
        self,
        parameters: Tensor,
        gradient: Tensor,
        state: State,
        lr: float,
        decay_mask: Mask = None,
        shapes: Shapes = (),
    ) -> None:
        """One step in place on ``parameters`` [T] and on ``state``. ``gradient`` [T] is left as it is.

        ``decay_mask`` [T] is 1 where the weight decay applies and 0 elsewhere; None where it applies everywhere.
        ``shapes`` are those of the layers in the vector, in order; only layerwise optimisers need them.
        """
        import torch

        assert parameters.shape == gradient.shape
        assert decay_mask is not None or not self.needs_decay_mask
        assert not self.layerwise or sum(map(prod, shapes)) == parameters.numel(), "shapes of other layers"
        if parameters.is_meta:
            return
        with torch.no_grad():
            scale = 1.0
            if self.clip_norm is not None:
                scale = min(1.0, self.clip_norm / (float(gradient.norm()) + 1e-6))
            self._step(parameters, gradient, scale, state, lr, decay_mask, shapes)

    def _step(
        self, parameters: Tensor, gradient: Tensor, scale: float, state: State, lr: float, mask: Mask, shapes: Shapes
    ) -> None:
        """``step`` with ``scale`` times the gradient."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent.

    With the semantics of torch.optim.SGD:

        d ← g + weight_decay · w
        m ← momentum · m + d
        w ← w − lr · m,  or with Nesterov (Sutskever et al. 2013)  w ← w − lr · (d + momentum · m)

    ``decay_norms_and_biases=False`` spares the parameters that ``decay_mask`` marks 0 (Goyal et al. 2017,
    https://arxiv.org/abs/1706.02677, section 5.1).
    """

    name = "sgd"
    default_lr = 0.05

    momentum: float = 0.0
    """share of the last step's velocity that is kept"""
    nesterov: bool = False
    """momentum as Nesterov has it"""
    weight_decay: float = 0.0
    """factor of the weights that is added to their gradient"""
    decay_norms_and_biases: bool = True
    """whether the weight decay is for norms and biases too"""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_share("momentum", self.momentum)
        if self.nesterov and not self.momentum:
            raise UserError("nesterov needs a momentum above 0, such as 0.9")
        _check_decay(self.weight_decay)

    @property
    def needs_decay_mask(self) -> bool:
        return self.weight_decay > 0 and not self.decay_norms_and_biases

    def init(self, parameters: Tensor) -> State:
        """Empty, or ``momentum`` [T] of zeros."""
        return {"momentum": parameters.new_zeros(parameters.shape)} if self.momentum else {}

    def _step(
        self, parameters: Tensor, gradient: Tensor, scale: float, state: State, lr: float, mask: Mask, shapes: Shapes
    ) -> None:
        import torch

        if not self.momentum:
            self._decay(parameters, parameters, -lr * self.weight_decay, mask)
            parameters.add_(gradient, alpha=-lr * scale)
            return
        # Each of these lines is one pass over memory, and none makes a temporary vector.
        momentum = state["momentum"]
        if scale == 1.0:
            torch.add(gradient, momentum, alpha=self.momentum, out=momentum)
        else:
            momentum.mul_(self.momentum).add_(gradient, alpha=scale)
        self._decay(momentum, parameters, self.weight_decay, mask)
        if self.nesterov:
            self._decay(parameters, parameters, -lr * self.weight_decay, mask)
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


@dataclass(frozen=True, kw_only=True)
class _Adam(Optimizer):
    """The moments of Adam (Kingma & Ba 2015, https://arxiv.org/abs/1412.6980), and their direction."""

    beta1: float = 0.9
    """share of the mean gradient that is kept at each step"""
    beta2: float = 0.999
    """share of the mean squared gradient that is kept at each step"""
    epsilon: float = 1e-8
    """added to the root of the mean squared gradient"""
    weight_decay: float = 0.01
    """decoupled from the gradient: factor of the weights that is added to the direction of the step"""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_share("beta1", self.beta1)
        _check_share("beta2", self.beta2)
        _check_positive("epsilon", self.epsilon)
        _check_decay(self.weight_decay)

    def init(self, parameters: Tensor) -> State:
        """``mean`` and ``square`` [T] of zeros, and ``steps``, a float32 scalar that counts them."""
        moments = {name: parameters.new_zeros(parameters.shape) for name in ("mean", "square")}
        return {**moments, "steps": parameters.new_zeros(())}

    def _descend(
        self, target: Tensor, gradient: Tensor, scale: float, state: State, lr: float, weight_decay: float
    ) -> None:
        """target ← (1 − lr · weight_decay) · target − lr · direction: one pass over all vectors by torch's kernel."""
        from torch.optim.adamw import adamw

        adamw(
            [target],
            [gradient if scale == 1.0 else gradient * scale],
            [state["mean"]],
            [state["square"]],
            [],
            [state["steps"]],
            fused=True,
            amsgrad=False,
            beta1=self.beta1,
            beta2=self.beta2,
            lr=lr,
            weight_decay=weight_decay,
            eps=self.epsilon,
            maximize=False,
        )


@dataclass(frozen=True, kw_only=True)
class AdamW(_Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101).

    With the semantics of torch.optim.AdamW; t counts the steps from 1:

        w ← w − lr · weight_decay · w
        m ← beta1 · m + (1 − beta1) · g,   v ← beta2 · v + (1 − beta2) · g²
        w ← w − lr · (m / (1 − beta1ᵗ)) / (√(v / (1 − beta2ᵗ)) + epsilon)

    ``decay_norms_and_biases=False`` spares the parameters that ``decay_mask`` marks 0.
    """

    name = "adamw"
    default_lr = 1e-3

    decay_norms_and_biases: bool = True
    """whether the weight decay is for norms and biases too"""

    @property
    def needs_decay_mask(self) -> bool:
        return self.weight_decay > 0 and not self.decay_norms_and_biases

    def _step(
        self, parameters: Tensor, gradient: Tensor, scale: float, state: State, lr: float, mask: Mask, shapes: Shapes
    ) -> None:
        weight_decay = self.weight_decay
        if mask is not None and weight_decay:  # the kernel knows no mask
            parameters.addcmul_(parameters, mask, value=-lr * weight_decay)
            weight_decay = 0.0
        self._descend(parameters, gradient, scale, state, lr, weight_decay)


@dataclass(frozen=True, kw_only=True)
class LARS(Optimizer):
    """Layer-wise adaptive rate scaling for large batches (You et al. 2017, https://arxiv.org/abs/1708.03888).

    SGD with momentum in which each layer's gradient is made as long as a share of its weights:

        ratio = trust · ‖w‖ / (‖g‖ + weight_decay · ‖w‖ + 1e-9),  and 1 where ‖w‖ or ‖g‖ is 0
        m ← momentum · m + ratio · (g + weight_decay · w),   w ← w − lr · m

    As is usual, the learning rate stands outside the momentum, and norms and biases (tensors with at most one
    dimension) have ratio 1 and no decay.
    """

    name = "lars"
    default_lr = 1.0
    layerwise = True

    momentum: float = 0.9
    """share of the last step's velocity that is kept"""
    weight_decay: float = 5e-4
    """factor of the weights that is added to their gradient; never for norms and biases"""
    trust: float = 0.001
    """length of a layer's step at learning rate 1, as a share of its weights' norm"""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_share("momentum", self.momentum)
        _check_decay(self.weight_decay)
        _check_positive("trust", self.trust)

    def init(self, parameters: Tensor) -> State:
        """``momentum`` [T] of zeros."""
        return {"momentum": parameters.new_zeros(parameters.shape)}

    def _step(
        self, parameters: Tensor, gradient: Tensor, scale: float, state: State, lr: float, mask: Mask, shapes: Shapes
    ) -> None:
        momentum = state["momentum"].mul_(self.momentum)
        lengths, steepness = _norms(parameters, shapes), _norms(gradient, shapes)
        for part, shape, length, slope in zip(_layers(shapes), shapes, lengths, steepness, strict=True):
            decay, slope = self.weight_decay if _adapts(shape) else 0.0, slope * scale
            ratio = 1.0
            if _adapts(shape) and length and slope:
                ratio = self.trust * length / (slope + decay * length + 1e-9)
            momentum[part].add_(gradient[part], alpha=ratio * scale)
            if decay:
                momentum[part].add_(parameters[part], alpha=ratio * decay)
        parameters.add_(momentum, alpha=-lr)


@dataclass(frozen=True, kw_only=True)
class LAMB(_Adam):
    """Adam whose steps are as long as a layer's weights, for large batches (You et al. 2020).

    https://arxiv.org/abs/1904.00962, algorithm 2, with φ the identity. With m and v as in AdamW:

        r = (m / (1 − beta1ᵗ)) / (√(v / (1 − beta2ᵗ)) + epsilon),   u = r + weight_decay · w
        w ← w − lr · ‖w‖ / ‖u‖ · u,  without the ratio where ‖w‖ or ‖u‖ is 0

    Norms and biases (tensors with at most one dimension) have ratio 1 and no decay.
    """

    name = "lamb"
    default_lr = 0.01
    layerwise = True

    epsilon: float = 1e-6
    """added to the root of the mean squared gradient"""
    weight_decay: float = 0.01
    """factor of the weights that is added to the direction of the step; never for norms and biases"""

    def _step(
        self, parameters: Tensor, gradient: Tensor, scale: float, state: State, lr: float, mask: Mask, shapes: Shapes
    ) -> None:
        descent = parameters.new_zeros(parameters.shape)  # −r, and then −u
        self._descend(descent, gradient, scale, state, lr=1.0, weight_decay=0.0)
        if self.weight_decay:
            for part, shape in zip(_layers(shapes), shapes, strict=True):
                if _adapts(shape):
                    descent[part].add_(parameters[part], alpha=-self.weight_decay)
        lengths, updates = _norms(parameters, shapes), _norms(descent, shapes)
        for part, shape, length, update in zip(_layers(shapes), shapes, lengths, updates, strict=True):
            ratio = length / update if _adapts(shape) and length and update else 1.0
            parameters[part].add_(descent[part], alpha=lr * ratio)


OPTIMIZERS.update({kind.name: kind for kind in (SGD, AdamW, LARS, LAMB)})


def decay_mask(module: nn.Module) -> Tensor:
    """Float [T] over the module's trainable parameters: 0 on the norms' parameters and biases, 1 elsewhere.

    Told by their shape: norms' scales and biases are the parameters with at most one dimension.
    """
    import torch

    return torch.cat(
        [
            torch.full((p.numel(),), float(_adapts(p.shape)), device=p.device, dtype=p.dtype)
            for p in module.parameters()
            if p.requires_grad
        ]
    )


def _adapts(shape: Sequence[int]) -> bool:
    """Whether a tensor of this shape is a layer's weight, and no norm's parameter or bias."""
    return len(shape) > 1


def _layers(shapes: Shapes) -> Iterator[slice]:
    """Where each layer stands in the vector."""
    start = 0
    for shape in shapes:
        yield slice(start, start := start + prod(shape))


def _norms(vector: Tensor, shapes: Shapes) -> list[float]:
    """Of each layer in the vector; read all at once, since a device must be waited for."""
    import torch

    norms: list[float] = torch.stack([vector[part].norm() for part in _layers(shapes)]).tolist()
    return norms


def _check_share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise UserError(f"{name} must be at least 0 and below 1, not {value}")


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < inf:
        raise UserError(f"{name} must be above 0 and finite, not {value}")


def _check_decay(value: float) -> None:
    if not 0 <= value < inf:
        raise UserError(f"weight decay must be at least 0, not {value}")
