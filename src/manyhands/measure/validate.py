"""Predictions held against real runs: what a frozen profile says before, and what emulated hosts then do.

The profiles come of one and two nodes on one link. Whole factors are held out: more workers, other bandwidths, other
strategies than they were measured with, and a straggler. All predictions are made and written down before the first
real run. Repeats are interleaved: each goes through all configurations, in an order of its own.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import ceil
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

from manyhands import lab
from manyhands.clusters.cluster import Processes, Simulated
from manyhands.clusters.processes.fleet import Fleet
from manyhands.clusters.simulated.profile import DeviceProfile
from manyhands.clusters.simulated.rehearsal import Subject as Model
from manyhands.clusters.simulated.rehearsal import rehearse
from manyhands.errors import UserError
from manyhands.measure import probes
from manyhands.measure.calibrate import as_simulated
from manyhands.measure.results import Say
from manyhands.measure.step_time import step_seconds
from manyhands.runs.folder import RunFolder
from manyhands.runs.specification import Specification
from manyhands.strategies.base import parse_strategy
from manyhands.tasks.task import Task

EPOCHS = 2
"""of a run, the first of which is not counted"""
REHEARSED, SEEDS = 9, 4
"""epochs of a rehearsal, and rehearsals, so that jitter and the phases of quotas cancel out"""
DRIFT = 0.15
"""by how much slower computing is tried out"""
SECONDS = 2.0
"""that a real run should take, by its prediction, if it can"""
STEPS = (2, 16)
"""in an epoch: at least and at most"""

Row = dict[str, str | int | float | None]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One configuration."""

    task: str
    strategy: str
    workers: int
    network: str
    slow: str = ""
    batch_size: int
    steps: int
    """in an epoch"""

    def __str__(self) -> str:
        slow = f", slow {self.slow}" if self.slow else ""
        return f"{self.task} {self.strategy}, {self.workers} workers, {self.network}{slow}"

    @property
    def samples(self) -> int:
        return self.workers * self.batch_size * self.steps

    @property
    def stragglers(self) -> tuple[str, ...]:
        return (self.slow,) if self.slow else ()

    def specification(self, cluster: Processes | Simulated) -> Specification:
        return Specification(
            task=self.task,
            strategy=parse_strategy(self.strategy),
            cluster=cluster,
            workers=self.workers,
            batch_size=self.batch_size,
            epochs=EPOCHS,
            samples=self.samples,
            lr=0.01,
        )

    @property
    def nodes(self) -> int:
        return self.workers + parse_strategy(self.strategy).servers


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Made before anything is measured."""

    seconds: float
    """of a step"""
    slope: float
    """more seconds of a step, for each time that computing takes as long again"""
    bytes: float
    """that all nodes send in a step: algorithmic"""

    def at(self, drift: float) -> float:
        """Seconds of a step on a machine that computes ``drift`` times as long as when it was calibrated."""
        return self.seconds + self.slope * (drift - 1)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One real run."""

    seconds: float
    drift: float
    """how many times as long computing took right before as when the machine was calibrated"""
    bytes: float
    wire_bytes: float
    """predicted of these: with headers and acknowledgements"""
    kernel_bytes: float | None
    """by the kernel's counters; None where they cannot be read"""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A task with its profile: what is validated, at the batch size of a worker."""

    task: Task
    profile: Path
    batch_size: int
    """one of those with which the profile was measured"""

    @property
    def step_seconds(self) -> float:
        """Of a step by itself, when the machine was calibrated; of a whole core."""
        steps = DeviceProfile.load(str(self.profile)).measured["steps"]
        return float(next(point["seconds"] for point in steps if point["batch"] == self.batch_size))


@dataclass(frozen=True, kw_only=True)
class Design:
    """All combinations of the factors; with stragglers at the second network alone."""

    subjects: Sequence[Subject]
    strategies: Sequence[str]
    workers: Sequence[int]
    networks: Sequence[str]
    stragglers: Sequence[str]
    options: Processes
    """of the hosts: their share of the cores"""

    def cells(self) -> "list[tuple[Cell, Subject]]":
        """Configurations whose steps take long get fewer of them. For each task there is one worker alone as well,
        which tells how the machine has changed since it was calibrated."""
        middle = self.networks[len(self.networks) // 2]
        grid = [
            (subject, strategy, workers, network, slow)
            for subject, strategy, workers, network, slow in product(
                self.subjects, self.strategies, self.workers, self.networks, ("", *self.stragglers)
            )
            if not slow or network == middle
        ]
        grid += [(subject, "single", 1, self.networks[-1], "") for subject in self.subjects]
        cells = []
        for subject, strategy, workers, network, slow in grid:
            cell = Cell(
                task=subject.task.name,
                strategy=strategy,
                workers=workers,
                network=network,
                slow=slow,
                batch_size=subject.batch_size,
                steps=STEPS[0],
            )
            seconds = predict(cell, subject, self.options).seconds
            steps = min(max(2 * ceil(SECONDS / EPOCHS / seconds / 2), STEPS[0]), STEPS[1])
            cells.append((replace(cell, steps=steps), subject))
        return cells


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A configuration, what was predicted of it, and what it then did, once in each repeat."""

    cell: Cell
    prediction: Prediction
    measurements: list[Measurement]

    @property
    def seconds(self) -> list[float]:
        return [measurement.seconds for measurement in self.measurements]

    @property
    def at_the_time(self) -> float:
        """What was predicted, given how fast the machine computed right before each run."""
        return fmean([self.prediction.at(measurement.drift) for measurement in self.measurements])


def validate(
    design: Design,
    repeats: int,
    seed: int = 0,
    say: Say | None = None,
    note: Callable[[list[Outcome]], None] = lambda outcomes: None,
) -> list[Outcome]:
    """Predict everything, then run everything ``repeats`` times. ``note`` is told what is known after each repeat.

    Raises UserError for fewer than two repeats, and RunError if a real run fails.
    """
    if repeats < 2:
        raise UserError(f"--repeats must be at least 2, to tell errors from noise, not {repeats}")
    cells = design.cells()
    outcomes = [
        Outcome(cell=cell, prediction=predict(cell, subject, design.options), measurements=[])
        for cell, subject in cells
    ]
    order = random.Random(seed)
    nodes = max(cell.nodes for cell, _ in cells)
    options, say = replace(design.options, hosts=nodes), say or Say()
    say.expect(repeats * len(cells))
    with Fleet(nodes, options) as fleet, TemporaryDirectory(prefix="manyhands-") as folder:
        for repeat in range(repeats):
            places = list(range(len(cells)))
            order.shuffle(places)
            for number, place in enumerate(places):
                cell, subject = cells[place]
                say(f"repeat {repeat + 1} of {repeats}, {number + 1} of {len(cells)}: {cell}")
                path = Path(folder) / f"{repeat}-{place}"
                outcomes[place].measurements.append(measure(cell, subject, fleet, path))
            note(outcomes)
    return outcomes


def predict(cell: Cell, subject: Subject, options: Processes) -> Prediction:
    """By the simulation with the learning left out."""
    content = DeviceProfile.load(str(subject.profile))
    cluster = as_simulated(subject.profile, content, options, cell.network, cell.stragglers)
    specification = replace(cell.specification(cluster), epochs=REHEARSED)
    experiments = [lab.outline(replace(specification, seed=seed), subject.task) for seed in range(SEEDS)]
    model = Model.of(experiments[0])
    profiles = (content, content.scaled(compute=1 + DRIFT))
    now, slower = ([rehearse(each, profile, model) for each in experiments] for profile in profiles)
    seconds, more = (
        fmean([step_seconds(specification, cell.samples, [row._asdict() for row in one.rows]) for one in rehearsals])
        for rehearsals in (now, slower)
    )
    return Prediction(
        seconds=seconds,
        slope=(more - seconds) / DRIFT,
        bytes=sum(ledger.bytes_sent for ledger in now[0].ledgers.values()) / (REHEARSED * cell.steps),
    )


def measure(cell: Cell, subject: Subject, fleet: Fleet, folder: Path) -> Measurement:
    """One real run, on the first of the fleet's hosts."""
    cluster = replace(fleet.options, hosts=cell.nodes, network=cell.network, slow=cell.stragglers)
    specification = cell.specification(cluster)
    pair = min(2, cell.workers)  # a core for each
    alone = replace(cluster, slow=(), hosts=pair, cpus=1.0)
    experiment = lab.prepare(specification, subject.task)
    blocks = fleet.call(probes.time_one_size, experiment, cell.batch_size, probes.BLOCK, nodes=pair, options=alone)
    run = RunFolder(lab.train(specification, task=subject.task, out=folder, fleet=fleet))
    nodes = run.read_json("ledger.json")["nodes"]
    measured = [node["bytes"]["measured"] for node in nodes]
    steps = EPOCHS * cell.steps
    return Measurement(
        seconds=step_seconds(specification, cell.samples, run.read_history()),
        drift=fmean(blocks) / subject.step_seconds,
        bytes=sum(node["bytes"]["algorithmic"]["sent"] for node in nodes) / steps,
        wire_bytes=sum(node["bytes"]["wire"]["sent"] for node in nodes) / steps,
        kernel_bytes=sum(each["sent"] for each in measured) / steps if all(measured) else None,
    )
