"""Reading run and study folders back, for tables, charts and reports: read-only, and without torch.

A run may be under way, stopped or damaged while it is read. What can be read is given, what is missing or
damaged is named in ``problems``, and only a ``run.json`` that cannot be used raises UserError.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from manyhands.errors import UserError
from manyhands.runs import trace
from manyhands.runs.files import (
    Json,
    check_evaluation,
    check_ledger,
    check_partition,
    check_record,
    clients_row,
    finite,
    read_beside,
    read_history,
    read_part,
    read_record,
    workers_row,
)
from manyhands.runs.folder import CLIENTS, WORKERS

BASELINE = "single"


@dataclass(frozen=True, kw_only=True)
class RunView:
    """One run folder as it is on disk now.

    ``record`` is run.json; ``history`` has a row per evaluation with every quantity present, None where it is
    not a finite number; ``clients`` has a row beside each of them in runs whose strategy has rounds (see
    `manyhands.runs.clients.Clients.row`), ``worker_losses`` in the others if they have several workers: the mean
    training loss of each since the row before; ``ledger``, ``partition`` and ``evaluation`` are None where their file
    is missing or damaged; ``problems`` say in plain words what is missing or damaged.
    """

    folder: Path
    record: Json
    history: list[Json]
    clients: list[Json]
    worker_losses: list[Json]
    ledger: Json | None
    partition: Json | None
    evaluation: Json | None
    problems: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> "RunView":
        """Read a run folder; raises UserError where run.json is missing, damaged or of a newer format."""
        folder = Path(folder)
        record = read_record(folder / "run.json", "run", ("specification",))
        check_record(folder / "run.json", record)
        problems: list[str] = []
        return cls(
            folder=folder,
            record=record,
            history=read_history(folder / "history.jsonl", problems),
            clients=read_beside(folder / CLIENTS, clients_row, problems),
            worker_losses=read_beside(folder / WORKERS, workers_row, problems),
            ledger=read_part(folder / "ledger.json", check_ledger, problems),
            partition=read_part(folder / "partition.json", check_partition, problems),
            evaluation=read_part(folder / "evaluation.json", check_evaluation, problems),
            problems=tuple(problems),
        )

    @property
    def name(self) -> str:
        return str(self.record.get("name") or self.folder.name)

    @property
    def status(self) -> str:
        """running, finished, stopped or failed."""
        return str(self.record.get("status", "unknown"))

    @property
    def finished(self) -> bool:
        return self.status == "finished"

    @property
    def specification(self) -> Json:
        return dict(self.record["specification"])

    @property
    def at_clients(self) -> Json:
        """The last row of ``clients``: how the run ended at each of them; empty where there is none."""
        return self.clients[-1] if self.clients else {}

    @property
    def nodes(self) -> list[Json]:
        """``{"rank", "role", "samples"}`` of every node."""
        nodes = self.record.get("nodes")
        known = [node for node in nodes if isinstance(node, dict)] if isinstance(nodes, list) else []
        return [node for node in known if isinstance(node.get("rank"), int)]

    @property
    def strategy(self) -> str:
        return str(self.specification["strategy"]["name"])

    @property
    def workers(self) -> int:
        return int(self.specification["workers"])

    @property
    def seed(self) -> int:
        return int(self.specification.get("seed") or 0)

    @property
    def partition_text(self) -> str:
        """How the samples are shared out, e.g. ``dirichlet:0.1``."""
        return str(self.specification.get("partition") or "iid")

    @property
    def stragglers(self) -> str:
        """The nodes that are simulated slower than the others, e.g. ``0:4+3:2``; empty where there is none."""
        slow = self.specification["cluster"].get("slow")
        return "+".join(map(str, slow)) if isinstance(slow, list) else ""

    @property
    def faults(self) -> str:
        """What goes wrong on purpose, e.g. ``sign-flip:0.2+drop-out:0.1``; empty where nothing does."""
        faults = self.specification.get("faults")
        return "+".join(map(str, faults)) if isinstance(faults, list) else ""

    @property
    def facts(self) -> dict[str, float | str]:
        """What was known of the strategy before it ran, such as ``{"spectral_gap": 0.12}``: numbers and remarks."""
        facts = self.record.get("facts")
        pairs = facts.items() if isinstance(facts, dict) else ()
        known = {key: value if isinstance(value, str) else finite(value) for key, value in pairs}
        return {key: value for key, value in known.items() if value is not None}

    @cached_property
    def spans(self) -> dict[int, list[trace.Span]]:
        """What each node did, by rank; empty where ``trace.json`` is missing, as in runs of old, or damaged."""
        content = read_part(self.folder / "trace.json", trace.decode, [])
        return {} if content is None else trace.decode(content)

    @property
    def clock(self) -> str:
        """What ``seconds`` are measured by: ``simulated`` or ``real``."""
        if self.ledger is not None:
            return str(self.ledger["clock"])
        return "simulated" if self.specification["cluster"]["name"] == "simulated" else "real"


@dataclass(frozen=True, kw_only=True)
class StudyView:
    """One study folder: ``record`` is study.json; ``folders`` are its runs' folders, in its order."""

    folder: Path
    record: Json
    folders: tuple[Path, ...]

    @classmethod
    def read(cls, folder: Path) -> "StudyView":
        """Read a study folder; raises UserError where study.json is missing, damaged or of a newer format."""
        folder = Path(folder)
        record = read_record(folder / "study.json", "study", ("runs",))
        runs = record["runs"]
        if not isinstance(runs, list) or not all(isinstance(run, str) and _is_below(run) for run in runs):
            raise UserError(f"{folder / 'study.json'} is damaged: its 'runs' must list folders below it")
        return cls(folder=folder, record=record, folders=tuple(folder / run for run in runs))

    @property
    def name(self) -> str:
        return str(self.record.get("name") or self.folder.name)

    @property
    def factors(self) -> tuple[str, ...]:
        """What differs on purpose between the runs, e.g. ``("strategy", "workers")``."""
        return tuple(map(str, self.record.get("factors") or ()))

    @property
    def target(self) -> float | None:
        """The accuracy for which a report shall tell the time, 0 to 1, if the study has one."""
        return finite(self.record.get("target"))


def find_runs(path: Path) -> list[Path]:
    """The run folders at ``path``: itself, a study's runs in the study's order, or else all below it, sorted.

    Raises UserError where there is none.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"{path} is not a folder: name a run's or a study's folder")
    if (path / "run.json").exists():
        return [path]
    if (path / "study.json").exists():
        runs = list(StudyView.read(path).folders)
    else:
        runs = sorted(record.parent for record in path.rglob("run.json"))
    if not runs:
        raise UserError(
            f"no run in {path}: a run's folder holds run.json, a study's folder study.json; "
            f"manyhands compare --out {path} makes some there"
        )
    return runs


# --- quantities of one run ---


def final(run: RunView, quantity: str) -> float | None:
    """The last evaluation's value, e.g. of ``test_accuracy``; never the best: the test set selects nothing.

    None where there is no evaluation or the value is not a finite number.
    """
    return run.history[-1][quantity] if run.history else None


def seconds(run: RunView) -> float | None:
    """Seconds on the cluster's clock up to the last evaluation; without a history, the ledger's total."""
    if run.history:
        return final(run, "seconds")
    return None if run.ledger is None else float(run.ledger["seconds"])


def seconds_at_epoch(run: RunView, epoch: float) -> float | None:
    """Seconds on the cluster's clock at which ``epoch`` was done, linear between the evaluations around it.

    None where the run did not come that far.
    """
    rows = [row for row in run.history if row["epoch"] is not None and row["seconds"] is not None]
    before: Json | None = None
    for row in rows:
        if row["epoch"] >= epoch:
            if before is None:
                return float(row["seconds"])
            part = (epoch - before["epoch"]) / (row["epoch"] - before["epoch"])
            return float(before["seconds"] + part * (row["seconds"] - before["seconds"]))
        before = row
    return None


def seconds_to_accuracy(run: RunView, target: float) -> float | None:
    """Seconds on the cluster's clock at the first evaluation with ``test_accuracy >= target``, if any."""
    reached = (row["seconds"] for row in run.history if (row["test_accuracy"] or 0.0) >= target)
    return next(reached, None)


def bytes_per_worker(run: RunView) -> float | None:
    """Mean of ``bytes_sent`` over the workers; a server's own bytes are not in it. None without a ledger."""
    workers = _worker_accounts(run)
    return sum(node["bytes_sent"] for node in workers) / len(workers) if workers else None


def staleness(run: RunView) -> dict[int, int]:
    """How many updates were computed at weights so many versions old, over all nodes; in ascending order.

    Empty for strategies in which nothing can be stale, and without a ledger.
    """
    counts: Counter[int] = Counter()
    for node in run.ledger["nodes"] if run.ledger is not None else []:
        counts.update({int(versions): count for versions, count in (node.get("staleness") or {}).items()})
    return dict(sorted(counts.items()))


@dataclass(frozen=True, kw_only=True)
class TimeShares:
    """How the workers' time on the run's own clock divides; all add up to one."""

    compute: float
    communication: float
    waiting: float
    compression: float = 0.0

    @property
    def in_communication(self) -> float:
        """(exposed communication + waiting) / (compute + compression + exposed communication + waiting)."""
        return self.communication + self.waiting


def time_shares(run: RunView) -> TimeShares | None:
    """Seconds of compute, compression, exposed communication and waiting of all workers, over the sum of all these.

    Hidden communication runs beside compute, and evaluation off the clock: they are in no share. None without a ledger
    or any time in it.
    """
    sums = {
        part: sum(float(node["seconds"].get(part, 0)) for node in _worker_accounts(run))
        for part in ("compute", "exposed_communication", "waiting", "compression")
    }
    total = sum(sums.values())
    if total <= 0:
        return None
    return TimeShares(
        compute=sums["compute"] / total,
        communication=sums["exposed_communication"] / total,
        waiting=sums["waiting"] / total,
        compression=sums["compression"] / total,
    )


def speedup(run: RunView, baseline: RunView) -> float | None:
    """T₁ / Tₙ at an equal number of epochs: the most that both runs have done, on the one clock they share.

    T₁ is the baseline's time, Tₙ this run's (`seconds_at_epoch`). None where clocks differ or no time passed.
    """
    epochs = [final(run, "epoch"), final(baseline, "epoch")]
    if run.clock != baseline.clock or any(epoch is None for epoch in epochs):
        return None
    common = min(epoch for epoch in epochs if epoch is not None)
    single, many = seconds_at_epoch(baseline, common), seconds_at_epoch(run, common)
    return single / many if single and many else None


def efficiency(run: RunView, baseline: RunView) -> float | None:
    """T₁ / (n · Tₙ) for n workers, as `speedup` (strong scaling: the same work, divided)."""
    value = speedup(run, baseline)
    return None if value is None else value / run.workers


def find_baseline(run: RunView, runs: Iterable[RunView]) -> RunView | None:
    """The ``single`` run that `run` is measured against: same task, clock and, if it is real, hardware.

    Of several, the one that also agrees in cluster, batch size, precision and seed, in this order.
    """

    def comparable(other: RunView) -> bool:
        return (
            other.strategy == BASELINE
            and other.finished
            and other.clock == run.clock
            and other.specification.get("task") == run.specification.get("task")
            and (run.clock == "simulated" or other.record.get("hardware") == run.record.get("hardware"))
        )

    def agreement(other: RunView) -> tuple[bool, ...]:
        keys = ("cluster", "batch_size", "precision", "seed")
        return tuple(other.specification.get(key) == run.specification.get(key) for key in keys)

    return max(filter(comparable, runs), key=agreement, default=None)


def _is_below(path: str) -> bool:
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts


def _worker_accounts(run: RunView) -> list[Json]:
    return [node for node in run.ledger["nodes"] if node["role"] == "worker"] if run.ledger is not None else []
