"""One worker is plain SGD, whatever the strategy."""

from dataclasses import replace
from math import cos, pi
from pathlib import Path

import pytest
from table import (
    CRAFT,
    EXTRA,
    VARIANTS,
    Run,
    batches,
    cosine,
    craft,
    distance,
    flat,
    initial_module,
    plain_sgd,
    specify,
    train,
)
from torch import Tensor, nn
from toys import Normed, Plain, toy

from manyhands import lab
from manyhands.clusters.layout import Layout
from manyhands.runs.folder import RunFolder
from manyhands.runs.recorder import Checkpoint
from manyhands.runs.specification import Specification
from manyhands.strategies import STRATEGIES
from manyhands.tasks.task import Task
from manyhands.training.schedule import Cosine


def test_every_variant_is_of_a_registered_strategy() -> None:
    assert EXTRA.keys() <= STRATEGIES.keys()


OTHERWISE = {
    "diloco": "outer_lr=1,outer_momentum=0",
    "fedasync": "alpha=1",
    "fedbuff": "server_lr=1",
    "fednova": "mu=0",
    "fedopt": "server_optimizer=sgd",
    "fedprox": "mu=0",
    "scaffold": "server_lr=1",
    "slow-momentum": "slow_momentum=0",
}
"""options with which strategies leave out what they do beside averaging"""
ELASTIC = "elastic-averaging"
"""has a centre beside the worker, and a test of its own below"""
AT_ONCE = "fedsgd"
"""takes all samples at once, and has a test of its own below"""
NEVER = (ELASTIC, AT_ONCE, "feddyn")
"""of these the last bends the objective, even of one worker: tests/strategies hold it against its paper"""


def plainly(variant: str) -> str:
    name, _, options = variant.partition(":")
    return f"{name}:{options},{OTHERWISE[name]}" if name in OTHERWISE else variant


@pytest.mark.parametrize("model", [Plain, Normed])
@pytest.mark.parametrize(
    "variant",
    [plainly(variant) for variant in VARIANTS if "compression=" not in variant and not variant.startswith(NEVER)],
)
def test_one_worker_is_plain_sgd(variant: str, model: type[nn.Module], tmp_path: Path) -> None:
    task = toy(model, samples=80)  # ten whole batches a pass, so that streams and passes draw the same ones
    specification = specify(variant, workers=1, optimizer=craft(variant), schedule=Cosine())
    run = train(specification, task, tmp_path / "run")
    steps = run.history[-1]["samples"] // specification.batch_size
    assert steps >= 20
    # In a federated round the learning rate stands still, and the optimiser starts anew.
    period = steps // specification.total if specification.strategy.unit == "round" else None
    plain = plain_sgd(
        initial_module(specification, task),
        (indices for (indices,) in batches(specification, task)),
        task,
        cosine(specification.lr, steps, period or 1),
        craft(variant),
        period,
    )
    assert distance(plain, whole(run, specification, task)) <= 1e-6


def whole(run: Run, specification: Specification, task: Task) -> Tensor:
    """The weights of the run's model, with those of the worker where it has some of its own."""
    learner = lab.prepare(specification, task).make_learner()
    personal = specification.strategy.personal(Layout.of(learner.module))
    if personal is None:
        return run.weights
    weights = learner.flatten(run.tensors)
    weights[personal] = Checkpoint.load(RunFolder(run.folder)).tensors_of(0)["state/personal"]
    return flat(learner.state_dict(weights))


@pytest.mark.parametrize("model", [Plain, Normed])
def test_one_worker_that_takes_all_samples_at_once_is_full_batch_sgd(model: type[nn.Module], tmp_path: Path) -> None:
    """The optimiser is the server's, and goes on from round to round."""
    task = toy(model, samples=80)
    specification = specify(AT_ONCE, 1, optimizer=CRAFT, schedule=Cosine(), batch_size=80, epochs=20)
    run = train(specification, task, tmp_path / "run")
    plain = plain_sgd(
        initial_module(specification, task),
        (indices for (indices,) in batches(specification, task)),
        task,
        cosine(specification.lr, 20),
        CRAFT,
    )
    assert distance(plain, run.weights) <= 1e-6
    small = train(replace(specification, batch_size=9), task, tmp_path / "small")
    if model is Plain:  # batch norm sees what is computed at once
        assert distance(plain, small.weights) <= 1e-6
    assert small.history[-1]["samples"] == run.history[-1]["samples"] == 20 * 80


@pytest.mark.parametrize(("period", "pull"), [(1, 0.5), (3, 0.9)])
def test_one_elastic_worker_and_its_centre_pull_at_each_other(period: int, pull: float, tmp_path: Path) -> None:
    """The pseudocode of the paper's algorithm 1, over the module's tensors."""
    task = toy(samples=80)
    specification = specify(f"{ELASTIC}:period={period},pull={pull}", workers=1, epochs=3, schedule=Cosine())
    run = train(specification, task, tmp_path / "run")
    steps = 30
    assert run.history[-1]["samples"] == steps * specification.batch_size
    module = initial_module(specification, task)
    centre = [parameter.detach().clone() for parameter in module.parameters()]
    stream = (indices for (indices,) in batches(specification, task))
    for epoch in range(3):
        done = 0
        while done < 10:
            part = min(period, 10 - done)
            # A worker knows of the training's progress what the message says with which its steps were handed out.
            progress = (epoch + done / 10) / 3
            plain_sgd(
                module,
                (next(stream) for _ in range(part)),
                task,
                [specification.lr * (1 + cos(pi * progress)) / 2] * part,
                specification.chosen_optimizer,
            )
            done += part
            for own, other in zip(module.parameters(), centre, strict=True):
                pulled = pull * (own.detach() - other)
                own.data -= pulled
                other += pulled
    expected = {name: tensor for (name, _), tensor in zip(module.named_parameters(), centre, strict=True)}
    assert distance(flat(expected), run.weights) <= 1e-6
