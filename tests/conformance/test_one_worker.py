"""One worker is plain SGD, whatever the strategy."""

from math import cos, pi
from pathlib import Path

import pytest
from table import EXTRA, VARIANTS, batches, cosine, craft, distance, flat, initial_module, plain_sgd, specify, train
from torch import nn
from toys import Normed, Plain, toy

from manyhands.strategies import STRATEGIES
from manyhands.training.schedule import Cosine


def test_every_variant_is_of_a_registered_strategy() -> None:
    assert EXTRA.keys() <= STRATEGIES.keys()


OTHERWISE = {
    "diloco": "outer_lr=1,outer_momentum=0",
    "slow-momentum": "slow_momentum=0",
}
"""options with which strategies that take a step of their own after the local ones leave it out"""
ELASTIC = "elastic-averaging"
"""has a centre beside the worker, and a test of its own below"""


def plainly(variant: str) -> str:
    name, _, options = variant.partition(":")
    return f"{name}:{options},{OTHERWISE[name]}" if name in OTHERWISE else variant


@pytest.mark.parametrize("model", [Plain, Normed])
@pytest.mark.parametrize(
    "variant",
    [plainly(variant) for variant in VARIANTS if "compression=" not in variant and not variant.startswith(ELASTIC)],
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
    assert distance(plain, run.weights) <= 1e-6


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
