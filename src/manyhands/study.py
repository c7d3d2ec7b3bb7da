"""Several runs that differ in stated factors, kept together in one folder and reported together."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, Literal

from manyhands import lab
from manyhands.clusters.cluster import Processes, Simulated
from manyhands.errors import RunError
from manyhands.runs.folder import FORMAT, RunFolder
from manyhands.runs.recorder import Observer
from manyhands.runs.specification import Specification
from manyhands.strategies import STRATEGIES, Single, Strategy, parse_strategy
from manyhands.tasks.partition import Dirichlet, Iid, Partition
from manyhands.tasks.registry import load_task
from manyhands.tasks.task import Task

Show = Callable[[str, Specification], AbstractContextManager[Observer | None]]
"""shows one run's progress, given its label"""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Every combination of strategies, workers, skews, batch sizes and seeds, with a baseline for each clock.

    ``cluster`` is where the strategies run. ``mixed`` runs all-reduce for real, on two processes of one core each, and
    the others in simulation; ``single`` is then run on both, since times of different clocks are never compared.
    """

    base: Specification
    strategies: tuple[Strategy, ...]
    cluster: Literal["mixed", "simulated", "processes"] = "mixed"
    workers: tuple[int, ...] = ()
    partitions: tuple[Partition, ...] = ()
    """empty: the base's, and Dirichlet(0.3) for the strategies made for skewed data"""
    batch_sizes: tuple[int, ...] = ()
    seeds: tuple[int, ...] = (0,)

    def specifications(self) -> list[Specification]:
        """All runs, baselines first, none twice."""
        runs: list[Specification] = []
        for seed, batch_size in product(self.seeds, self.batch_sizes or (self.base.batch_size,)):
            base = replace(self.base, seed=seed, batch_size=batch_size)
            shared = [run for strategy in self.strategies for run in self._of(strategy, base)]
            real = {isinstance(run.cluster, Processes) for run in shared} or {False}
            runs += [self._single(base, processes) for processes in sorted(real)] + shared
        return list({str(run.to_json()): run for run in runs}.values())

    def _of(self, strategy: Strategy, base: Specification) -> list[Specification]:
        if isinstance(strategy, Single):
            return []  # the baseline is always there
        processes = self.cluster == "processes" or (self.cluster == "mixed" and strategy.name == "all-reduce")
        workers = self.workers if self.workers and not (self.cluster == "mixed" and processes) else (None,)
        skews = self.partitions or ((Dirichlet(0.3),) if strategy.unit == "round" else (base.partition,))
        cluster = self._cluster(base, processes)
        return [
            replace(base, strategy=strategy, cluster=cluster, workers=count, partition=skew)
            for count, skew in product(workers, skews)
        ]

    def _single(self, base: Specification, processes: bool) -> Specification:
        return replace(base, strategy=Single(), cluster=self._cluster(base, processes), workers=1)

    def _cluster(self, base: Specification, processes: bool) -> Processes | Simulated:
        if processes:
            return base.cluster if isinstance(base.cluster, Processes) else Processes(threads=1)
        return base.cluster if isinstance(base.cluster, Simulated) else Simulated()


def run_study(
    name: str,
    specifications: Sequence[Specification],
    out: Path,
    *,
    task: Task | None = None,
    data_dir: Path | None = None,
    show: Show,
) -> RunFolder:
    """Run them one after another into ``out``, a new folder.

    A run that fails on its way is kept and reported as failed; the others go on. Raises UserError, before the first
    run, for what cannot be done.
    """
    tasks = {spec.task: task or load_task(spec.task, data_dir, augment=spec.augment) for spec in specifications}
    for specification in specifications:
        lab.prepare(specification, tasks[specification.task])
    differ = factors(specifications)
    study: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "factors": differ,
        "baseline": "single, on the same clock",
        "runs": [],
    }
    folder = RunFolder.create(out, {"study.json": study})
    for number, specification in enumerate(specifications):
        run = f"{number + 1:02d}-{specification.strategy.name}"
        study["runs"] = [*study["runs"], run]
        folder.write_json("study.json", study)
        try:
            with show(label(specification, differ), specification) as observer:
                lab.train(specification, task=tasks[specification.task], out=out / run, observer=observer)
        except RunError:
            if not (out / run / "run.json").exists():
                raise
    return folder


def factors(specifications: Sequence[Specification]) -> list[str]:
    """The names of the fields in which they differ."""
    rows: list[dict[str, Any]] = [specification.to_json() for specification in specifications]
    return [key for key in rows[0] if any(row[key] != rows[0][key] for row in rows)]


def label(specification: Specification, differ: Sequence[str]) -> str:
    """What tells a run from the others of its study: ``fedavg ×8 dirichlet:0.3 seed 1``."""
    workers, partition = specification.workers, specification.partition
    parts = {
        "workers": f"×{workers}" if workers != 1 else "",
        "cluster": "real" if isinstance(specification.cluster, Processes) else "",
        "partition": str(partition) if not isinstance(partition, Iid) else "",
        "batch_size": f"batch {specification.batch_size}",
        "seed": f"seed {specification.seed}",
    }
    return " ".join([str(specification.strategy), *(parts[key] for key in parts if key in differ and parts[key])])


def default_strategies() -> tuple[Strategy, ...]:
    """Every registered strategy, and where consistency is an axis, each of its ends."""
    names = [name for name in STRATEGIES if name != "single"]
    asynchronous = ["parameter-server:consistency=async"]
    return tuple(parse_strategy(name) for name in sorted([*names, *asynchronous]))


def resolve_strategies(texts: Sequence[str]) -> tuple[Strategy, ...]:
    """Strategies in several words or separated by commas, ``gossip,fedavg:fraction=0.5,local_epochs=2``.

    Raises UserError for what does not exist.
    """
    names: list[str] = []
    for part in ",".join(texts).split(","):
        if names and "=" in part and ":" not in part.partition("=")[0]:
            names[-1] += f",{part}"  # an option of the strategy before
        else:
            names.append(part)
    return tuple(parse_strategy(name) for name in names)
