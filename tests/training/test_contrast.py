"""MOON's term by autograd on a model written out, and what the learner makes of it."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyhands.tasks.task import Task
from manyhands.training.contrast import Contrast
from manyhands.training.learner import Learner
from manyhands.training.loss import CrossEntropy
from manyhands.training.optimizer import SGD
from manyhands.training.precision import Precision
from manyhands.training.sampler import Batch

FEATURES, HIDDEN, CLASSES, SAMPLES = 4, 5, 3, 12
MU, TEMPERATURE = 0.7, 0.5


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(FEATURES, HIDDEN), nn.BatchNorm1d(HIDDEN)
        self.last = nn.Linear(HIDDEN, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(torch.tanh(self.norm(self.first(inputs))))  # type: ignore[no-any-return]


@pytest.fixture
def learner() -> Learner:
    generator = torch.Generator().manual_seed(1)
    samples = torch.randn(SAMPLES, FEATURES, generator=generator), torch.arange(SAMPLES) % CLASSES
    task = Task(model=Net, train=samples, test=samples)
    precision = Precision(name="fp32", why="")
    device = torch.device("cpu")
    return Learner(task, loss=CrossEntropy(), precision=precision, device=device, seed=0, micro_batch=8)


def batch(*indices: int) -> Batch:
    return Batch(np.array(indices), 0)


def other(learner: Learner, seed: int) -> Tensor:
    """Weights of another model, with batch statistics of its own."""
    generator = torch.Generator().manual_seed(seed)
    return learner.initial_weights + 0.3 * torch.rand(len(learner.initial_weights), generator=generator)


def by_autograd(learner: Learner, weights: Tensor, contrast: Contrast, indices: list[int]) -> tuple[Tensor, Tensor]:
    """The gradient of loss and term, float32 [T], and the loss: three modules, and the formula as the paper has it."""
    inputs, targets = learner.task.train.inputs[indices], learner.task.train.targets[indices]

    def module(values: Tensor) -> Net:
        net, start = Net(), 0
        for tensor in [*net.parameters(), net.norm.running_mean, net.norm.running_var]:
            assert tensor is not None
            tensor.data.copy_(values[start : start + tensor.numel()].view(tensor.shape))
            start += tensor.numel()
        return net

    def hidden(net: Net) -> Tensor:
        return torch.tanh(net.norm(net.first(inputs)))

    net = module(weights)
    like, unlike = (hidden(module(values).eval()).detach() for values in (contrast.like, contrast.unlike))
    own = hidden(net)
    near, far = (
        torch.exp((own * z).sum(1) / own.norm(dim=1) / z.norm(dim=1) / contrast.temperature) for z in (like, unlike)
    )
    loss = F.cross_entropy(net.last(own), targets)
    whole = loss + contrast.weight * -torch.log(near / (near + far)).mean()
    gradients = torch.autograd.grad(whole, list(net.parameters()))
    return torch.cat([gradient.flatten() for gradient in gradients]), loss.detach()


def test_the_gradient_is_autograds(learner: Learner) -> None:
    weights, contrast = other(learner, 2), Contrast(MU, TEMPERATURE, other(learner, 3), other(learner, 4))
    expected, loss = by_autograd(learner, weights, contrast, [0, 3, 4, 7])
    trained = weights.clone()
    losses = learner.train(trained, [batch(0, 3, 4, 7)], 0, SGD(), 1.0, None, contrast=contrast)
    torch.testing.assert_close((weights - trained)[: learner.parameters], expected, rtol=1e-4, atol=1e-6)
    assert losses == [pytest.approx(float(loss), rel=1e-6)], "the term is no part of the loss"
    without = weights.clone()
    learner.train(without, [batch(0, 3, 4, 7)], 0, SGD(), 1.0, None)
    assert (trained - without).abs().max() > 1e-3


def test_only_the_model_in_training_changes(learner: Learner) -> None:
    like, unlike, weights = other(learner, 3), other(learner, 4), other(learner, 2)
    before = like.clone(), unlike.clone()
    plain = weights.clone()
    learner.train(plain, [batch(0, 1, 2)], 0, SGD(), 0.0, None)
    learner.train(weights, [batch(0, 1, 2)], 0, SGD(), 0.0, None, contrast=Contrast(MU, TEMPERATURE, like, unlike))
    assert like.equal(before[0])
    assert unlike.equal(before[1])
    assert weights.equal(plain), "batch statistics are those of the samples, seen once"
    assert all(part.training for part in learner.module.modules())


def test_micro_batches_add_up(learner: Learner) -> None:
    """Of ten samples, computed on eight and then two; norms in evaluation mode see single samples."""
    learner.module.eval()
    contrast = Contrast(MU, TEMPERATURE, other(learner, 3), other(learner, 4))
    results = []
    for micro in (8, None):
        learner.micro_batch = micro
        weights = other(learner, 2)
        losses = learner.train(weights, [batch(*range(10))], 0, SGD(), 1.0, None, contrast=contrast)
        results.append((weights, losses))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-4, atol=1e-6)
    assert results[0][1] == pytest.approx(results[1][1], rel=1e-5)


def test_where_the_others_are_the_same_there_is_no_gradient() -> None:
    own, theirs = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    own = own.clone().requires_grad_()
    term = Contrast(MU, TEMPERATURE, theirs, theirs).term(own, theirs, theirs)
    assert float(term.detach()) == pytest.approx(MU * math.log(2), rel=1e-6)
    (gradient,) = torch.autograd.grad(term, [own])
    assert gradient.abs().max() <= 1e-7


def test_the_term_falls_as_representations_draw_near() -> None:
    like, unlike = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    term = Contrast(1.0, TEMPERATURE, like, unlike).term
    assert float(term(like, like, unlike)) == pytest.approx(math.log(1 + math.exp(-2)), rel=1e-6)
    assert float(term(unlike, like, unlike)) == pytest.approx(math.log(1 + math.exp(2)), rel=1e-6)
