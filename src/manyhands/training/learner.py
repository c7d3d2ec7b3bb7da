"""A model as flat vectors: its parameters are views into one vector of weights, its gradients into another."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from math import isfinite

import numpy as np
import torch
from torch import Tensor, nn

from manyhands import seeds
from manyhands.tasks.models.dropout import Dropout
from manyhands.tasks.task import Samples, Task
from manyhands.training.contrast import Contrast, given_to, last_linear
from manyhands.training.evaluation import Evaluation, evaluate, evaluation_mode
from manyhands.training.loss import CrossEntropy
from manyhands.training.objective import PLAIN, Objective
from manyhands.training.optimizer import Optimizer
from manyhands.training.precision import Precision
from manyhands.training.sampler import Batch, micro_sizes


class Learner:
    """One instance of a task's model, able to compute at anybody's weights.

    Weights are float32 [P]: the T trainable parameters in the order of ``module.named_parameters()``, then the
    float buffers in the order of ``module.named_buffers()``. Gradients are float32 [T].
    """

    def __init__(
        self,
        task: Task,
        *,
        loss: CrossEntropy,
        precision: Precision,
        device: torch.device,
        seed: int,
        micro_batch: int | None = None,
    ) -> None:
        self.task, self.loss, self.precision, self.device, self.seed = task, loss, precision, device, seed
        self.micro_batch = micro_batch
        """the most samples computed on at once: larger batches are made of several, whose gradients are added up"""
        self.prepared: Tensor | None = None
        """all training inputs as the model takes them; None: each batch is prepared by itself"""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seeds.entropy(seed, "weights") % 2**63)
            self.module = task.model().to(device)
        self._parameters = [p for p in self.module.parameters() if p.requires_grad]
        self._buffers = [b for b in self.module.buffers() if b.is_floating_point()]
        # Whole-number buffers, such as batch norm's count of batches, are no part of anybody's weights.
        self._counters = {n: b.clone() for n, b in self.module.named_buffers() if not b.is_floating_point()}
        self.shapes = tuple(tuple(p.shape) for p in self._parameters)
        """of the trainable tensors, in the order in which they stand in the vector"""
        self.parameters = sum(p.numel() for p in self._parameters)
        """T, the number of trainable parameters"""
        self.buffers = sum(b.numel() for b in self._buffers)
        """P - T, the number of float buffers"""
        self.initial_weights = torch.cat([t.detach().flatten().float() for t in self._pieces()])
        self.stochastic = any(isinstance(m, nn.modules.dropout._DropoutNd) for m in self.module.modules())
        """whether the forward pass draws random numbers from torch's own generator"""
        self._dropouts = [m for m in self.module.modules() if isinstance(m, Dropout)]
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
        if batch.tensors is not None:
            return batch.tensors
        indices = torch.from_numpy(batch.indices).to(self.device)
        if self.task.augmentation is None:
            return self.fetch(indices)
        inputs, targets = self.task.train.inputs[indices], self.task.train.targets[indices]
        inputs = self.task.augmentation(inputs, self._generator(rank, "augmentation", batch))
        return self.precision.layout(self.task.prepare(inputs)), targets

    def fetch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Training samples as they are: inputs normalised float32 [b, …], targets int64 [b]; ``indices`` int64 [b]."""
        train = self.task.train
        if self.prepared is None:
            inputs = self.task.prepare(train.inputs.index_select(0, indices))
        else:
            inputs = self.prepared.index_select(0, indices)
        return self.precision.layout(inputs), train.targets.index_select(0, indices)

    def _seed_torch(self, seed: int) -> None:
        """As `torch.manual_seed` does, which takes as long as a small step to note who called it."""
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _generator(self, rank: int, purpose: str, batch: Batch) -> torch.Generator:
        return torch.Generator().manual_seed(self._entropy(rank, purpose, batch))

    def _entropy(self, rank: int, purpose: str, batch: Batch) -> int:
        part = (batch.part,) if batch.part else ()
        return seeds.entropy(self.seed, rank, purpose, batch.number, *part) % 2**63

    def micro_batches(self, batch: Batch) -> list[Batch]:
        """The batch in parts of at most ``micro_batch`` samples; each has random numbers of its own."""
        sizes = micro_sizes(len(batch), self.micro_batch)
        if len(sizes) == 1:
            return [batch]
        if batch.tensors is not None:
            inputs, targets = (torch.split(tensor, sizes) for tensor in batch.tensors)
            return [
                replace(batch, tensors=pair, part=part) for part, pair in enumerate(zip(inputs, targets, strict=True))
            ]
        pieces = np.split(batch.indices, np.cumsum(sizes)[:-1])
        return [replace(batch, indices=indices, part=part) for part, indices in enumerate(pieces)]

    def batch_loss(self, batch: Batch, rank: int, module: nn.Module | None = None) -> Tensor:
        """The loss on a batch, computed at once, ready for backward. ``module`` may wrap this learner's own."""
        inputs, targets = self.inputs(batch, rank)
        if self.stochastic:
            self._seed_torch(self._entropy(rank, "dropout", batch))
        for place, dropout in enumerate(self._dropouts):
            dropout.seed = self._entropy(rank, f"dropout {place}", batch)
        with self.precision.autocast(self.device):
            return self.loss((module or self.module)(inputs), targets)

    def backward(
        self,
        batch: Batch,
        rank: int,
        module: nn.parallel.DistributedDataParallel | None = None,
        contrast: Contrast | None = None,
    ) -> float:
        """Add the gradient on a batch to what is collected; the loss.

        Micro-batches one after another, each with its share of the samples for a weight: the mean over the batch.
        Batch norm sees micro-batches. A ``module`` that wraps this learner's own synchronises in the last one.
        A ``contrast`` adds its gradient, and nothing to the loss that is returned.
        """
        parts = self.micro_batches(batch)
        total = 0.0
        for place, part in enumerate(parts, 1):
            last = place == len(parts)
            share = len(part) / len(batch)
            with nullcontext() if last or module is None else module.no_sync():
                if contrast is None:
                    loss = whole = self.batch_loss(part, rank, module) * share
                else:
                    loss, term = (share * each for each in self.contrasted_loss(part, rank, contrast))
                    whole = loss + term
                whole.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return total

    def contrasted_loss(self, batch: Batch, rank: int, contrast: Contrast) -> tuple[Tensor, Tensor]:
        """The loss on a batch and the term of the contrast, both ready for backward."""
        inputs, _ = self.inputs(batch, rank)
        like, unlike = (self.representation(weights, inputs) for weights in (contrast.like, contrast.unlike))
        with given_to(last_linear(self.module)) as given:
            loss = self.batch_loss(batch, rank)
        return loss, contrast.term(given[0], like, unlike)

    def representation(self, weights: Tensor, inputs: Tensor) -> Tensor:
        """What the last linear layer is given in evaluation mode, at other weights than those in training; [b, …]."""
        bound = self._weights
        assert bound is not None
        self.bind(weights)
        with (
            torch.no_grad(),
            evaluation_mode(self.module),
            self.precision.autocast(self.device),
            given_to(last_linear(self.module)) as given,
        ):
            self.module(inputs)
        self.bind(bound)
        return given[0]

    def gradient(self, weights: Tensor, batch: Batch, rank: int) -> tuple[Tensor, float]:
        """The gradient at ``weights`` on a batch, float32 [T], and the loss; batch statistics in weights change."""
        gradient = torch.zeros(self.parameters, device=self.device)
        self.bind(weights)
        self.collect(gradient)
        return gradient, self.backward(batch, rank)

    def leaves_unused(self, batch: Batch, rank: int) -> bool:
        """Whether some trainable parameters have no part in the loss. Batch statistics change."""
        loss = self.batch_loss(self.micro_batches(batch)[0], rank)
        gradients = torch.autograd.grad(loss, self._parameters, allow_unused=True)
        return any(gradient is None for gradient in gradients)

    def train(
        self,
        weights: Tensor,
        batches: Iterable[Batch],
        rank: int,
        optimizer: Optimizer,
        lr: float,
        mask: Tensor | None,
        objective: Objective = PLAIN,
        contrast: Contrast | None = None,
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
            losses.append(self.backward(batch, rank, contrast=contrast))
            if not isfinite(losses[-1]):
                break
            objective.add_gradient(gradient, parameters)
            optimizer.step(parameters, gradient, state, lr, mask, self.shapes)
        return losses

    def evaluate(
        self,
        weights: Tensor,
        samples: Samples,
        owners: np.ndarray | None = None,
        clients: int = 0,
        first: int | None = None,
    ) -> Evaluation:
        """How the model with these weights does on the samples; and on those of each client, see `evaluate`."""
        self.bind(weights)
        return evaluate(self.module, self.task, samples, self.precision, owners=owners, clients=clients, first=first)

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
