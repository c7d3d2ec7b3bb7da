"""The runs of a report: all that can be read at some paths, and what to say of those that cannot."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from manyhands.errors import UserError
from manyhands.runs.reading import RunView, StudyView, find_runs


@dataclass(frozen=True, kw_only=True)
class Collection:
    """``study`` is set where the runs are one study's; ``problems`` name the folders that cannot be read."""

    runs: tuple[RunView, ...]
    study: StudyView | None
    problems: tuple[str, ...]

    @property
    def target(self) -> float | None:
        """The accuracy for which the study wants the time, if it is one and wants it."""
        return self.study.target if self.study is not None else None

    @property
    def title(self) -> str:
        if self.study is not None:
            return self.study.name
        return self.runs[0].name if len(self.runs) == 1 else f"{len(self.runs)} runs"


def collect_runs(paths: Sequence[Path]) -> Collection:
    """Read the runs at, or below, the paths; the same folder twice is one run.

    Raises UserError where there is no run at a path, or none of them can be read.
    """
    folders = {folder.resolve(): folder for path in paths for folder in find_runs(path)}
    runs, problems = [], []
    for folder in folders.values():
        try:
            runs.append(RunView.read(folder))
        except UserError as error:
            problems.append(str(error))
    if not runs:
        raise UserError(problems[0] if problems else "no run to report: name a run's or a study's folder")
    is_study = len(paths) == 1 and (Path(paths[0]) / "study.json").exists()
    study = StudyView.read(Path(paths[0])) if is_study else None
    return Collection(runs=tuple(runs), study=study, problems=tuple(problems))
