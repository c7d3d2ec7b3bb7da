"""Accuracy after a given number of epochs against the total batch, with and without rules that scale the learning rate.

A larger batch takes fewer steps in an epoch. The linear rule makes each step as much longer (Goyal et al. 2017,
https://arxiv.org/abs/1706.02677), the root rule less so (Krizhevsky 2014, https://arxiv.org/abs/1404.5997), and a
warm-up keeps the first long steps from doing harm.
"""

import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from manyhands import lab
from manyhands.errors import RunError, UserError
from manyhands.measure.results import BenchFolder, Cell, Column, Spread, Table, percent
from manyhands.runs.reading import RunView, final
from manyhands.runs.recorder import Observer
from manyhands.runs.specification import Specification
from manyhands.tasks.registry import load_task
from manyhands.tasks.task import Task
from manyhands.training.schedule import LrScaling, lr_scale

Show = Callable[[str, Specification], AbstractContextManager[Observer | None]]
"""shows one run's progress, given its label"""

COLUMNS = (
    Column(key="rule", heading="Rule", short="rule", meaning="How the learning rate follows the batch."),
    Column(
        key="total",
        heading="Total batch",
        short="total\nbatch",
        meaning="B = n · b, samples in a step of n workers with b each.",
    ),
    Column(key="workers", heading="Workers", short="workers", meaning="n = B / b."),
    Column(
        key="lr",
        heading="Learning rate",
        short="learning\nrate",
        meaning="none: that of one worker, η. linear: n · η. sqrt: √n · η. With a warm-up it rises linearly from η.",
    ),
    Column(key="steps", heading="Steps per epoch", short="steps/\nepoch", meaning="⌈N / B⌉ for N training samples."),
    Column(
        key="accuracy",
        heading="Test accuracy",
        short="test accuracy",
        spread=True,
        unit="share",
        meaning="At the last evaluation, never the best of several. Mean over seeds with its 95 % interval, "
        "t(0.975; n − 1) · s / √n over n seeds, s their standard deviation.",
    ),
    Column(key="loss", heading="Test loss", meaning="As the accuracy: mean and 95 % interval."),
    Column(
        key="failed",
        heading="Diverged",
        short="diverged",
        meaning="Seeds whose loss became no number; they are in no mean.",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Training:
    """One run of the grid."""

    rule: LrScaling
    specification: Specification

    @property
    def total(self) -> int:
        return self.specification.size * self.specification.batch_size

    @property
    def size(self) -> int:
        """The number of workers; with one, all rules are one."""
        return self.specification.size

    @property
    def name(self) -> str:
        return f"{self.rule}-batch-{self.total}-seed-{self.specification.seed}"


def trainings(
    base: Specification, totals: Sequence[int], rules: Sequence[LrScaling], warm_up: float, seeds: Sequence[int]
) -> list[Training]:
    """Every combination; n workers have n times the base's batch. The rules' warm-up is not for ``none``.

    At one worker all rules are one, which is run once. Raises UserError for a total that is not a multiple of the
    base's batch.
    """
    batch = base.batch_size
    for total in totals:
        if total < batch or total % batch:
            raise UserError(f"--totals {total}: it must be a multiple of --batch-size {batch}, that of one worker")
    runs = []
    for seed, total, rule in product(dict.fromkeys(seeds), dict.fromkeys(totals), dict.fromkeys(rules)):
        if total == batch and rule != rules[0]:
            continue
        scaled = rule != "none" and total > batch
        runs.append(
            Training(
                rule=rule,
                specification=replace(
                    base,
                    workers=total // batch,
                    seed=seed,
                    lr_scaling=rule if scaled else "none",
                    warm_up=warm_up if scaled else 0.0,
                    evaluate_every=base.total,
                ),
            )
        )
    return runs


def prepare(runs: Sequence[Training], task: Task | None, data_dir: Path | None) -> Task:
    """Check all runs before the first begins; the task of all."""
    specification = runs[0].specification
    task = task or load_task(specification.task, data_dir, augment=specification.augment)
    samples = specification.samples or len(task.train)
    for run in runs:
        if run.total > samples:
            raise UserError(f"--totals {run.total} is more than the {samples} training samples")
        lab.prepare(run.specification, task)
    return task


def measure_large_batches(bench: BenchFolder, runs: Sequence[Training], task: Task, show: Show) -> None:
    """Train them all, each in a run folder of its own; the table grows with every run."""
    samples = runs[0].specification.samples or len(task.train)
    epochs = runs[0].specification.total
    done: list[tuple[Training, RunView]] = []
    for run in runs:
        path = bench.run_path(run.name)
        try:
            with show(run.name, run.specification) as observer:
                lab.train(run.specification, task=task, out=path, observer=observer)
        except RunError:
            if not (path / "run.json").exists():
                raise
        shutil.rmtree(path / "checkpoints", ignore_errors=True)  # there is nothing to go on with
        done.append((run, RunView.read(path)))
        rows = _rows(done, samples)
        words = f"After {epochs} epochs of {samples:,} training samples. All see the same number of samples; where the "
        words += "batch is larger, they take fewer steps."
        table = Table(
            key="large-batch", title="Accuracy against the total batch", columns=COLUMNS, rows=rows, words=words
        )
        bench.result.tables, bench.result.sentences = [table], _sentences(rows)


def _rows(done: Sequence[tuple[Training, RunView]], samples: int) -> list[dict[str, Cell]]:
    rules = list(dict.fromkeys(run.rule for run, _ in done))
    totals = sorted({run.total for run, _ in done})
    rows: list[dict[str, Cell]] = []
    for rule, total in product(rules, totals):
        group = [pair for pair in done if pair[0].total == total and (pair[0].rule == rule or pair[0].size == 1)]
        if not group:
            continue
        specification = group[0][0].specification
        finished = [view for _, view in group if view.finished]
        rows.append(
            {
                "rule": rule,
                "total": total,
                "workers": specification.size,
                "lr": specification.chosen_lr * lr_scale(rule, specification.size),
                "steps": -(-samples // total),
                "accuracy": Spread.of_mean(final(view, "test_accuracy") for view in finished),
                "loss": Spread.of_mean(final(view, "test_loss") for view in finished),
                "failed": len(group) - len(finished),
            }
        )
    return rows


def _sentences(rows: Sequence[dict[str, Cell]]) -> list[str]:
    """The best rule at the largest batch, and what no rule costs there."""
    totals = sorted({int(str(row["total"])) for row in rows})
    accuracy = {(row["rule"], row["total"]): row["accuracy"] for row in rows}
    at_most = {rule: value for (rule, total), value in accuracy.items() if total == totals[-1]}
    known = {rule: value for rule, value in at_most.items() if isinstance(value, Spread)}
    if not known or len(totals) < 2:
        return []
    best = max(known, key=lambda rule: known[rule].value)
    first = next((v for (_, total), v in accuracy.items() if total == totals[0] and isinstance(v, Spread)), None)
    start = f" from {percent(first.value, 1)} with batch {totals[0]}" if first else ""
    told = ", ".join(f"{percent(value.value, 1)} with {rule}" for rule, value in known.items())
    text = f"With batch {totals[-1]} the accuracy changes{start} to {told}"
    several = f"; the rule {best} does best." if len(known) > 1 else "."
    return [text + several]
