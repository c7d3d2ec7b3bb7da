"""Writes run folders for other tools' own viewers, one small file a tool. Nothing is measured or computed here anew."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from manyhands.errors import UserError
from manyhands.runs.reading import RunView

Tool = Literal["tensorboard", "mlflow"]
TOOLS: tuple[Tool, ...] = get_args(Tool)


def check_tools(tools: Sequence[Tool]) -> None:
    """Raise UserError unless the packages of these tools are installed."""
    for tool in tools:
        try:
            importlib.import_module(f"manyhands.export.{tool}")
        except ModuleNotFoundError as error:
            raise UserError(f"to export to {tool}, {error.name} is needed: pip install 'manyhands[{tool}]'") from None


def export_runs(folders: Sequence[Path], tool: Tool, beside: Path) -> str:
    """Write the runs for a tool; what was written of them before is replaced.

    Returns the command of its viewer, or the address of one. ``beside`` is the folder in which they lie; a tool that
    has one store for all runs has it there. Raises UserError where a package is missing, a run cannot be read, or the
    tool refuses.
    """
    check_tools([tool])
    runs = [RunView.read(folder) for folder in folders]
    viewer: str = importlib.import_module(f"manyhands.export.{tool}").export(runs, beside)
    return viewer
