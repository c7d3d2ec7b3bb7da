"""A model as flat vectors: its parameters are views into one vector of weights, its gradients into another."""

from collections.abc import Iterable, Sequence
from math import isfinite

import torch
from torch import Tensor, nn

from manyhands import seeds
from manyhands.tasks.task import Samples, Task
from manyhands.training.evaluation import Evaluation, evaluate
from manyhands.training.loss import CrossEntropy
from manyhands.training.optimizer import SGD
from manyhands.training.precision import Precision
from manyhands.training.sampler import Batch


class Learner:
    """One instance of a task's model, able to compute at anybody's weights.

    Weights are float32 [P]: the T trainable parameters in the order of ``module.named_parameters()``, then the
    float buffers in the order of ``module.named_buffers()``. Gradients are float32 [T].
    """

    def __init__(
        self, task: Task, *, loss: CrossEntropy, precision: Precision, device: torch.device, seed: int
    ) -> None:
        self.task, self.loss, self.precision, self.device, self.seed = task, loss, precision, device, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeds.entropy(seed, "weights") % 2**63)
            self.module = task.model().to(device)
        self._parameters = [p for p in self.module.parameters() if p.requires_grad]
        self._buffers = [b for b in self.module.buffers() if b.is_floating_point()]
        # Whole-number buffers, such as batch norm's count of batches, are no part of anybody's weights.
        self._counters = {n: b.clone() for n, b in self.module.named_buffers() if not b.is_floating_point()}
        self.parameters = sum(p.numel() for p in self._parameters)
        """T, the number of trainable parameters"""
        self.buffers = sum(b.numel() for b in self._buffers)
        """P - T, the number of float buffers"""
        self.initial_weights = torch.cat([t.detach().flatten().float() for t in self._pieces()])
        self.stochastic = any(isinstance(m, nn.modules.dropout._DropoutNd) for m in self.module.modules())
        """whether the forward pass draws random numbers from torch's own generator"""
        self._weights: Tensor | None = None
        self._gradient: Tensor | None = None

    def _pieces(self) -> list[Tensor]:
        return [*self._parameters, *self._buffers]

    def bind(self, weights: Tensor) -> None:
        """Make the module's parameters and float buffers views into ``weights``, float32 [P]."""
        if weights is self._weights:
            return
        for piece, part in zip(self._pieces(), _split(weights, self._pieces()), strict=True):
            piece.data = part
        self._weights = weights

    def collect(self, gradient: Tensor) -> None:
        """Make the parameters' gradients views into ``gradient``, float32 [T], where backward adds to them."""
        if gradient is self._gradient:
            return
        for parameter, part in zip(self._parameters, _split(gradient, self._parameters), strict=True):
            parameter.grad = part
        self._gradient = gradient

    def inputs(self, batch: Batch, rank: int) -> tuple[Tensor, Tensor]:
        """The batch itself, normalised and augmented on the device: inputs float32 [b, …], targets int64 [b]."""
        indices = torch.from_numpy(batch.indices).to(self.device)
        inputs, targets = self.task.train.inputs[indices], self.task.train.targets[indices]
        if self.task.augmentation is not None:
            inputs = self.task.augmentation(inputs, self._generator(rank, "augmentation", batch.number))
        return self.precision.layout(self.task.prepare(inputs)), targets

    def _generator(self, rank: int, purpose: str, number: int) -> torch.Generator:
        return torch.Generator().manual_seed(seeds.entropy(self.seed, rank, purpose, number) % 2**63)

    def batch_loss(self, batch: Batch, rank: int, module: nn.Module | None = None) -> Tensor:
        """The loss on a batch, ready for backward. ``module`` may wrap this learner's own."""
        inputs, targets = self.inputs(batch, rank)
        if self.stochastic:
            torch.manual_seed(seeds.entropy(self.seed, rank, "dropout", batch.number) % 2**63)
        with self.precision.autocast(self.device):
            return self.loss((module or self.module)(inputs), targets)

    def gradient(self, weights: Tensor, batch: Batch, rank: int) -> tuple[Tensor, float]:
        """The gradient at ``weights`` on a batch, float32 [T], and the loss; batch statistics in weights change."""
        gradient = torch.zeros(self.parameters, device=self.device)
        self.bind(weights)
        self.collect(gradient)
        loss = self.batch_loss(batch, rank)
        loss.backward()  # type: ignore[no-untyped-call]
        return gradient, float(loss.detach())

    def leaves_unused(self, batch: Batch, rank: int) -> bool:
        """Whether some trainable parameters have no part in the loss. Batch statistics change."""
        loss = self.batch_loss(batch, rank)
        gradients = torch.autograd.grad(loss, self._parameters, allow_unused=True)
        return any(gradient is None for gradient in gradients)

    def train(
        self, weights: Tensor, batches: Iterable[Batch], rank: int, optimizer: SGD, lr: float, mask: Tensor | None
    ) -> list[float]:
        """A step of a fresh optimiser for each batch, in place; the losses. Stops at one that is not finite."""
        self.bind(weights)
        gradient = torch.zeros(self.parameters, device=self.device)
        self.collect(gradient)
        parameters = weights[: self.parameters]
        state = optimizer.init(parameters)
        losses = []
        for batch in batches:
            gradient.zero_()
            loss = self.batch_loss(batch, rank)
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(float(loss.detach()))
            if not isfinite(losses[-1]):
                break
            optimizer.step(parameters, gradient, state, lr, mask)
        return losses

    def evaluate(self, weights: Tensor, samples: Samples) -> Evaluation:
        """How the model with these weights does on the samples."""
        self.bind(weights)
        return evaluate(self.module, self.task, samples, self.precision)

    def state_dict(self, weights: Tensor) -> dict[str, Tensor]:
        """The module's named tensors with these weights, copied, on the CPU, contiguous; counters as they began."""
        self.bind(weights)
        state = {name: self._counters.get(name, tensor) for name, tensor in self.module.state_dict().items()}
        return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}

    def flatten(self, state: dict[str, Tensor]) -> Tensor:
        """The weights vector of a module's named tensors; raises KeyError or RuntimeError where they do not fit."""
        self.bind(self.initial_weights.clone())
        self.module.load_state_dict(state)
        assert self._weights is not None
        return self._weights.clone()


def _split(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    parts = torch.split(vector, [tensor.numel() for tensor in like])
    return [part.view(tensor.shape) for part, tensor in zip(parts, like, strict=True)]
