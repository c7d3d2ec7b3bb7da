"""A finished run on another network, or on other devices, without training again.

What a synchronous strategy learns does not depend on time: the same batches meet the same weights however long messages
take. So the history stays, and its seconds are those of a rehearsal of the same specification elsewhere.
"""

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from manyhands import lab
from manyhands.clusters.cluster import Simulated
from manyhands.clusters.simulated.profile import DeviceProfile
from manyhands.clusters.simulated.rehearsal import rehearse
from manyhands.errors import UserError
from manyhands.measure.networks import NetworkKind
from manyhands.runs.environment import hardware, revision, versions
from manyhands.runs.folder import CLIENTS, HISTORY, WORKERS, RunFolder, disk_errors, new_run_path
from manyhands.runs.recorder import Follow, write_ledger, write_trace
from manyhands.runs.specification import Specification, read_specification
from manyhands.tasks.partition import Iid
from manyhands.tasks.registry import load_task, outline_task
from manyhands.tasks.task import Task

_COPIED = ("partition.json", "evaluation.json", "model.safetensors", CLIENTS, WORKERS)


def retime(
    run: Path | str,
    network: NetworkKind | None = None,
    profile: str | None = None,
    *,
    out: Path | None = None,
    task: Task | None = None,
    data_dir: Path | None = None,
    command: str | None = None,
    follow: Follow = lambda progress: None,
) -> Path:
    """Write a new run with the history of ``run`` and the times of another network or device profile.

    What is not given stays as the run had it; of a run on processes nothing is known, so it needs a network, and its
    devices are ``nominal`` unless a profile is given. ``command``: how to do this again, for ``run.json``. ``follow``:
    see `manyhands.runs.recorder.Follow`. Returns the new folder. Raises UserError, and leaves nothing behind, for runs
    that have not finished or are asynchronous.
    """
    original = RunFolder(Path(run))
    record, history = original.read_run(), original.read_history()
    if record.get("status") != "finished":
        raise UserError(f"{run} has not finished (its status is {record.get('status')}): only whole runs are retimed")
    specification = read_specification(original)
    if not specification.strategy.synchronous:
        raise UserError(
            f"{specification.strategy} is asynchronous: what it learns depends on who was fast, so that {run} cannot "
            "be retimed; train it again on the other network"
        )
    there = replace(specification, cluster=_cluster(specification, network, profile, run))
    experiment = lab.outline(replace(there, device="cpu"), task or _task(there, data_dir))
    rehearsal = rehearse(experiment, traced=True, follow=follow)
    seconds = {rest.completed: rest.seconds for rest in rehearsal.rows}
    if missing := [row for row in history if row.get("completed") not in seconds]:
        raise UserError(f"{run} has a row for {missing[0].get('completed')}, at which this version would not evaluate")
    rows = [row | {"seconds": seconds[row["completed"]]} for row in history]

    assert isinstance(there.cluster, Simulated)
    used = DeviceProfile.load(there.cluster.profile)
    path = out or new_run_path(Path("runs"), f"{specification.strategy.name}-retimed")
    changes = {
        "name": path.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "specification": there.to_json(),
        "versions": versions(),
        "hardware": hardware(),
        "revision": revision(),
        "retimed_of": str(run),
        "retimed": {
            "trained": {key: record.get(key) for key in ("command", "created", "versions", "hardware", "revision")},
            "trained_on": specification.to_json()["cluster"],
            "network": str(network) if network else None,
            "profile": {"name": used.name, "digest": used.digest},
        },
    }
    kept = {key: value for key, value in record.items() if key != "network"}  # which a probe measured
    folder = RunFolder.create(path, {"run.json": kept | changes | {"status": "running"}})
    try:
        with disk_errors(path):
            for name in _COPIED:
                if (original.path / name).exists():
                    shutil.copyfile(original.path / name, path / name)
        for row in rows:
            folder.append_row(HISTORY, row)
        write_ledger(folder, rehearsal.ledgers, "simulated", there.size, rehearsal.seconds)
        write_trace(folder, rehearsal.traces, "simulated", there.size)
        folder.update_run(status="finished")
    except BaseException:
        folder.discard()
        raise
    return folder.path


def _cluster(
    specification: Specification, network: NetworkKind | None, profile: str | None, run: Path | str
) -> Simulated:
    """Where it would run instead: what is slow there is slow here."""
    cluster = specification.cluster
    if network is None and (profile is None or not isinstance(cluster, Simulated)):
        also = "" if isinstance(cluster, Simulated) else ", since it ran on processes"
        raise UserError(f"say where {run} would run instead: give --network, e.g. --network 10G{also}")
    if not isinstance(cluster, Simulated):
        cluster = Simulated(slow=getattr(cluster, "slow", ()), cpus=min(1.0, getattr(cluster, "cpus", 0.0)))
    if network is not None:
        cluster = replace(cluster, bandwidth=network.bandwidth, latency=network.latency)
    return replace(cluster, profile=profile or cluster.profile)


def _task(specification: Specification, data_dir: Path | None) -> Task:
    """Its data are read only where the partition goes by classes."""
    if isinstance(specification.partition, Iid):
        return outline_task(specification.task)
    return load_task(specification.task, data_dir)
