"""``manyhands export``: runs for other tools' own viewers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from manyhands import terminal
from manyhands.cli.flags import parse
from manyhands.export import Tool

DESCRIPTION = """Write finished runs for TensorBoard or MLflow, and say how to view them there.

tensorboard: a file of events in each run's folder. mlflow: runs with their parameters, metrics and artifacts, where
MLFLOW_TRACKING_URI says, or in mlflow.db beside the runs. Their step is the number of samples, their time the
cluster's clock. What was exported before is replaced. train and compare do the same at their end with --export."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """What ``manyhands export`` takes."""

    runs: tuple[Path, ...]
    """folders of runs or studies, or folders that hold some"""
    to: tuple[Tool, ...] = ("tensorboard",)
    """for which tools"""
    json: bool = False
    """print one JSON object instead of text"""
    quiet: bool = False
    """print nothing but errors"""


def run(argv: Sequence[str]) -> int:
    options = parse(Export, argv, "manyhands export", DESCRIPTION)

    from manyhands.runs.reading import find_runs

    found = list(dict.fromkeys(run for path in options.runs for run in find_runs(path)))
    viewers = export(found, options.to, _place(options.runs[0]))
    if options.json:
        print(json.dumps({"runs": list(map(str, found)), "viewers": viewers}))
    elif not options.quiet:
        show_viewers(viewers)
    return 0


def _place(path: Path) -> Path:
    """The folder in which a run or a study lies, or the one that holds several itself."""
    whole = any((path / name).exists() for name in ("run.json", "study.json"))
    return path / ".." if whole and not path.name else path.parent if whole else path


def export(runs: Sequence[Path], tools: Sequence[Tool], beside: Path) -> dict[str, str]:
    """Write the runs for each of the tools; the commands or addresses of their viewers."""
    from manyhands.export import export_runs

    viewers: dict[str, str] = {}
    for tool in dict.fromkeys(tools):
        with terminal.bar(f"exporting to {tool}", None, ""):
            viewers[tool] = export_runs(runs, tool, beside)
    return viewers


def show_viewers(viewers: dict[str, str]) -> None:
    for viewer in viewers.values():
        print(f"view with: {viewer}")
