"""How fast one worker computes, against its batch size: images/s, seconds per epoch, share of the machine's peak."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from manyhands import lab
from manyhands.clusters.cluster import Processes
from manyhands.clusters.experiment import Experiment, choose_precision
from manyhands.clusters.quantities import format_seconds
from manyhands.clusters.simulated.executor import available_cores
from manyhands.errors import UserError
from manyhands.measure.results import BenchFolder, Cell, Column, Say, Spread, Table, percent
from manyhands.measure.steps import Steps, finish
from manyhands.runs.specification import Specification
from manyhands.strategies import Single
from manyhands.tasks.task import Task
from manyhands.training.cost import measure_cost
from manyhands.training.memory import keep_freed_memory

BATCH_SIZES = (8, 32, 128, 512, 2048)
LEAST_SECONDS = 0.2
"""of a repeat: shorter steps are taken several at a time"""
WARM_UP = 2
PEAK_SECONDS = 1.0
PASSES = 3
"""a training step computes three times what a forward pass does: forward, and in backward two products a layer"""

COLUMNS = (
    Column(key="batch", heading="Batch size", short="batch", meaning="b, samples in a step."),
    Column(
        key="step", heading="Step time", short="step", spread=True, unit="s",
        meaning="t, seconds of forward, backward and update together: median over repeats, with quartiles.",
    ),
    Column(
        key="epoch", heading="Time per epoch", short="time per\nepoch", unit="s",
        meaning="⌈N / b⌉ · t for N training samples.",
    ),
    Column(key="rate", heading="Images per second", short="images/s", unit="1/s", meaning="b / t."),
    Column(
        key="flops", heading="Computing rate", short="computing\nrate", unit="FLOP/s",
        meaning=f"{PASSES} · F · b / t, with F the floating-point operations of one sample's forward pass (dense and "
        "convolutional layers; a multiply-add is two); backward takes twice as many.",
    ),
    Column(
        key="share", heading="Share of peak", short="share\nof peak", unit="share",
        meaning="Computing rate / peak. Peak = 2 n³ / t of the fastest n × n matrix product measured, of the same "
        "precision, on the same threads.",
    ),
)  # fmt: skip


def prepare(
    specification: Specification, batch_sizes: Sequence[int], task: Task | None, data_dir: Path | None
) -> tuple[Experiment, list[int]]:
    """Check everything before anything is written; the batch sizes that the training set has samples for.

    Raises UserError where a batch size is given that is larger than the training set. Without any given, the usual
    ones that fit are taken.
    """
    cluster = specification.cluster if isinstance(specification.cluster, Processes) else Processes()
    specification = replace(specification, strategy=Single(), cluster=cluster, workers=1)
    experiment: Experiment = lab.prepare(specification, task, data_dir)
    samples = len(experiment.task.train)
    for size in batch_sizes:
        if not 0 < size <= samples:
            raise UserError(f"--batch-sizes {size}: it must lie in 1 … {samples}, the training samples of "
                            f"{experiment.task.name}")  # fmt: skip
    chosen = sorted(set(batch_sizes)) or [size for size in BATCH_SIZES if size <= samples]
    return experiment, chosen


def measure_batch_sizes(
    bench: BenchFolder, experiment: Experiment, batch_sizes: Sequence[int], repeats: int, say: Say
) -> None:
    """Measure in this process, and put the table into the bench's result.

    Repeats of all sizes are taken in turns, so that other load falls on all alike. Torch's number of threads is
    left as it was.
    """
    cluster = experiment.specification.cluster
    assert isinstance(cluster, Processes)
    before = torch.get_num_threads()
    torch.set_num_threads(cluster.threads or available_cores())
    keep_freed_memory()
    try:
        say.expect(1 + len(batch_sizes) * (1 + repeats))
        say("the precision and the peak")
        experiment.precision = choose_precision(experiment)
        size, peak = measure_peak(experiment)
        steps = [_Timed(experiment, batch) for batch in batch_sizes]
        for each in steps:
            say(f"warming up with batch {each.batch}")
            each.warm_up()
        for repeat in range(repeats):
            for each in steps:
                say(f"batch {each.batch}, repeat {repeat + 1} of {repeats}")
                each.measure()
    finally:
        torch.set_num_threads(before)
    bench.result.conditions = {
        **bench.result.conditions,
        "precision": experiment.precision.name,
        "threads": str(cluster.threads or available_cores()),
        "peak": f"{peak.value / 1e9:,.1f} GFLOP/s ({size} × {size} matrix product)",
        "repeats": str(repeats),
    }
    bench.result.tables = [_table(experiment, steps, peak.value)]
    bench.result.sentences = _sentences(steps, len(experiment.task.train), bench.result.tables[0])


class _Timed:
    """Steps with one batch size and the seconds that they took."""

    def __init__(self, experiment: Experiment, batch: int) -> None:
        self.batch = batch
        self.seconds: list[float] = []
        # A specification's own batch size also bounds its micro-batches.
        of_size = replace(experiment, specification=replace(experiment.specification, batch_size=batch))
        self._steps = Steps(of_size)
        self._at_once = 1

    def warm_up(self) -> None:
        for _ in range(WARM_UP):
            seconds = self._take(1)
        self._at_once = max(1, math.ceil(LEAST_SECONDS / max(seconds, 1e-6)))

    def measure(self) -> None:
        self.seconds.append(self._take(self._at_once))

    def _take(self, steps: int) -> float:
        """Seconds of a step, the mean of so many."""
        start = time.perf_counter()
        self._steps.take(steps)
        return (time.perf_counter() - start) / steps


def measure_peak(experiment: Experiment) -> tuple[int, Spread]:
    """The fastest square matrix product of the run's precision: its n, and 2 n³ / t in FLOP/s over its repeats."""
    dtype = torch.bfloat16 if experiment.precision.name == "bf16" else torch.float32
    best: tuple[int, Spread] | None = None
    for n in (512, 1024, 2048, *((8192,) if experiment.device.type == "cuda" else ())):
        a, b = (torch.randn(n, n, device=experiment.device).to(dtype) for _ in range(2))
        rates: list[float] = []
        begin = time.perf_counter()
        while len(rates) < 4 or time.perf_counter() - begin < PEAK_SECONDS / 3:
            start = time.perf_counter()
            a @ b
            finish(experiment.device)
            rates.append(2 * n**3 / (time.perf_counter() - start))
        spread = Spread.of(rates[1:])  # the first prepares the kernel
        if best is None or spread.value > best[1].value:
            best = n, spread
    assert best is not None
    return best


def _table(experiment: Experiment, steps: Sequence[_Timed], peak: float) -> Table:
    samples, task = len(experiment.task.train), experiment.placed_task
    forward = measure_cost(task.model().to(experiment.device), task.prepare(task.train.inputs[:1])).forward_flops
    rows: list[dict[str, Cell]] = []
    for each in steps:
        step = Spread.of(each.seconds)
        flops = PASSES * forward * each.batch
        rows.append(
            {
                "batch": each.batch,
                "step": step,
                "epoch": step.map(lambda t, b=each.batch: math.ceil(samples / b) * t),  # type: ignore[misc]
                "rate": step.map(lambda t, b=each.batch: b / t),  # type: ignore[misc]
                "flops": step.map(lambda t, f=flops: f / t),  # type: ignore[misc]
                "share": step.map(lambda t, f=flops: f / t / peak),  # type: ignore[misc]
            }
        )
    return Table(
        key="batch-size",
        title="One worker against its batch size",
        columns=COLUMNS,
        rows=rows,
        words=f"{samples:,} training samples; {forward:,} floating-point operations in a sample's forward pass.",
    )


def _sentences(steps: Sequence[_Timed], samples: int, table: Table) -> list[str]:
    rates = {each.batch: each.batch / Spread.of(each.seconds).value for each in steps}
    best, least = max(rates, key=lambda batch: rates[batch]), min(rates)
    shares = {each.batch: row["share"] for each, row in zip(steps, table.rows, strict=True)}
    share = shares[best]
    assert isinstance(share, Spread)
    epoch = format_seconds(math.ceil(samples / best) * best / rates[best])
    text = f"Batch {best} is the fastest: {rates[best]:,.0f} images/s, an epoch in {epoch}"
    text += f", {percent(share.value)} of what the machine reaches in a matrix product."
    if best == least:
        return [text]
    return [text, f"With batch {least} a worker computes {rates[least]:,.0f} images/s, "
                  f"{percent(rates[least] / rates[best])} of that."]  # fmt: skip
