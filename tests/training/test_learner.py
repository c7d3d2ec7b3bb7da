from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from math import isnan
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyhands.tasks.augmentation import Augmentation
from manyhands.tasks.models.dropout import Dropout
from manyhands.tasks.task import Task
from manyhands.training.learner import Learner
from manyhands.training.loss import CrossEntropy
from manyhands.training.optimizer import LARS, SGD
from manyhands.training.precision import Precision
from manyhands.training.sampler import Batch

FP32 = Precision(name="fp32", why="")


def convolutional() -> nn.Module:
    layers = [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)]
    return nn.Sequential(*layers)


def make_learner(
    model: Callable[[], nn.Module] = convolutional,
    seed: int = 0,
    precision: Precision = FP32,
    micro_batch: int | None = None,
    **options: object,
) -> Learner:
    images = torch.randint(0, 256, (20, 1, 6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    targets = torch.arange(20) % 3
    task = Task(model=model, train=(images, targets), test=(images, targets), mean=(0.5,), std=(0.25,), **options)  # type: ignore[arg-type]
    cpu = torch.device("cpu")
    return Learner(task, loss=CrossEntropy(), precision=precision, device=cpu, seed=seed, micro_batch=micro_batch)


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


@pytest.mark.parametrize(("dropout", "shared"), [(nn.Dropout, True), (Dropout, False)])
def test_dropout_depends_on_seed_worker_and_batch_number_alone(
    dropout: Callable[[float], nn.Module], shared: bool
) -> None:
    learner = make_learner(lambda: nn.Sequential(nn.Flatten(), dropout(0.5), nn.Linear(36, 3)))
    assert learner.stochastic == shared, "one of our own needs no generator that threads share"
    assert not make_learner().stochastic
    weights = learner.initial_weights

    def gradient(rank: int, number: int) -> Tensor:
        torch.rand(rank + number)  # what else is drawn must not matter
        return learner.gradient(weights, batch(0, 1, number=number), rank)[0]

    assert torch.equal(gradient(0, 3), gradient(0, 3))
    assert not torch.equal(gradient(0, 3), gradient(1, 3))
    assert not torch.equal(gradient(0, 3), gradient(0, 4))


def test_two_dropouts_of_a_model_have_masks_of_their_own() -> None:
    learner = make_learner(lambda: nn.Sequential(nn.Flatten(), Dropout(0.5), Dropout(0.5), nn.Linear(36, 3)))
    learner.gradient(learner.initial_weights.clone(), batch(0, 1), rank=0)
    first, second = (part.seed for part in learner.module.modules() if isinstance(part, Dropout))
    assert None not in (first, second)
    assert first != second


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


# ---- micro-batches


def plain_layers() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))


def test_shapes_are_those_of_the_trainable_tensors_in_their_order() -> None:
    assert make_learner().shapes == ((2, 1, 3, 3), (2,), (2,), (2,), (3, 32), (3,))


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 5, 7, 100])
@pytest.mark.parametrize("sent", [False, True])
def test_gradients_of_micro_batches_add_up_to_that_of_the_batch(micro_batch: int, sent: bool) -> None:
    whole, cut = make_learner(plain_layers), make_learner(plain_layers, micro_batch=micro_batch)
    given = batch(3, 1, 4, 15, 9, 2, 6)
    if sent:
        given = Batch(np.arange(0), 0, tensors=whole.inputs(given, rank=0))
    assert len(cut.micro_batches(given)) == -(-7 // micro_batch)
    expected, loss = whole.gradient(whole.initial_weights.clone(), given, rank=0)
    gradient, mean_loss = cut.gradient(cut.initial_weights.clone(), given, rank=0)
    assert (gradient - expected).norm() <= 1e-6 * expected.norm()
    assert mean_loss == pytest.approx(loss, rel=1e-6)


def test_training_on_micro_batches_is_training_on_the_batch() -> None:
    whole, cut = make_learner(plain_layers), make_learner(plain_layers, micro_batch=3)
    batches = [batch(*range(8)), batch(*range(8, 15)), batch(15, 16)]
    results = [learner.initial_weights.clone() for learner in (whole, cut)]
    losses = [
        learner.train(weights, batches, 0, LARS(trust=0.1), 0.1, None)
        for learner, weights in zip((whole, cut), results, strict=True)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    moved = results[0] - whole.initial_weights
    assert moved.norm() > 0.01
    assert (results[1] - results[0]).norm() <= 1e-5 * moved.norm()


def test_batch_norm_sees_micro_batches() -> None:
    """As it would with any framework that accumulates gradients: the statistics are those of smaller batches."""
    cut, alone = make_learner(micro_batch=2), make_learner()
    weights, other = cut.initial_weights.clone(), alone.initial_weights.clone()
    gradient, _ = cut.gradient(weights, batch(0, 1, 2, 3), rank=0)
    parts = [alone.gradient(other, batch(*indices), rank=0)[0] for indices in ((0, 1), (2, 3))]
    torch.testing.assert_close(gradient, (parts[0] + parts[1]) / 2)
    assert torch.equal(weights, other)


def test_each_micro_batch_has_random_numbers_of_its_own() -> None:
    learner = make_learner(augmentation=Augmentation(padding=2), micro_batch=1)
    first, second = learner.micro_batches(batch(0, 0, number=3))
    assert (first.number, first.part, second.part) == (3, 0, 1)
    images = [learner.inputs(part, rank=0)[0] for part in (first, second, first, batch(0, number=3))]
    assert not torch.equal(images[0], images[1])
    assert torch.equal(images[0], images[2])
    assert torch.equal(images[0], images[3]), "the first is as the batch itself"


@pytest.mark.parametrize("dropout", [nn.Dropout, Dropout])
def test_dropout_in_micro_batches_is_the_same_every_time(dropout: Callable[[float], nn.Module]) -> None:
    model = partial(nn.Sequential, nn.Flatten(), dropout(0.5), nn.Linear(36, 3))
    learner = make_learner(model, micro_batch=2)
    gradients = []
    for _ in range(2):
        torch.rand(5)  # what else is drawn must not matter
        gradients.append(learner.gradient(learner.initial_weights.clone(), batch(0, 1, 0, 1), rank=0)[0])
    assert torch.equal(*gradients)
    alike, _ = learner.gradient(learner.initial_weights.clone(), batch(0, 1), rank=0)
    assert not torch.allclose(gradients[0], alike), "the second micro-batch must drop others"


class Synchronised(nn.Module):
    """Stands in for DistributedDataParallel: says in which of its backward passes it would synchronise."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.quiet, self.passes = module, False, []  # type: ignore[var-annotated]

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        self.quiet = True
        yield
        self.quiet = False

    def forward(self, inputs: Tensor) -> Tensor:
        self.passes.append(not self.quiet)
        outputs: Tensor = self.module(inputs)
        return outputs


def test_a_wrapper_synchronises_in_the_last_micro_batch() -> None:
    learner = make_learner(plain_layers, micro_batch=2)
    wrapper: Any = Synchronised(learner.module)
    learner.bind(learner.initial_weights.clone())
    learner.collect(torch.zeros(learner.parameters))
    learner.backward(batch(*range(5)), 0, wrapper)
    assert wrapper.passes == [False, False, True]
    learner.backward(batch(0, 1), 0, wrapper)
    assert wrapper.passes == [False, False, True, True]
