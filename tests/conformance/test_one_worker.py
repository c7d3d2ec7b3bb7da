"""One worker is plain SGD, whatever the strategy."""

from pathlib import Path

import pytest
from table import CRAFT, EXTRA, VARIANTS, batches, cosine, distance, initial_module, plain_sgd, specify, train
from torch import nn
from toys import Normed, Plain, toy

from manyhands.strategies import STRATEGIES
from manyhands.training.schedule import Cosine


def test_every_variant_is_of_a_registered_strategy() -> None:
    assert EXTRA.keys() <= STRATEGIES.keys()


@pytest.mark.parametrize("model", [Plain, Normed])
@pytest.mark.parametrize("variant", VARIANTS)
def test_one_worker_is_plain_sgd(variant: str, model: type[nn.Module], tmp_path: Path) -> None:
    task = toy(model, samples=80)  # ten whole batches a pass, so that streams and passes draw the same ones
    specification = specify(variant, workers=1, optimizer=CRAFT, schedule=Cosine())
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
        CRAFT,
        period,
    )
    assert distance(plain, run.weights) <= 1e-6
