"""Accuracy against the total batch: which runs, and what becomes of them."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from toys import toy

from manyhands.errors import UserError
from manyhands.measure import large_batch
from manyhands.measure.results import Result, Spread, bench_folder
from manyhands.runs.specification import Specification

BASE = Specification(epochs=2, batch_size=8)
RULES = ("none", "linear", "sqrt")


def test_workers_make_the_total_and_rules_their_learning_rate() -> None:
    runs = large_batch.trainings(BASE, (8, 32), RULES, 1.0, (0, 1))
    assert [(run.rule, run.total, run.specification.seed) for run in runs] == [
        (rule, total, seed)
        for seed in (0, 1)
        for rule, total in (("none", 8), ("none", 32), ("linear", 32), ("sqrt", 32))
    ]
    assert [(run.size, run.specification.lr_scaling, run.specification.warm_up) for run in runs[:4]] == [
        (1, "none", 0.0),
        (4, "none", 0.0),
        (4, "linear", 1.0),
        (4, "sqrt", 1.0),
    ]


@pytest.mark.parametrize("total", [4, 12])
def test_a_total_that_workers_cannot_share(total: int) -> None:
    with pytest.raises(UserError, match=f"--totals {total}: it must be a multiple of --batch-size 8"):
        large_batch.trainings(BASE, (total,), RULES, 1.0, (0,))


def test_each_combination_has_a_mean_over_seeds(tmp_path: Path) -> None:
    task = toy(samples=96)
    runs = large_batch.trainings(BASE, (8, 32), ("none", "linear"), 0.5, (0, 1))
    assert large_batch.prepare(runs, task, None) is task
    result = Result(kind="large-batch", title="", conditions={})
    with bench_folder(tmp_path / "new", result, "") as bench:
        large_batch.measure_large_batches(bench, runs, task, lambda name, run: nullcontext(None))
    (table,) = result.tables
    assert [(row["rule"], row["total"], row["steps"], row["failed"]) for row in table.rows] == [
        ("none", 8, 12, 0),
        ("none", 32, 3, 0),
        ("linear", 8, 12, 0),
        ("linear", 32, 3, 0),
    ]
    assert [row["lr"] for row in table.rows] == pytest.approx([0.05, 0.05, 0.05, 0.2])
    accuracies = [row["accuracy"] for row in table.rows]
    assert all(isinstance(cell, Spread) and cell.n == 2 and cell.low <= cell.value <= cell.high for cell in accuracies)
    assert accuracies[0] == accuracies[2]  # with one worker the rules are one
    folders = sorted(path.name for path in (tmp_path / "new/runs").iterdir())
    assert len(folders) == len(runs) == 6
    assert all((tmp_path / "new/runs" / name / "history.jsonl").exists() for name in folders)


def test_a_diverged_run_is_counted_and_in_no_mean(tmp_path: Path) -> None:
    base = Specification(epochs=1, batch_size=8, lr=1e38)
    runs = large_batch.trainings(base, (8,), ("none",), 0.0, (0,))
    result = Result(kind="large-batch", title="", conditions={})
    with bench_folder(tmp_path / "new", result, "") as bench:
        large_batch.measure_large_batches(bench, runs, toy(samples=96), lambda name, run: nullcontext(None))
    row = result.tables[0].rows[0]
    assert (row["failed"], row["accuracy"], row["loss"]) == (1, None, None)


def test_a_total_beyond_the_training_set() -> None:
    runs = large_batch.trainings(BASE, (128,), RULES, 1.0, (0,))
    with pytest.raises(UserError, match="--totals 128 is more than the 96"):
        large_batch.prepare(runs, toy(samples=96), None)
