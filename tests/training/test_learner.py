from collections.abc import Callable
from functools import partial
from math import isnan

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyhands.tasks.augmentation import Augmentation
from manyhands.tasks.task import Task
from manyhands.training.learner import Learner
from manyhands.training.loss import CrossEntropy
from manyhands.training.optimizer import SGD
from manyhands.training.precision import Precision
from manyhands.training.sampler import Batch

FP32 = Precision(name="fp32", why="")


def convolutional() -> nn.Module:
    layers = [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)]
    return nn.Sequential(*layers)


def make_learner(
    model: Callable[[], nn.Module] = convolutional, seed: int = 0, precision: Precision = FP32, **options: object
) -> Learner:
    images = torch.randint(0, 256, (20, 1, 6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    targets = torch.arange(20) % 3
    task = Task(model=model, train=(images, targets), test=(images, targets), mean=(0.5,), std=(0.25,), **options)  # type: ignore[arg-type]
    return Learner(task, loss=CrossEntropy(), precision=precision, device=torch.device("cpu"), seed=seed)


def batch(*indices: int, number: int = 0) -> Batch:
    return Batch(np.array(indices), number)


def plain(learner: Learner, indices: list[int]) -> tuple[nn.Module, Tensor]:
    """A module of the same weights, and its loss, as anybody would write it."""
    module = convolutional()
    module.load_state_dict(learner.state_dict(learner.initial_weights.clone()))
    inputs = (learner.task.train.inputs[indices].float() / 255 - 0.5) / 0.25
    return module, F.cross_entropy(module(inputs), learner.task.train.targets[indices])


def test_weights_are_parameters_then_float_buffers_in_the_order_of_their_names() -> None:
    learner = make_learner()
    pieces = [*learner.module.named_parameters()]
    pieces += [(name, buffer) for name, buffer in learner.module.named_buffers() if buffer.is_floating_point()]
    assert [name for name, _ in pieces][-2:] == ["1.running_mean", "1.running_var"]
    assert (learner.parameters, learner.buffers) == (20 + 4 + 99, 4)
    assert torch.equal(learner.initial_weights, torch.cat([piece.detach().flatten() for _, piece in pieces]))


def test_a_bound_module_is_a_view_of_the_weights() -> None:
    learner = make_learner()
    weights = torch.arange(float(learner.parameters + learner.buffers))
    learner.bind(weights)
    tensors = dict(learner.module.state_dict())
    assert tensors["0.weight"].flatten().tolist() == list(range(18))
    assert tensors["1.running_var"].tolist() == weights[-2:].tolist()
    weights.zero_()
    assert all(not tensor.any() for tensor in tensors.values())


def test_the_initial_weights_depend_on_the_seed_and_leave_torchs_generator_alone() -> None:
    state = torch.get_rng_state()
    first, again, other = make_learner(seed=0), make_learner(seed=0), make_learner(seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.initial_weights, again.initial_weights)
    assert not torch.equal(first.initial_weights, other.initial_weights)


def test_the_gradient_is_autograds() -> None:
    learner = make_learner()
    weights = learner.initial_weights.clone()
    gradient, loss = learner.gradient(weights, batch(3, 1, 4), rank=0)
    module, expected = plain(learner, [3, 1, 4])
    expected.backward()  # type: ignore[no-untyped-call]
    theirs = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
    torch.testing.assert_close(gradient, theirs)
    assert loss == pytest.approx(float(expected.detach()))
    parameters = learner.parameters
    assert torch.equal(weights[:parameters], learner.initial_weights[:parameters])
    torch.testing.assert_close(weights[parameters:], torch.cat([b.flatten() for b in list(module.buffers())[:2]]))


def test_gradients_do_not_add_up_from_one_call_to_the_next() -> None:
    learner = make_learner()
    first, _ = learner.gradient(learner.initial_weights.clone(), batch(0, 1, 2), rank=0)
    kept = first.clone()
    learner.gradient(learner.initial_weights.clone() * 2, batch(5, 6, 7), rank=0)
    again, _ = learner.gradient(learner.initial_weights.clone(), batch(0, 1, 2), rank=0)
    assert torch.equal(first, kept)
    assert torch.equal(first, again)


@pytest.mark.parametrize("optimizer", [SGD(), SGD(momentum=0.9, nesterov=True, weight_decay=0.1)])
def test_training_is_torchs_sgd(optimizer: SGD) -> None:
    learner = make_learner()
    weights = learner.initial_weights.clone()
    steps = [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9, 10]]
    losses = learner.train(weights, [batch(*step) for step in steps], 0, optimizer, 0.1, None)
    module, _ = plain(learner, steps[0])
    module.load_state_dict(learner.state_dict(learner.initial_weights.clone()))
    theirs = torch.optim.SGD(
        module.parameters(), 0.1, optimizer.momentum, weight_decay=optimizer.weight_decay, nesterov=optimizer.nesterov
    )
    for step, loss in zip(steps, losses, strict=True):
        inputs = (learner.task.train.inputs[step].float() / 255 - 0.5) / 0.25
        expected = F.cross_entropy(module(inputs), learner.task.train.targets[step])
        theirs.zero_grad()
        expected.backward()  # type: ignore[no-untyped-call]
        theirs.step()
        assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    torch.testing.assert_close(weights, learner.flatten(module.state_dict()))


def test_training_stops_at_a_loss_that_is_no_number() -> None:
    learner = make_learner()
    weights = torch.full_like(learner.initial_weights, float("nan"))
    losses = learner.train(weights, [batch(0, 1), batch(2, 3)], 0, SGD(), 0.1, None)
    assert len(losses) == 1
    assert isnan(losses[0])


def test_a_named_state_and_flat_weights_are_the_same_thing() -> None:
    learner = make_learner()
    weights = torch.randn(learner.parameters + learner.buffers)
    assert torch.equal(learner.flatten(learner.state_dict(weights)), weights)
    state = learner.state_dict(weights)
    weights.zero_()
    assert state["0.weight"].any(), "it must be a copy"
    with pytest.raises(RuntimeError):
        learner.flatten({"0.weight": torch.zeros(1)})


def test_counters_are_written_as_they_began() -> None:
    """How often a learner has computed depends on where nodes are placed; no result may."""
    learner = make_learner()
    learner.gradient(learner.initial_weights.clone(), batch(0, 1), rank=0)
    assert learner.state_dict(learner.initial_weights)["1.num_batches_tracked"] == 0


def test_frozen_parameters_are_no_part_of_the_weights() -> None:
    def half_frozen() -> nn.Module:
        module = nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.Linear(5, 3))
        module[1].requires_grad_(False)
        return module

    learner = make_learner(half_frozen)
    assert learner.parameters == 18
    before = learner.state_dict(learner.initial_weights)["1.weight"]
    learner.train(learner.initial_weights.clone(), [batch(0, 1)], 0, SGD(), 1.0, None)
    assert torch.equal(learner.state_dict(learner.initial_weights)["1.weight"], before)


def test_augmentation_depends_on_seed_worker_and_batch_number_alone() -> None:
    augmentation = Augmentation(padding=2)
    learner, other = make_learner(augmentation=augmentation), make_learner(seed=1, augmentation=augmentation)
    indices = range(20)
    given, _ = learner.inputs(batch(*indices, number=3), rank=0)
    again, _ = learner.inputs(batch(*indices, number=3), rank=0)
    assert torch.equal(given, again)
    for different in (
        learner.inputs(batch(*indices, number=4), rank=0),
        learner.inputs(batch(*indices, number=3), rank=1),
        other.inputs(batch(*indices, number=3), rank=0),
    ):
        assert not torch.equal(given, different[0])


def test_dropout_depends_on_seed_worker_and_batch_number_alone() -> None:
    learner = make_learner(partial(nn.Sequential, nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, 3)))
    assert learner.stochastic
    assert not make_learner().stochastic
    weights = learner.initial_weights

    def gradient(rank: int, number: int) -> Tensor:
        torch.rand(rank + number)  # what else is drawn must not matter
        return learner.gradient(weights, batch(0, 1, number=number), rank)[0]

    assert torch.equal(gradient(0, 3), gradient(0, 3))
    assert not torch.equal(gradient(0, 3), gradient(1, 3))
    assert not torch.equal(gradient(0, 3), gradient(0, 4))


def test_evaluation_neither_trains_nor_changes_statistics() -> None:
    learner = make_learner()
    weights = learner.initial_weights.clone()
    evaluation = learner.evaluate(weights, learner.task.test)
    assert torch.equal(weights, learner.initial_weights)
    assert evaluation.confusion.sum() == 20
    assert learner.module.training


def test_bf16_rounds_the_computation_but_not_the_gradient() -> None:
    learner = make_learner(precision=Precision(name="bf16", why="", channels_last=True))
    exact, _ = make_learner().gradient(learner.initial_weights.clone(), batch(*range(20)), 0)
    rounded, _ = learner.gradient(learner.initial_weights.clone(), batch(*range(20)), 0)
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    assert float((exact - rounded).norm() / exact.norm()) < 0.1
