"""Control groups of Linux, version 1 or 2: how much of which cores each emulated host may use.

https://docs.kernel.org/scheduler/sched-bwc.html and https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

import contextlib
import fcntl
import itertools
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from manyhands.clusters.processes import janitor
from manyhands.clusters.simulated.quota import PERIOD_NS
from manyhands.errors import UserError

MIN_CPUS = 0.1
"""cores of a host at least: quotas below 1 ms are refused by the kernel"""
PREFIX = "manyhands-"
_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Hierarchy:
    """Where control groups are made: with ``controllers``, of version 1 or 2."""

    version: int
    path: Path
    controllers: tuple[str, ...]


def find_hierarchies(mounts: str, own: str) -> tuple[Hierarchy, ...]:
    """Where this process can make groups that limit processors: of version 1 below its own, of version 2 near the top.

    ``mounts`` is the text of /proc/self/mountinfo, ``own`` that of /proc/self/cgroup. Raises UserError if there are
    none.
    """
    second: Path | None = None
    first: dict[str, Path] = {}
    mine = {
        name: path for _, names, path in (line.split(":", 2) for line in own.splitlines()) for name in names.split(",")
    }
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if kind == "cgroup2":
            second = second or Path(point)
        elif kind == "cgroup":
            for name in {"cpu", "cpuset"} & set(options.split(",")):
                inside = mine.get(name, "/").removeprefix(root.rstrip("/")).strip("/")
                first[name] = Path(point) / inside
    if {"cpu", "cpuset"} <= first.keys():
        return tuple(Hierarchy(1, first[name], (name,)) for name in ("cpu", "cpuset"))
    if second:
        return (Hierarchy(2, _delegating(second, mine.get("", "/")), ("cpu", "cpuset")),)
    raise UserError(
        "emulated hosts need control groups for cpu and cpuset, which are not mounted here: leave out --cluster.hosts"
    )


def _delegating(top: Path, own: str) -> Path:
    """The nearest group above this process in which others may have limits: one that holds processes may not."""
    here = top / own.strip("/")
    for path in (here, *here.parents):
        if not path.is_relative_to(top):
            break
        with contextlib.suppress(OSError):
            if {"cpu", "cpuset"} <= set((path / "cgroup.subtree_control").read_text().split()):
                return path
    try:
        (top / "cgroup.subtree_control").write_text("+cpu +cpuset")
    except OSError as error:
        raise UserError(
            f"emulated hosts need the controllers cpu and cpuset in {top}, which cannot be enabled ({error.strerror}): "
            "leave out --cluster.hosts"
        ) from None
    return top


class ControlGroups:
    """A group for each host, removed with all processes in it by ``close``, or when this process ends anyhow.

    Host h runs on ``ceil(cpus)`` cores, h for h with the next ones, beginning anew after the last: what threads of one
    host leave of the quota on one core cannot be used on another, so that each host has as few cores as it needs.
    """

    def __init__(self, count: int, cpus: float, cores: Sequence[int], hierarchies: Sequence[Hierarchy] | None = None):
        check_cpus(cpus, len(cores))
        if hierarchies is None:
            hierarchies = find_hierarchies(
                Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text()
            )
        self.cores = list(cores)
        self._hierarchies = hierarchies
        name = f"{PREFIX}{os.getpid()}-{next(_NUMBERS)}"
        self.groups = [hierarchy.path / name for hierarchy in hierarchies]
        self._locks: list[int] = []
        self._janitor = _hire(self.groups)
        try:
            for hierarchy, group in zip(hierarchies, self.groups, strict=True):
                _sweep(hierarchy.path)
                self._make(hierarchy, group, count, cpus)
            for host in range(count):
                self.limit(host, cpus)
        except OSError as error:
            self.close()
            raise UserError(f"emulated hosts need control groups, which cannot be made ({error})") from None
        except BaseException:
            self.close()
            raise

    def _make(self, hierarchy: Hierarchy, group: Path, count: int, cpus: float) -> None:
        group.mkdir()
        self._locks.append(os.open(group, os.O_RDONLY))
        fcntl.flock(self._locks[-1], fcntl.LOCK_EX)  # a sign that its owner lives
        if hierarchy.version == 2:
            (group / "cgroup.subtree_control").write_text("+cpu +cpuset")
        if "cpu" in hierarchy.controllers:  # what else the machine does must not change what hosts can do
            file, most = ("cpu.weight", 10_000) if hierarchy.version == 2 else ("cpu.shares", 262_144)
            (group / file).write_text(str(most))
        for folder in (group, *(group / f"host{host}" for host in range(count))):
            folder.mkdir(exist_ok=True)
            if "cpuset" in hierarchy.controllers:
                if hierarchy.version == 1:  # these do not take over what the group above has
                    (folder / "cpuset.mems").write_text((folder.parent / "cpuset.mems").read_text())
                own = self.cores if folder == group else self.cores_of(int(folder.name.removeprefix("host")), cpus)
                (folder / "cpuset.cpus").write_text(",".join(map(str, own)))

    def cores_of(self, host: int, cpus: float) -> list[int]:
        """The cores on which a host runs."""
        width = min(ceil(cpus), len(self.cores))
        return [self.cores[(host * width + i) % len(self.cores)] for i in range(width)]

    def members(self, host: int) -> tuple[str, ...]:
        """The files into which a process writes its number to move into a host's groups, with all its threads."""
        return tuple(str(group / f"host{host}" / "cgroup.procs") for group in self.groups)

    def limit(self, host: int, cpus: float) -> None:
        """Let a host use so many cores' time from now on; raises UserError for too little or too much."""
        check_cpus(cpus, len(self.cores))
        for hierarchy, group in zip(self._hierarchies, self.groups, strict=True):
            if "cpu" in hierarchy.controllers:
                for name, text in quota(hierarchy.version, cpus).items():
                    (group / f"host{host}" / name).write_text(text)

    def close(self) -> None:
        """Kill what still runs in the groups, and remove them."""
        self._janitor.communicate()  # the end of its input is its sign to begin
        for group in self.groups:
            janitor.clear(str(group))  # if somebody killed it
        for lock in self._locks:
            os.close(lock)
        self._locks.clear()


def quota(version: int, cpus: float) -> dict[str, str]:
    """What to write into which files of a group, in this order, so that it gets so many cores' time in each period."""
    period = PERIOD_NS // 1000
    share = round(cpus * period)
    if version == 2:
        return {"cpu.max": f"{share} {period}"}
    return {"cpu.cfs_period_us": str(period), "cpu.cfs_quota_us": str(share)}


def check_cpus(cpus: float, cores: int) -> None:
    """Raise UserError for a share of the machine that a host cannot have."""
    if not MIN_CPUS <= cpus <= cores:
        raise UserError(
            f"each emulated host can have {MIN_CPUS:g} to {cores} cores of this machine, not {cpus:.3g}: "
            "take fewer --cluster.hosts, or other --cluster.cpus or --cluster.slow"
        )


def _hire(groups: Sequence[Path]) -> subprocess.Popen[bytes]:
    """A process that outlives this one, in a session of its own, which neither Ctrl-C nor a closed terminal ends."""
    command = [sys.executable, "-I", "-S", janitor.__file__, *map(str, groups)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, cwd="/")
    assert process.stdout is not None
    process.stdout.readline()
    return process


def _sweep(folder: Path) -> None:
    """Remove groups whose owner and janitor were both killed: nobody has locked them."""
    for group in folder.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            number = os.open(group, os.O_RDONLY)
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                janitor.clear(str(group))
            finally:
                os.close(number)
