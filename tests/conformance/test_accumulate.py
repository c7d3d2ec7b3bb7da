"""Accumulating the gradients of micro-batches is training on the whole batch, whatever the strategy."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fleet import Fleet
from table import distance, specify, train
from toys import Normed, toy

from manyhands.strategies import STRATEGIES, parse_strategy
from manyhands.training.optimizer import LARS, SGD

OPTIMIZER = SGD(momentum=0.9, weight_decay=1e-2)


@pytest.mark.parametrize("name", [name for name in STRATEGIES if parse_strategy(name).synchronous])
def test_micro_batches_end_where_whole_batches_do(name: str, tmp_path: Path) -> None:
    whole = train(specify(name, workers=3, optimizer=OPTIMIZER, batch_size=8), toy(), tmp_path / "whole")
    parts = train(specify(name, workers=3, optimizer=OPTIMIZER, batch_size=3, accumulate=3), toy(), tmp_path / "parts")
    nine = train(specify(name, workers=3, optimizer=OPTIMIZER, batch_size=9), toy(), tmp_path / "nine")
    assert distance(nine.weights, parts.weights) <= 1e-6
    if name != "fedsgd":  # which takes all samples at once
        assert distance(nine.weights, whole.weights) > 1e-3, "another batch must lead elsewhere"
    for row, other in zip(nine.history, parts.history, strict=True):
        assert {key: row[key] for key in ("samples", "bytes")} == {key: other[key] for key in ("samples", "bytes")}
        assert (other["train_loss"] or 0) == pytest.approx(row["train_loss"] or 0, rel=1e-5)
    assert parts.history[-1]["seconds"] > nine.history[-1]["seconds"], "each micro-batch has an overhead"


def test_processes_accumulate_as_the_simulation_does(fleet: Callable[[int], Fleet], tmp_path: Path) -> None:
    """With batch norm, whose statistics are those of micro-batches in both, and norms of whole layers."""
    options = {"optimizer": LARS(trust=0.1), "batch_size": 3, "accumulate": 3}
    specification = specify("all-reduce", workers=2, **options)
    simulated = train(specification, toy(Normed), tmp_path / "simulated")
    real = fleet(2).train(specification, toy(Normed), tmp_path / "real")
    assert distance(simulated.weights, real.weights) <= 1e-6
    assert real.history[-1]["bytes"] == simulated.history[-1]["bytes"]
