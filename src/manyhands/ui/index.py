"""The runs in a folder, as the list shows them: read once, and again only where files have changed."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from manyhands.errors import UserError
from manyhands.report import numbers
from manyhands.report.numbers import Number
from manyhands.report.series import strategy_colours
from manyhands.runs.files import Json, check_record, finite, read_record
from manyhands.runs.specification import Specification
from manyhands.runs.under_way import last_row

MOST_FOLDERS = 20_000
"""folders that are looked into; more are left out, and that is said"""
PATIENCE, LONGEST_PATIENCE = 120.0, 7200.0
"""seconds without a change after which a run under way shows no sign of life: three evaluations, but within these"""

Stamp = tuple[tuple[str, int, int], ...]
"""name, time of change (ns) and size of each file in a folder"""


class OutsideError(UserError):
    """Something that is not in the folder, and is not shown."""


@dataclass(frozen=True)
class Changes:
    """What is new since an earlier look: ids of runs and studies that changed or appeared, and of those gone."""

    changed: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.changed or self.gone)

    @classmethod
    def between(cls, before: Mapping[str, object], now: Mapping[str, object]) -> "Changes":
        changed = frozenset(id_ for id_, stamp in now.items() if before.get(id_) != stamp)
        return cls(changed, frozenset(before.keys() - now.keys()))


@dataclass(eq=False)
class Index:
    """All runs and studies at or below ``root``, by id: the path of their folder from there, with slashes."""

    root: Path
    runs: dict[str, Json] = field(default_factory=dict)
    studies: dict[str, Json] = field(default_factory=dict)
    cut: bool = False
    """whether there are more folders than are looked into"""

    def __post_init__(self) -> None:
        self.root = self.root.absolute()
        self._stamps: dict[str, Stamp] = {}
        self._lock = threading.Lock()

    def refresh(self) -> Changes:
        """Look at the folder again; reads only what has changed."""
        with self._lock:
            found = {}
            for path, study in self._walk():
                id_ = path.relative_to(self.root).as_posix()
                found[id_] = path, study, _stamp(path)
            changes = Changes.between(self._stamps, {id_: stamp for id_, (_, _, stamp) in found.items()})
            for id_ in changes.gone:
                del self._stamps[id_]
                self.runs.pop(id_, None), self.studies.pop(id_, None)
            for id_ in changes.changed:
                path, study, stamp = found[id_]
                self._stamps[id_] = stamp
                if (path / "study.json").exists() and not (path / "run.json").exists():
                    self.studies[id_] = self._study(id_, path)
                else:
                    self.runs[id_] = self._run(id_, path, study, stamp)
            return changes

    def folder(self, id_: str) -> Path:
        """The folder of a run or study; raises OutsideError for one outside, UserError for one that is not there."""
        path = (self.root / id_).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise OutsideError(f"{id_} is not in {self.root}")
        if id_ not in self._stamps:
            self.refresh()  # it may be new
        if id_ not in self._stamps:
            raise UserError(f"no run or study {id_} in {self.root}")
        self._check_links(path)
        return path

    @property
    def stamps(self) -> dict[str, Stamp]:
        """By id of run or study: something that changes whenever its files do."""
        with self._lock:
            return dict(self._stamps)

    def stamp(self, id_: str, but: Sequence[str] = ()) -> object:
        """Something that changes whenever the files of this run do, but for some by name."""
        return tuple(part for part in self._stamps.get(id_, ()) if part[0] not in but)

    def runs_of(self, study: str) -> list[str]:
        """The ids of a study's runs, in order."""
        return sorted(id_ for id_, run in list(self.runs.items()) if run["study"] == study)  # others may refresh

    def _walk(self) -> Iterator[tuple[Path, str | None]]:
        """Folders of studies and runs, each with the id of the study around it. Links are not followed."""
        left: list[tuple[Path, str | None]] = [(self.root, None)]
        looked = 0
        self.cut = False
        while left:
            folder, study = left.pop()
            if looked >= MOST_FOLDERS:
                self.cut = True
                return
            looked += 1
            try:
                with os.scandir(folder) as entries:
                    inside = list(entries)
            except OSError:
                continue
            names = {entry.name for entry in inside}
            if "run.json" in names:
                yield folder, study
                continue
            if "study.json" in names:
                yield folder, None
                study = folder.relative_to(self.root).as_posix()
            below = [entry for entry in inside if entry.is_dir(follow_symlinks=False) and entry.name[0] != "."]
            left += [(folder / entry.name, study) for entry in below]

    def _check_links(self, folder: Path) -> None:
        """Raises OutsideError where a file of the folder lies elsewhere."""
        root = self.root.resolve()
        for path in folder.iterdir():
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise OutsideError(f"{path.name} is a link that leads out of {self.root}: it is not read")

    def _run(self, id_: str, path: Path, study: str | None, stamp: Stamp) -> Json:
        touched = max((when for _, when, _ in stamp), default=0) / 1e9
        content: Json = {"id": id_, "name": path.name, "study": study, "touched": touched, "status": "damaged"}
        try:
            self._check_links(path)
            record = read_record(path / "run.json", "run", ("specification",))
            check_record(path / "run.json", record)
        except (UserError, OSError) as error:
            problem = str(error).removeprefix(f"{path}/")
            return content | {"problem": problem, "strategy": "", "colour": "currentColor"}
        return content | _described(record) | _progress(path, record, touched)

    def _study(self, id_: str, path: Path) -> Json:
        content: Json = {"id": id_, "name": path.name, "planned": None, "problem": None}
        try:
            self._check_links(path)
            record = read_record(path / "study.json", "study", ("runs",))
        except (UserError, OSError) as error:
            return content | {"problem": str(error).removeprefix(f"{path}/")}
        planned = record.get("specifications") or record["runs"]
        known = {"title": str(record.get("name") or path.name), "created": _text(record.get("created"))}
        return content | known | {"planned": len(planned) if isinstance(planned, list) else None}


def _described(record: Json) -> Json:
    """What a run is: words of its specification."""
    given = record["specification"]
    strategy, cluster = str(given["strategy"]["name"]), given["cluster"]
    try:
        specification = Specification.from_json(given)
        written, unit, total = str(specification.strategy), specification.strategy.unit, specification.total
    except (UserError, TypeError, ValueError):  # of another version, or somebody's own strategy
        written, unit, total = strategy, "epoch", None
    slow, faults = cluster.get("slow"), given.get("faults")
    under = [
        str(given.get("partition") or "iid"),
        *(map(str, faults) if isinstance(faults, list) else ()),
        *([f"slow {'+'.join(map(str, slow))}"] if isinstance(slow, list) and slow else ()),
    ]
    return {
        "strategy": strategy,
        "written": written,
        "options": written.removeprefix(strategy).lstrip(":"),
        "colour": strategy_colours([strategy])[strategy],
        "task": str(given["task"]),
        "workers": int(given["workers"]),
        "clock": "simulated" if cluster["name"] == "simulated" else "real",
        "condition": ", ".join(under),
        "seed": int(given.get("seed") or 0),
        "unit": unit,
        "total": total,
        "created": _text(record.get("created")),
    }


def _progress(path: Path, record: Json, touched: float) -> Json:
    """How far a run is, by its last row; quantities as number and text."""
    row = last_row(path) or {}
    completed = finite(row.get("completed", row.get("round") if row.get("round") is not None else row.get("epoch")))
    lasted = touched - since(record.get("created"), touched)
    return {
        "status": _text(record.get("status")) or "unknown",
        "error": _text(record.get("error")) or None,
        "completed": completed,
        "patience": min(LONGEST_PATIENCE, max(PATIENCE, 3 * lasted / completed if completed else 0.0)),
        "epoch": _told(row, "epoch", numbers.general),
        "accuracy": _told(row, "test_accuracy", numbers.percent),
        "loss": _told(row, "test_loss", numbers.plain),
        "seconds": _told(row, "seconds", numbers.duration),
        "bytes": _told(row, "bytes", numbers.size),
    }


def _told(row: Json, key: str, write: Callable[[Number], str]) -> tuple[Number, str]:
    value = finite(row.get(key))
    return value, write(value)


def since(created: object, otherwise: float) -> float:
    """When a run was created, in seconds since 1970."""
    try:
        return datetime.fromisoformat(str(created)).timestamp()
    except ValueError:
        return otherwise


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _stamp(folder: Path) -> Stamp:
    """Of the visible files; those that vanish meanwhile are left out."""
    stamp = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name[0] != ".":
                    facts = entry.stat(follow_symlinks=False)
                    stamp.append((entry.name, facts.st_mtime_ns, facts.st_size))
    except OSError:
        return ((".", time.time_ns(), 0),)
    return tuple(sorted(stamp))
