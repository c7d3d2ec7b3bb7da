"""Several runs that differ in stated factors, kept together in one folder and reported together."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from manyhands import lab
from manyhands.errors import RunError, UserError
from manyhands.grid import factors, label
from manyhands.runs.files import finite
from manyhands.runs.folder import FORMAT, RunFolder
from manyhands.runs.recorder import Observer
from manyhands.runs.specification import Specification
from manyhands.study_file import load_study
from manyhands.tasks.registry import load_task
from manyhands.tasks.task import Task

Show = Callable[[str, Specification], AbstractContextManager[Observer | None]]
"""shows one run's progress, given its label"""


def run_study(
    name: str,
    specifications: Sequence[Specification],
    out: Path,
    *,
    target: float | None = None,
    file: Path | None = None,
    task: Task | None = None,
    data_dir: Path | None = None,
    show: Show,
) -> RunFolder:
    """Run them one after another into ``out``, a new folder.

    A run that fails on its way is kept and reported as failed; the others go on. ``target`` is the accuracy for which
    a report tells the time. ``file`` is where they were written down, if anywhere: it is run anew when the study is
    resumed. Raises UserError, before the first run, for what cannot be done.
    """
    tasks = _load_tasks(specifications, task, data_dir)
    for specification in specifications:
        lab.prepare(specification, tasks[_data(specification)])
    study: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "factors": factors(specifications),
        "baseline": "single, on the same clock",
        "target": target,
        "file": str(file.resolve()) if file else None,
        "specifications": [specification.to_json() for specification in specifications],
        "runs": [],
    }
    folder = RunFolder.create(out, {"study.json": study})
    _carry_out(Begun(folder=folder, specifications=tuple(specifications), target=target), tasks, show)
    return folder


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A study that has been begun, and perhaps not been finished."""

    folder: RunFolder
    specifications: tuple[Specification, ...]
    target: float | None

    @classmethod
    def read(cls, path: Path) -> "Begun":
        """From its folder; raises UserError if that is no study's, or of a version that did not write down its plan.

        The file that it came from is run if it is still there: it may define strategies of its own.
        """
        folder = RunFolder(path)
        study = folder.read_json("study.json")
        planned = study.get("specifications") if isinstance(study, dict) else None
        if not isinstance(planned, list) or not planned or not isinstance(study.get("runs"), list):
            raise UserError(f"{path / 'study.json'} does not say which runs were planned: run the study again")
        file = study.get("file")
        found = isinstance(file, str) and Path(file).exists()
        if found:
            load_study(Path(file))
        try:
            specifications = tuple(map(Specification.from_json, planned))
        except UserError as error:
            gone = f" (its file {file} is gone)" if file and not found else ""
            raise UserError(f"{path / 'study.json'} cannot be used: {error}{gone}") from None
        return cls(folder=folder, specifications=specifications, target=finite(study.get("target")))

    def run(self, number: int) -> RunFolder:
        """The folder of one of the runs, which may not exist yet."""
        return RunFolder(self.folder.path / f"{number + 1:02d}-{self.specifications[number].strategy.name}")

    @property
    def left(self) -> list[int]:
        """The numbers of the runs that are not finished."""
        return [number for number in range(len(self.specifications)) if not _is_finished(self.run(number))]


def resume_study(begun: Begun, *, task: Task | None = None, data_dir: Path | None = None, show: Show) -> RunFolder:
    """Go on with the runs that are left: each from its last checkpoint, or from its beginning if it has none.

    The result is that of a study without a stop. Failed runs are tried again. Nobody else may be at work on it.
    """
    left = [begun.specifications[number] for number in begun.left]
    _carry_out(begun, _load_tasks(left, task, data_dir), show)
    return begun.folder


def _carry_out(begun: Begun, tasks: Mapping[tuple[str, bool], Task], show: Show) -> None:
    study, differ = begun.folder.read_json("study.json"), factors(begun.specifications)
    for number in begun.left:
        specification, run = begun.specifications[number], begun.run(number)
        if run.path.name not in study["runs"]:
            study["runs"] = [*study["runs"], run.path.name]
            begun.folder.write_json("study.json", study)
        chosen = tasks[_data(specification)]
        try:
            with show(label(specification, differ), specification) as observer:
                if run.checkpoints():
                    lab.resume(run.path, task=chosen, observer=observer)
                else:
                    run.discard()
                    lab.train(specification, task=chosen, out=run.path, observer=observer)
        except RunError:
            if not (run.path / "run.json").exists():
                raise


def _is_finished(run: RunFolder) -> bool:
    try:
        return run.read_run().get("status") == "finished"
    except UserError:
        return False


def _data(specification: Specification) -> tuple[str, bool]:
    """What tells one task's data from another's."""
    return specification.task, specification.augment


def _load_tasks(
    specifications: Sequence[Specification], task: Task | None, data_dir: Path | None
) -> dict[tuple[str, bool], Task]:
    kinds = dict.fromkeys(map(_data, specifications))
    return {(name, augment): task or load_task(name, data_dir, augment=augment) for name, augment in kinds}
