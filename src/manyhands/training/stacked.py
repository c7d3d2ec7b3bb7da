"""Local steps of many clients at once, for models that are chains of dense layers.

A step of a small model costs torch's calls more than its arithmetic, and a call for all clients costs little more than
one for a single client. So the clients' weights are stacked, and matrix products are made in batches over clients. The
forward and the backward pass are written out here: autograd and vmap cost more calls than stacking saves.

What comes out is what `Learner.train` gives for each client by itself, but for rounding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from math import isfinite, prod

import numpy as np
import torch
from torch import Tensor, nn

from manyhands.tasks.task import Task
from manyhands.training.learner import Learner
from manyhands.training.loss import CrossEntropy
from manyhands.training.objective import PLAIN, Objective
from manyhands.training.optimizer import Optimizer, State
from manyhands.training.precision import Precision
from manyhands.training.sampler import Batch


class Unstackable(Exception):
    """Why clients cannot be computed together, in words that follow "because"."""


@dataclass(frozen=True)
class Dense:
    """A dense layer of a chain; its sizes are those of its weight."""

    bias: bool
    relu: bool = False
    """whether a ReLU follows"""


Chain = tuple[Dense, ...]

SMALL = 2**18
"""multiplications in a product of two matrices"""


def check_stackable(module: nn.Module, task: Task, loss: object, optimizer: Optimizer, precision: Precision) -> Chain:
    """The model as a chain of dense layers; raises Unstackable where something is not made for stacks."""
    chain = dense_chain(module, task.input_shape)
    if precision.name != "fp32":
        raise Unstackable(f"it computes in {precision.name}")
    if not optimizer.elementwise:
        raise Unstackable(f"{optimizer} looks at a client's gradient as a whole")
    if task.augmentation is not None:
        raise Unstackable("its images are augmented")
    if type(loss) is not CrossEntropy:
        raise Unstackable(f"its loss is a {type(loss).__name__}")
    return chain


def dense_chain(module: nn.Module, input_shape: Sequence[int]) -> Chain:
    """The dense layers of a module that has but these, ReLUs after them and a flattening; else raises Unstackable."""
    chain: list[Dense] = []
    flat = len(input_shape) == 1
    for layer in _layers(module):
        kind = type(layer)
        if layer._forward_pre_hooks or layer._forward_hooks:
            raise Unstackable(f"a hook changes its {kind.__name__}")
        if isinstance(layer, nn.Flatten) and kind is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1):
            flat = True
        elif kind is nn.Linear and flat:
            chain.append(Dense(bias=layer.bias is not None))
        elif kind is nn.ReLU and chain:
            chain[-1] = replace(chain[-1], relu=True)
        elif kind is not nn.Identity:
            raise Unstackable(f"its {kind.__name__} is not a dense layer after a flattening, nor a ReLU after that")
    parameters = list(module.parameters())
    if not chain or len(parameters) != sum(1 + layer.bias for layer in chain):
        raise Unstackable("its layers share their weights" if chain else "it has no layers")
    if not all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in parameters):
        raise Unstackable("some of its parameters are frozen, or no float32")
    return tuple(chain)


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """What a sequence does, one after another; anything else than a sequence is one layer."""
    if type(module) is nn.Sequential and not module._forward_pre_hooks and not module._forward_hooks:
        for part in module:
            yield from _layers(part)
    else:
        yield module


@dataclass(frozen=True, eq=False, slots=True)
class Job:
    """The local steps of one client: what `Learner.train` is given, but for what is the same for all clients."""

    rank: int
    weights: Tensor
    """float32 [T], changed in place; a chain has no buffers"""
    batches: Sequence[Batch]
    lr: float
    objective: Objective = PLAIN

    @property
    def kind(self) -> tuple[object, ...]:
        """Jobs of one kind can be computed together."""
        objective = self.objective
        return self.lr, objective.pull, objective.anchor is None, objective.offset is None


def train(
    learner: Learner, chain: Chain, jobs: Sequence[Job], optimizer: Optimizer, mask: Tensor | None
) -> list[list[float]]:
    """Steps of a fresh optimiser for each job of one kind, its weights changed in place; the losses of each.

    A job with a loss that is not finite is done again by itself, so that it stops there.
    """
    order = sorted(range(len(jobs)), key=lambda place: -len(jobs[place].batches))
    sorted_jobs = [jobs[place] for place in order]
    with torch.inference_mode(), np.errstate(over="ignore", invalid="ignore"):  # losses tell of those
        stack = _Stack(learner, chain, sorted_jobs, optimizer, mask)
        losses = [stack.step(batches).tolist() for batches in zip_longest(*[job.batches for job in sorted_jobs])]
        weights = stack.weights.unbind()
    results: list[list[float]] = [[]] * len(jobs)
    for row, place in enumerate(order):
        job = jobs[place]
        own = [step[row] for step in losses[: len(job.batches)]]
        if isfinite(sum(own)):
            job.weights.copy_(weights[row])
        else:
            own = learner.train(job.weights, job.batches, job.rank, optimizer, job.lr, mask, job.objective)
        results[place] = own
    return results


class _Stack:
    """Clients in the order of their numbers of steps, most first: those who still have steps to do are the first ones.

    All tensors have the clients as their first dimension, k of them. There is a piece for each of the model's tensors,
    contiguous, as batched products want it: weights [k, out, in] and biases [k, out].
    """

    def __init__(
        self, learner: Learner, chain: Chain, jobs: Sequence[Job], optimizer: Optimizer, mask: Tensor | None
    ) -> None:
        self._learner, self._chain, self._optimizer, self._lr = learner, chain, optimizer, jobs[0].lr
        assert isinstance(learner.loss, CrossEntropy)
        self._smoothing = learner.loss.label_smoothing
        self._pieces = [piece.contiguous() for piece in self._cut([job.weights for job in jobs])]
        masks = [part[0] for part in self._cut([mask])] if mask is not None else [None] * len(self._pieces)
        self._active = [
            _Piece(piece, optimizer.init(piece), objective, mask)
            for piece, objective, mask in zip(self._pieces, self._objectives(jobs), masks, strict=True)
        ]

    def _cut(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        """Vectors [T], stacked and cut into the model's tensors [k, …]: views."""
        shapes = self._learner.shapes
        parts = torch.split(torch.stack(list(vectors)), [prod(shape) for shape in shapes], dim=1)
        return [part.view(len(vectors), *shape) for part, shape in zip(parts, shapes, strict=True)]

    def _objectives(self, jobs: Sequence[Job]) -> list[Objective]:
        """What the jobs minimise beside their loss, for each piece."""
        pull, pieces = jobs[0].objective.pull, len(self._pieces)
        anchors = [job.objective.anchor for job in jobs if job.objective.anchor is not None]
        offsets = [job.objective.offset for job in jobs if job.objective.offset is not None]
        cut = [self._cut(vectors) if vectors else [None] * pieces for vectors in (anchors, offsets)]
        return [Objective(pull, anchor, offset) for anchor, offset in zip(*cut, strict=True)]

    @property
    def weights(self) -> Tensor:
        """Of all clients, [k, T]."""
        return torch.cat([piece.flatten(1) for piece in self._pieces], dim=1)

    def step(self, given: Sequence[Batch | None]) -> Tensor:
        """A step on a batch of each of the first k clients, for whom there is one; their losses [k]."""
        batches = [batch for batch in given if batch is not None]
        if len(batches) < len(self._active[0].parameters):
            self._active = [piece.first(len(batches)) for piece in self._active]
        indices, shares = _table(batches)
        inputs, targets = self._learner.fetch(indices.to(self._learner.device))
        shape = len(batches), len(indices) // len(batches)
        losses, gradients = self._backward(inputs.reshape(*shape, -1), targets.view(shape), shares)
        for piece, gradient in zip(self._active, gradients, strict=True):
            piece.step(gradient, self._optimizer, self._lr)
        return losses

    def _backward(self, inputs: Tensor, targets: Tensor, shares: Tensor | float) -> tuple[Tensor, list[Tensor]]:
        """Losses [k] on inputs [k, b, n] with targets [k, b], and the gradients of all pieces."""
        pieces = iter(self._active)
        weights, outputs = [], [inputs]
        for layer in self._chain:
            weight = next(pieces).parameters
            output = product(outputs[-1], weight.transpose(1, 2))
            if layer.bias:
                output.add_(next(pieces).parameters.unsqueeze(1))
            weights.append(weight)
            outputs.append(output.relu_() if layer.relu else output)
        losses, slope = cross_entropy(outputs[-1], targets, shares, self._smoothing)
        gradients: list[Tensor] = []
        for place in reversed(range(len(self._chain))):
            layer = self._chain[place]
            if layer.relu:
                slope = torch.ops.aten.threshold_backward(slope, outputs[place + 1], 0)
            if layer.bias:
                gradients.append(slope.sum(1))
            gradients.append(product(slope.transpose(1, 2), outputs[place]))
            if place:
                slope = product(slope, weights[place])
        return losses, gradients[::-1]


@dataclass(eq=False, slots=True)
class _Piece:
    """One of the model's tensors, of all clients that are active, and what belongs to it."""

    parameters: Tensor
    """[k, …]"""
    state: State
    """of the optimiser: tensors [k, …], and numbers that are the same for all"""
    objective: Objective
    mask: Tensor | None
    """[…]: where weights decay, the same for all clients"""

    def first(self, count: int) -> "_Piece":
        """Those of the first clients: views."""
        pull, anchor, offset = self.objective.pull, self.objective.anchor, self.objective.offset
        if anchor is not None:
            anchor = anchor[:count]
        if offset is not None:
            offset = offset[:count]
        state = {name: tensor[:count] if tensor.dim() else tensor for name, tensor in self.state.items()}
        return _Piece(self.parameters[:count], state, Objective(pull, anchor, offset), self.mask)

    def step(self, gradient: Tensor, optimizer: Optimizer, lr: float) -> None:
        self.objective.add_gradient(gradient, self.parameters)
        optimizer.step(self.parameters, gradient, self.state, lr, self.mask)


def product(a: Tensor, b: Tensor) -> Tensor:
    """Of matrices a [k, m, n] and b [k, n, p], one by one: [k, m, p].

    numpy's loop over small matrices takes a fifth to a half of the time of torch's product in batches. OpenBLAS, with
    which it computes, gives products up to SMALL to one thread, so that their bits depend on no number of threads.
    """
    if a.device.type == "cpu" and a.shape[1] * a.shape[2] * b.shape[2] <= SMALL:
        return torch.from_numpy(np.matmul(a.numpy(), b.numpy()))
    return torch.bmm(a, b)


def cross_entropy(logits: Tensor, targets: Tensor, shares: Tensor | float, smoothing: float) -> tuple[Tensor, Tensor]:
    """What `CrossEntropy` gives for each client, and its gradient: losses [k] and slopes [k, b, classes].

    Logits [k, b, classes], targets int64 [k, b]; ``shares``: the weights of the samples in the mean, [k, b, 1], or one
    for all.
    """
    targets, classes = targets.unsqueeze(2), logits.shape[2]
    lower = logits - logits.amax(2, keepdim=True)  # not log_softmax: for ten classes that takes twice as long
    wanted = lower.gather(2, targets).mul_(1 - smoothing)
    if smoothing:
        wanted.add_(lower.sum(2, keepdim=True), alpha=smoothing / classes)
    slope = lower.exp_()
    total = slope.sum(2, keepdim=True)
    losses = total.log().sub_(wanted)
    slope.div_(total)
    slope.scatter_add_(2, targets, slope.new_full((1, 1, 1), smoothing - 1).expand_as(targets))
    if smoothing:
        slope.sub_(smoothing / classes)
    return losses.mul_(shares).sum((1, 2)), slope.mul_(shares)


def _table(batches: Sequence[Batch]) -> tuple[Tensor, Tensor | float]:
    """The samples of a batch of each client, int64 [k·b], and their weights in its mean: float32 [k, b, 1], or one.

    Shorter batches are filled up with their own first sample, of weight 0: it is no number where its client's loss is
    none anyway.
    """
    indices = [batch.indices for batch in batches]
    sizes = [len(own) for own in indices]
    longest = max(sizes)
    if min(sizes) == longest:
        return torch.from_numpy(np.concatenate(indices)), 1 / longest
    table = torch.from_numpy(np.concatenate([np.append(own, own[:1].repeat(longest - len(own))) for own in indices]))
    counts = torch.tensor(sizes).view(-1, 1, 1)
    return table, (torch.arange(longest).view(1, -1, 1) < counts) / counts
