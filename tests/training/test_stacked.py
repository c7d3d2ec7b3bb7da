"""Stacks of clients against the same clients one by one."""

from collections.abc import Callable
from math import isnan, nan

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from manyhands.tasks.augmentation import Augmentation
from manyhands.tasks.models import build
from manyhands.tasks.task import Task
from manyhands.training import stacked
from manyhands.training.learner import Learner
from manyhands.training.loss import CrossEntropy
from manyhands.training.objective import PLAIN, Objective
from manyhands.training.optimizer import LARS, SGD, AdamW, Optimizer, decay_mask
from manyhands.training.precision import Precision
from manyhands.training.sampler import Batch
from manyhands.training.stacked import Dense, Job, Unstackable

FP32 = Precision(name="fp32", why="")
SAMPLES, SIDE, CLASSES = 50, 4, 3
everywhere_the_same = settings(derandomize=True, deadline=None, max_examples=60)


def two_layers(bias: bool = True, relu: bool = True) -> nn.Module:
    between = [nn.ReLU()] if relu else []
    return nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, 7, bias=bias), *between, nn.Linear(7, CLASSES, bias=not bias))


def make_task(model: Callable[[], nn.Module] = two_layers, **options: object) -> Task:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (SAMPLES, 1, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    targets = torch.arange(SAMPLES) % CLASSES
    return Task(model=model, train=(images, targets), test=(images, targets), mean=(0.5,), std=(0.25,), **options)  # type: ignore[arg-type]


def make_learner(model: Callable[[], nn.Module] = two_layers, smoothing: float = 0.0) -> Learner:
    loss, cpu = CrossEntropy(label_smoothing=smoothing), torch.device("cpu")
    return Learner(make_task(model), loss=loss, precision=FP32, device=cpu, seed=0)


def chain_of(learner: Learner) -> stacked.Chain:
    return stacked.dense_chain(learner.module, learner.task.input_shape)


def make_jobs(learner: Learner, sizes: list[list[int]], lr: float, seed: int, objective: Objective) -> list[Job]:
    """A client for each list of its batches' sizes, with weights, an anchor and an offset of its own."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)

    def vector(scale: float) -> Tensor:
        return scale * torch.randn(learner.parameters, generator=generator)

    def own(like: Tensor | None, scale: float) -> Tensor | None:
        return None if like is None else vector(scale)

    jobs = []
    for rank, own_sizes in enumerate(sizes):
        batches = [Batch(rng.integers(0, SAMPLES, size), number) for number, size in enumerate(own_sizes)]
        mine = Objective(objective.pull, own(objective.anchor, 0.3), own(objective.offset, 0.01))
        jobs.append(Job(rank, learner.initial_weights + vector(0.1), batches, lr, mine))
    return jobs


def one_by_one(learner: Learner, jobs: list[Job], optimizer: Optimizer, mask: Tensor | None) -> list[list[float]]:
    return [learner.train(job.weights, job.batches, job.rank, optimizer, job.lr, mask, job.objective) for job in jobs]


def copies(jobs: list[Job]) -> list[Job]:
    return [Job(job.rank, job.weights.clone(), job.batches, job.lr, job.objective) for job in jobs]


SOME = torch.zeros(1)
"""stands for a vector that each client has one of"""
CRAFTS: list[Optimizer] = [
    SGD(),
    SGD(weight_decay=0.1),
    SGD(momentum=0.9),
    SGD(momentum=0.5, nesterov=True, weight_decay=0.05),
    SGD(momentum=0.9, weight_decay=0.1, decay_norms_and_biases=False),
    SGD(weight_decay=0.1, decay_norms_and_biases=False),
]
OBJECTIVES = [PLAIN, Objective(0.5, SOME), Objective(offset=SOME), Objective(0.1, SOME, SOME)]
several_batches = st.lists(st.integers(1, 6), min_size=1, max_size=5)


@everywhere_the_same
@given(
    sizes=st.lists(several_batches, min_size=1, max_size=6),
    optimizer=st.sampled_from(CRAFTS),
    objective=st.sampled_from(OBJECTIVES),
    smoothing=st.sampled_from([0.0, 0.1]),
    bias=st.booleans(),
    relu=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_stack_is_its_clients_one_by_one(
    sizes: list[list[int]],
    optimizer: SGD,
    objective: Objective,
    smoothing: float,
    bias: bool,
    relu: bool,
    seed: int,
) -> None:
    learner = make_learner(lambda: two_layers(bias, relu), smoothing)
    mask = decay_mask(learner.module) if optimizer.needs_decay_mask else None
    jobs = make_jobs(learner, sizes, 0.1, seed, objective)
    together = copies(jobs)
    expected = one_by_one(learner, jobs, optimizer, mask)
    losses = stacked.train(learner, chain_of(learner), together, optimizer, mask)
    assert [len(own) for own in losses] == [len(own) for own in sizes]
    for theirs, ours, job, other in zip(expected, losses, jobs, together, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6)
        assert (other.weights - job.weights).norm() <= 1e-6 * job.weights.norm()


def test_a_stack_under_adam_is_its_clients_one_by_one() -> None:
    """A step of Adam is as long for a tiny gradient as for a large one: what rounding did to it stays."""
    learner = make_learner()
    jobs = make_jobs(learner, [[5, 5, 5, 2], [3], [6, 6]], 1e-3, 1, PLAIN)
    together, before = copies(jobs), copies(jobs)
    expected = one_by_one(learner, jobs, AdamW(), None)
    losses = stacked.train(learner, chain_of(learner), together, AdamW(), None)
    for theirs, ours, job, other, start in zip(expected, losses, jobs, together, before, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
        assert (other.weights - job.weights).norm() <= 1e-3 * (job.weights - start.weights).norm()


@pytest.mark.parametrize("model", ["logistic", "mlp"])
def test_the_lab_s_own_dense_models_can_be_stacked(model: str) -> None:
    learner = make_learner(lambda: build(model, (1, SIDE, SIDE), CLASSES))
    jobs = make_jobs(learner, [[10, 10, 4], [7], [10, 10, 10]], 0.05, 0, PLAIN)
    together = copies(jobs)
    one_by_one(learner, jobs, SGD(), None)
    stacked.train(learner, chain_of(learner), together, SGD(), None)
    for job, other in zip(jobs, together, strict=True):
        assert (other.weights - job.weights).norm() <= 1e-6 * job.weights.norm()


def test_clients_do_not_see_each_other() -> None:
    """What a client learns is the same beside others, to the last digits."""
    learner = make_learner()
    jobs = make_jobs(learner, [[4, 4, 4], [2], [6, 6, 1, 3]], 0.1, 5, PLAIN)
    alone, beside = copies(jobs), copies(jobs)
    for job in alone:
        stacked.train(learner, chain_of(learner), [job], SGD(momentum=0.9), None)
    stacked.train(learner, chain_of(learner), beside[::-1], SGD(momentum=0.9), None)
    for job, other in zip(alone, beside, strict=True):
        assert (other.weights - job.weights).norm() <= 1e-6 * job.weights.norm()


@pytest.mark.parametrize("sizes", [[3, 3], [5, 2]])
def test_a_client_whose_loss_is_no_number_stops_there_and_the_others_go_on(sizes: list[int]) -> None:
    learner = make_learner()
    jobs = make_jobs(learner, [[4, 4, 4], sizes, [2, 2]], 0.1, 2, PLAIN)
    jobs[1].weights[3] = nan
    together, before = copies(jobs), copies(jobs)
    expected = one_by_one(learner, jobs, SGD(), None)
    losses = stacked.train(learner, chain_of(learner), together, SGD(), None)
    assert len(losses[1]) == 1
    assert isnan(losses[1][0])
    assert torch.equal(together[1].weights.nan_to_num(9), before[1].weights.nan_to_num(9)), "no step after that"
    for place in (0, 2):
        assert losses[place] == pytest.approx(expected[place], rel=1e-5)
        assert (together[place].weights - jobs[place].weights).norm() <= 1e-6 * jobs[place].weights.norm()


def test_a_client_that_diverges_stops_where_it_does_by_itself() -> None:
    learner = make_learner()
    jobs = make_jobs(learner, [[4] * 30, [4] * 30], 1e9, 2, PLAIN)
    together = copies(jobs)
    expected = one_by_one(learner, jobs, SGD(), None)
    losses = stacked.train(learner, chain_of(learner), together, SGD(), None)
    assert [len(own) for own in losses] == [len(own) for own in expected]
    assert len(losses[0]) < 30


@everywhere_the_same
@given(
    classes=st.integers(2, 5),
    samples=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    smoothing=st.sampled_from([0.0, 0.2, 1.0]),
    seed=st.integers(0, 1000),
)
def test_the_loss_and_its_slope_are_torchs(classes: int, samples: list[int], smoothing: float, seed: int) -> None:
    generator, longest = torch.Generator().manual_seed(seed), max(samples)
    logits = 3 * torch.randn(len(samples), longest, classes, generator=generator)
    targets = torch.randint(classes, (len(samples), longest), generator=generator)
    counts = torch.tensor(samples).view(-1, 1, 1)
    shares = (torch.arange(longest).view(1, -1, 1) < counts) / counts
    losses, slopes = stacked.cross_entropy(logits, targets, shares, smoothing)
    for client, count in enumerate(samples):
        own = logits[client, :count].clone().requires_grad_()
        loss = F.cross_entropy(own, targets[client, :count], label_smoothing=smoothing)
        (slope,) = torch.autograd.grad(loss, own)
        assert float(losses[client]) == pytest.approx(float(loss.detach()), rel=1e-5, abs=1e-6)
        torch.testing.assert_close(slopes[client, :count], slope)
        assert not slopes[client, count:].any()


@pytest.mark.parametrize(
    ("model", "shape", "chain"),
    [
        (lambda: nn.Linear(4, 2), (4,), (Dense(True),)),
        (lambda: nn.Sequential(nn.Linear(4, 2, bias=False), nn.Identity()), (4,), (Dense(False),)),
        (
            lambda: nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(4, 3), nn.ReLU()), nn.Linear(3, 2)),
            (1, 2, 2),
            (Dense(True, True), Dense(True)),
        ),
        (lambda: nn.Sequential(nn.Linear(4, 2), nn.ReLU()), (4,), (Dense(True, True),)),
    ],
)
def test_chains_of_dense_layers_are_known(
    model: Callable[[], nn.Module], shape: tuple[int, ...], chain: stacked.Chain
) -> None:
    assert stacked.dense_chain(model(), shape) == chain


def tied() -> nn.Module:
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer)


def frozen() -> nn.Module:
    module = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    module[0].requires_grad_(False)
    return module


def hooked() -> nn.Module:
    module = nn.Linear(4, 2)
    module.register_forward_hook(lambda layer, inputs, output: 2 * output)
    return module


class Doubling(nn.Sequential):
    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = super().forward(inputs)
        return 2 * outputs


@pytest.mark.parametrize(
    ("model", "shape", "reason"),
    [
        (lambda: build("lenet5", (1, 28, 28), 10), (1, 28, 28), "its LeNet5 is not a dense layer"),
        (lambda: nn.Sequential(nn.Linear(4, 2)), (3, 4), "its Linear is not a dense layer after a flattening"),
        (lambda: nn.Sequential(nn.ReLU(), nn.Linear(4, 2)), (4,), "its ReLU is not"),
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)), (4,), "its Tanh is not"),
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 2)), (4,), "its Dropout is not"),
        (lambda: Doubling(nn.Linear(4, 2)), (4,), "its Doubling is not"),
        (lambda: nn.Sequential(nn.Flatten(0), nn.Linear(4, 2)), (4,), "its Flatten is not"),
        (lambda: nn.Sequential(nn.Flatten()), (4,), "it has no layers"),
        (tied, (4,), "its layers share their weights"),
        (frozen, (4,), "some of its parameters are frozen"),
        (hooked, (4,), "a hook changes its Linear"),
    ],
)
def test_other_models_are_not_taken_for_chains(
    model: Callable[[], nn.Module], shape: tuple[int, ...], reason: str
) -> None:
    with pytest.raises(Unstackable, match=reason):
        stacked.dense_chain(model(), shape)


class OwnLoss(CrossEntropy):
    pass


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"optimizer": SGD(clip_norm=1.0)}, "looks at a client's gradient as a whole"),
        ({"optimizer": LARS()}, "lars looks at"),
        ({"precision": Precision(name="bf16", why="")}, "it computes in bf16"),
        ({"task": make_task(augmentation=Augmentation(padding=1))}, "its images are augmented"),
        ({"loss": OwnLoss()}, "its loss is a OwnLoss"),
    ],
)
def test_what_is_not_made_for_stacks_is_told(change: dict[str, object], reason: str) -> None:
    given: dict[str, object] = {"task": make_task(), "loss": CrossEntropy(), "optimizer": SGD(), "precision": FP32}
    assert len(stacked.check_stackable(two_layers(), **given)) == 2  # type: ignore[arg-type]
    with pytest.raises(Unstackable, match=reason):
        stacked.check_stackable(two_layers(), **(given | change))  # type: ignore[arg-type]


def test_inputs_prepared_beforehand_are_those_prepared_batch_by_batch() -> None:
    learner = make_learner()
    indices = torch.tensor([3, 1, 4, 1, 5])
    inputs, targets = learner.fetch(indices)
    assert learner.task.prepared(4 * SAMPLES * SIDE**2 - 1) is None
    learner.prepared = learner.task.prepared(4 * SAMPLES * SIDE**2)
    assert learner.prepared is not None
    again, same = learner.fetch(indices)
    assert torch.equal(inputs, again)
    assert torch.equal(targets, same)
    floats = torch.randn(5, 2)
    task = Task(model=two_layers, train=(floats, torch.arange(5)), test=(floats, torch.arange(5)))
    assert task.prepared(0) is task.train.inputs, "nothing to prepare, nothing to copy"
