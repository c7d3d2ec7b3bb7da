"""Carries out the runs of a benchmark, on live processes or in simulation, and gives what each cost."""

import re
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any, Self

from manyhands import lab
from manyhands.clusters.cluster import Cluster, Processes, Simulated
from manyhands.clusters.experiment import Experiment
from manyhands.clusters.simulated.profile import DeviceProfile
from manyhands.errors import RunError
from manyhands.measure.overlap import Overlap, time_alone, time_overlap
from manyhands.measure.results import BenchFolder, Say
from manyhands.runs.folder import RunFolder
from manyhands.runs.reading import RunView, final, seconds
from manyhands.runs.specification import Specification
from manyhands.tasks.task import Task

NOTHING = 1e-9
"""the factor on durations that are replaced by nothing"""
ENDLESS = "1000000Tbit/s"


@dataclass(frozen=True)
class Account:
    """What a run cost. ``nodes`` are as in ledger.json, of the whole run; all quantities below are of one epoch."""

    seconds: float
    epochs: int
    nodes: Sequence[dict[str, Any]]

    def of_workers(self, part: str) -> float:
        """Seconds on one of the ledger's accounts, the mean over the workers."""
        own = [float(node["seconds"].get(part, 0.0)) for node in self.nodes if node["role"] == "worker"]
        return sum(own) / len(own) / self.epochs

    @property
    def bytes_sent(self) -> float:
        """By a worker, the mean."""
        own = [float(node["bytes_sent"]) for node in self.nodes if node["role"] == "worker"]
        return sum(own) / len(own) / self.epochs

    def load(self, role: str, steps: int, kind: str = "algorithmic") -> float | None:
        """Bytes that the busiest node of a role sent and received in a step; None where they were not counted."""
        loads = []
        for node in self.nodes:
            if node["role"] == role:
                if kind == "algorithmic":
                    loads.append(node["bytes_sent"] + node["bytes_received"])
                elif (counted := (node.get("bytes") or {}).get(kind)) is not None:
                    loads.append(counted["sent"] + counted["received"])
        return max(loads) / steps / self.epochs if loads else None


class Runner:
    """A context in which specifications are run on one cluster, with processes that live on between them."""

    def __init__(self, bench: BenchFolder, cluster: Cluster, nodes: int, task: Task, say: Say) -> None:
        self.bench, self.cluster, self.nodes, self.task, self.say = bench, cluster, nodes, task, say
        self._stack = ExitStack()
        self._fleet: Any = None

    def __enter__(self) -> Self:
        self._scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="manyhands-bench-")))
        if isinstance(self.cluster, Processes):
            from manyhands.clusters.processes.fleet import Fleet

            self.say.expect(1)
            self.say(f"starting {self.nodes} processes")
            self._fleet = self._stack.enter_context(Fleet(self.nodes, self.cluster))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def simulated(self) -> bool:
        return isinstance(self.cluster, Simulated)

    @property
    def conditions(self) -> dict[str, str]:
        """Of the cluster, in words."""
        if isinstance(self.cluster, Simulated):
            profile = DeviceProfile.load(self.cluster.profile)
            network = f"{self.cluster.bandwidth}, {self.cluster.latency}"
            return {"cluster": "simulated", "network": network, "profile": f"{profile.name} ({profile.digest})"}
        assert isinstance(self.cluster, Processes)
        shown = {"cluster": "processes, over loopback", "threads of each": str(self.cluster.threads or "shared out")}
        if self._fleet.hosts:
            shown["cluster"] = f"processes on {self.cluster.hosts} emulated hosts"
            shown["network"] = f"{self.cluster.network} for each host, in each direction"
        return shown

    def steps_per_epoch(self, run: Specification) -> int:
        samples = run.samples or len(self.task.train)
        return ceil(samples / (run.size * run.samples_per_step))

    def model_bytes(self, run: Specification) -> tuple[int, int]:
        """Of the parameters, and of the float buffers beside them."""
        experiment: Experiment = lab.prepare(run, self.task)
        learner = experiment.make_learner()
        return 4 * learner.parameters, 4 * learner.buffers

    # ---- runs

    def run(self, run: Specification, name: str, words: str) -> Account:
        """Train, or where the cluster is simulated go through it without learning."""
        self.say(words)
        if self.simulated:
            return self._rehearse(run)
        view = self._train(run, self.bench.run_path(plain(name)))
        if view.ledger is None:
            raise RunError(f"{view.folder} has no ledger: {'; '.join(view.problems)}")
        total = seconds(view)
        assert total is not None
        return Account(total / run.total, run.total, view.ledger["nodes"])

    def warm_up(self, run: Specification, name: str) -> None:
        """The same, for nothing."""
        self.say(f"{name}, to warm up")
        folder = self._scratch / "warm-up"
        self._train(run, folder)
        shutil.rmtree(folder, ignore_errors=True)

    def accuracy(self, run: Specification, name: str) -> float:
        """The accuracy at the last evaluation."""
        self.say(name)
        view = self._train(run, self.bench.run_path(plain(name)))
        value = final(view, "test_accuracy")
        assert value is not None
        return float(value)

    def _train(self, run: Specification, out: Path) -> RunView:
        if self.simulated:
            lab.train(run, task=self.task, out=out)
        else:
            lab.train(run, task=self.task, out=out, fleet=self._fleet)
        shutil.rmtree(out / "checkpoints", ignore_errors=True)  # there is nothing to go on with
        return RunView.read(out)

    def _rehearse(self, run: Specification) -> Account:
        rehearsal = lab.rehearse(run, task=self.task)
        nodes = [
            {"role": "worker" if rank < run.size else "server", **ledger.to_json()}
            for rank, ledger in sorted(rehearsal.ledgers.items())
        ]
        return Account(rehearsal.seconds / run.total, run.total, nodes)

    # ---- steps

    def alone(self, run: Specification) -> float:
        """Seconds of a step with communication replaced by nothing, on as many workers at once; of the slowest."""
        self.say(f"steps without communication on {run.size}, batch {run.batch_size}")
        if self.simulated:
            return self._rehearse(self._without(run, link=True)).seconds / self.steps_per_epoch(run)
        return float(max(times[0] for times in self._call(time_alone, run, 1)))

    def overlap(self, run: Specification, repeats: int) -> Overlap:
        """The three times of which overlap is made, of all-reduce."""
        self.say(f"overlap on {run.size}")
        if not self.simulated:
            return Overlap.of(self._call(time_overlap, run, repeats))
        steps = self.steps_per_epoch(run)
        whole, nothing, alone = (
            self._rehearse(each).seconds / steps
            for each in (run, self._without(run, link=True), self._without(run, compute=True))
        )
        return Overlap([whole], [nothing], [alone])

    def _call(self, function: Any, run: Specification, repeats: int) -> list[Any]:
        experiment: Experiment = lab.prepare(run, self.task)
        answers: list[Any] = self._fleet.call(function, experiment, repeats, nodes=run.size)
        return answers

    def _without(self, run: Specification, *, link: bool = False, compute: bool = False) -> Specification:
        """The same simulation with communication, or computation, that takes no time."""
        cluster = run.cluster
        assert isinstance(cluster, Simulated)
        scaled = DeviceProfile.load(cluster.profile).scaled(
            compute=NOTHING if compute else 1.0, link=NOTHING if link else 1.0
        )
        file = self._scratch / f"{'link' if link else 'compute'}.json"
        RunFolder(self._scratch).write_json(file.name, scaled.to_json())
        changed = replace(cluster, profile=str(file))
        return replace(run, cluster=replace(changed, bandwidth=ENDLESS, latency="1ns") if link else changed)


def plain(name: str) -> str:
    """Fit for a folder's name."""
    return re.sub(r"[^\w.]+", "-", name).strip("-")
