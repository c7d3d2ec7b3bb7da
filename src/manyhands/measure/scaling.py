"""Strong and weak scaling, what backward hides, who carries the bytes, and whether many learn what one does.

Strong: the same work, an epoch with the same total batch, shared by n workers; efficiency = T₁ / (n Tₙ). Weak: the same
work for each of n workers; efficiency = T₁ / Tₙ. T₁ is ``single`` on the same cluster with the same threads.
"""

from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

from manyhands.clusters.cluster import Cluster, Processes, Simulated
from manyhands.errors import UserError
from manyhands.measure import scaling_tables as tables
from manyhands.measure.results import BenchFolder, Say
from manyhands.measure.runner import Account, Runner
from manyhands.runs.specification import Specification
from manyhands.strategies import AllReduce, ParameterServer, Single, Strategy
from manyhands.tasks.task import Task

Part = Literal["strong", "weak", "overlap", "load", "accuracy"]
PARTS: tuple[Part, ...] = ("strong", "weak", "overlap", "load", "accuracy")
LOAD_STEPS = 4
"""of the runs whose bytes are counted"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured. ``base`` has the task, the cluster and all that does not vary; its batch is the total one.

    ``batch`` is that of all workers in strong scaling, of each in weak scaling.
    """

    base: Specification
    strategies: tuple[Strategy, ...]
    workers: tuple[int, ...]
    parts: tuple[Part, ...]
    repeats: int
    seeds: tuple[int, ...]
    accuracy_epochs: int
    margin: float
    samples: int
    """of the training set: strong scaling takes them all, weak scaling shares them among the most workers"""

    def __post_init__(self) -> None:
        if not self.workers or min(self.workers) < 1:
            raise UserError("--workers must be positive numbers, e.g. --workers 1 2 4")
        if max(self.workers) < 2:
            raise UserError("--workers must name 2 or more somewhere: one worker, as single, is always measured")
        if self.repeats < 1:
            raise UserError(f"--repeats must be at least 1, not {self.repeats}")
        batch = self.base.batch_size
        for count in self.counts:
            if batch % count:
                raise UserError(
                    f"--batch-size {batch} cannot be shared by {count} workers alike: take a multiple of it"
                )
        if batch > self.samples:
            raise UserError(f"--batch-size {batch} is more than the {self.samples} training samples")
        if self.samples // max(self.counts) < batch and "weak" in self.parts:
            raise UserError(
                f"weak scaling gives each of {max(self.counts)} workers its part of {self.samples} samples, which is "
                f"less than --batch-size {batch}: take fewer workers or a smaller batch"
            )
        if not 0 < self.margin < 1:
            raise UserError(f"--margin must be a share between 0 and 1, e.g. 0.02, not {self.margin:g}")
        if "accuracy" in self.parts and len(set(self.seeds)) < 2:
            raise UserError("a test of equivalence needs two seeds or more: give --seeds 0 1 2, or leave out accuracy")

    @property
    def counts(self) -> list[int]:
        """The numbers of workers above one."""
        return sorted({count for count in self.workers if count > 1})

    @property
    def most_nodes(self) -> int:
        """Of any run, servers among them."""
        servers = [strategy.servers for strategy in self.strategies]
        return max(self.counts) + max([*servers, 1 if "load" in self.parts else 0])

    def strong(self, strategy: Strategy, count: int) -> Specification:
        """The whole training set and the total batch, shared by so many."""
        return self._placed(strategy, workers=count, batch_size=self.base.batch_size // count)

    def weak(self, strategy: Strategy, count: int) -> Specification:
        """A part of the training set and a batch for each."""
        return self._placed(strategy, workers=count, samples=self.samples // max(self.counts) * count)

    def load(self, strategy: Strategy, count: int) -> Specification:
        """A few steps, to count bytes."""
        batch = max(1, min(self.base.batch_size // count, self.samples // (count * LOAD_STEPS)))
        samples = count * batch * LOAD_STEPS
        return self._placed(strategy, workers=count, batch_size=batch, samples=samples, epochs=1, evaluate_every=1)

    def accuracy(self, strategy: Strategy, count: int, seed: int) -> Specification:
        """As strong scaling, to the end."""
        epochs = self.accuracy_epochs
        run = self.strong(strategy, count)
        return replace(run, seed=seed, epochs=epochs, evaluate_every=epochs)

    def _placed(self, strategy: Strategy, **changes: Any) -> Specification:
        return placed(self.base, strategy, **changes)

    def turns(self, *, simulated: bool) -> range:
        """The repeats, after one to warm up, -1; a simulation needs none, and repeats itself."""
        return range(1) if simulated else range(-1, self.repeats)

    def measurements(self, *, simulated: bool) -> int:
        """How many there will be, of all parts."""
        counts, turns = len(self.counts), self.turns(simulated=simulated)
        speeds = (1 + len(self.strategies) * counts) * len(turns) + (1 + counts) * turns.stop
        parts = {"overlap": counts, "load": 2 * counts, "accuracy": (1 + len(self.strategies)) * len(self.seeds)}
        return sum(parts.get(part, speeds) for part in self.parts)

    def specifications(self) -> list[Specification]:
        """All runs, to be checked before the first begins; of repeats one."""
        single, most = Single(), max(self.counts)
        runs: list[Specification] = []
        for part, make in (("strong", self.strong), ("weak", self.weak)):
            if part in self.parts or (part == "strong" and "overlap" in self.parts):
                runs += [make(single, 1), *(make(s, n) for s, n in product(self.strategies, self.counts))]
        if "load" in self.parts:
            runs += [self.load(s, n) for s, n in product((AllReduce(), ParameterServer()), self.counts)]
        if "accuracy" in self.parts:
            runs += [self.accuracy(single, 1, seed) for seed in self.seeds]
            runs += [self.accuracy(s, most, seed) for s, seed in product(self.strategies, self.seeds)]
        return runs


def measure_scaling(bench: BenchFolder, plan: Plan, task: Task, say: Say) -> None:
    """Measure part after part; each adds a table to the bench's result. Raises UserError and RunError."""
    with Runner(bench, plan.base.cluster, plan.most_nodes, task, say) as runner:
        bench.result.conditions = {**bench.result.conditions, **runner.conditions, "repeats": str(plan.repeats)}
        say.expect(plan.measurements(simulated=runner.simulated))
        for part in plan.parts:
            if part == "strong":
                _scaling(bench, plan, runner, "strong")
            elif part == "weak":
                _scaling(bench, plan, runner, "weak")
            elif part == "overlap":
                _overlap(bench, plan, runner)
            elif part == "load":
                _load(bench, plan, runner)
            else:
                _accuracy(bench, plan, runner)


def _scaling(bench: BenchFolder, plan: Plan, runner: Runner, kind: Literal["strong", "weak"]) -> None:
    """Repeats of all configurations take turns, after a run of each to warm up; ratios are of one turn."""
    make = plan.strong if kind == "strong" else plan.weak
    single = make(Single(), 1)
    runs = [single, *(make(strategy, count) for strategy, count in product(plan.strategies, plan.counts))]
    computing = [_computing(run) for run in runs]
    accounts: list[list[Account]] = [[] for _ in runs]
    alone: dict[Specification, list[float]] = {run: [] for run in computing}
    turns = plan.turns(simulated=runner.simulated)
    for repeat in turns:
        for run, own in zip(runs, accounts, strict=True):
            name = f"{kind}-{run.strategy}-{run.workers}"
            if repeat < 0:
                runner.warm_up(run, name)
            else:
                own.append(runner.run(run, f"{name}-{repeat}", f"{name}, repeat {repeat + 1} of {turns.stop}"))
        for run, seconds in alone.items():
            if repeat >= 0:
                seconds.append(runner.alone(run))
    table, sentences = tables.scaling(kind, runs, accounts, [alone[run] for run in computing], runner.steps_per_epoch)
    bench.result.tables.append(table)
    bench.result.sentences += sentences


def _computing(run: Specification) -> Specification:
    """What its workers compute for themselves: the same for all strategies with this batch on as many workers."""
    return placed(run, AllReduce(), workers=run.size, epochs=1, evaluate_every=1)


def _overlap(bench: BenchFolder, plan: Plan, runner: Runner) -> None:
    runs = [plan.strong(AllReduce(), count) for count in plan.counts]
    measured = [runner.overlap(run, plan.repeats) for run in runs]
    table, sentences = tables.overlap(runs, measured, runner.simulated)
    bench.result.tables.append(table)
    bench.result.sentences += sentences


def _load(bench: BenchFolder, plan: Plan, runner: Runner) -> None:
    pairs = []
    for count in plan.counts:
        ring, server = (
            runner.run(plan.load(strategy, count), f"load-{strategy}-{count}", f"bytes of {strategy}, {count} workers")
            for strategy in (AllReduce(), ParameterServer())
        )
        pairs.append((count, ring, server))
    table, sentences = tables.load(pairs, runner.model_bytes(plan.strong(Single(), 1)), LOAD_STEPS)
    bench.result.tables.append(table)
    bench.result.sentences += sentences


def _accuracy(bench: BenchFolder, plan: Plan, runner: Runner) -> None:
    most = max(plan.counts)
    arms: dict[str, list[float]] = {}
    for strategy, count in ((Single(), 1), *((strategy, most) for strategy in plan.strategies)):
        for seed in plan.seeds:
            run = plan.accuracy(strategy, count, seed)
            name = f"accuracy-{strategy}-{count}-seed-{seed}"
            arms.setdefault(str(strategy), []).append(runner.accuracy(run, name))
    table, sentences = tables.accuracy(arms, most, plan.margin, plan.accuracy_epochs)
    bench.result.tables.append(table)
    bench.result.sentences += sentences


def clustered(cluster: Cluster, nodes: int, cores: int) -> Cluster:
    """The cluster with as many threads, and as much of a core, for one worker as for many: T₁ and Tₙ compare like
    with like."""
    if not isinstance(cluster, Processes):
        return cluster
    threads = cluster.threads or max(1, cores // nodes)
    cpus = cluster.cpus or (min(1.0, cores / cluster.hosts) if cluster.hosts else 0.0)
    return replace(cluster, threads=threads, cpus=cpus)


def placed(base: Specification, strategy: Strategy, **changes: Any) -> Specification:
    """The same with another strategy and number of workers, on no more emulated hosts than there are nodes then."""
    cluster, nodes = base.cluster, changes["workers"] + strategy.servers
    if isinstance(cluster, Processes) and cluster.hosts > nodes:
        cluster = replace(cluster, hosts=nodes)
    return replace(base, strategy=strategy, cluster=cluster, **changes)


def usual_workers(cluster: Cluster) -> tuple[int, ...]:
    """How many, where nobody says: what a course looks at."""
    if isinstance(cluster, Simulated):
        return (2, 4, 8, 16)
    hosts = cluster.hosts if isinstance(cluster, Processes) else 0
    return tuple(range(2, hosts + 1)) or (2,)
