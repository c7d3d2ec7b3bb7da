"""``manyhands ui``: a local page over a folder of runs."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from manyhands.cli.compare import Compare, check, study_of
from manyhands.cli.flags import POSITIONAL, parse
from manyhands.errors import UserError
from manyhands.runs.specification import AXES, Specification

if TYPE_CHECKING:
    from manyhands.ui.form import Form

DESCRIPTION = """Watch runs as they go, on a page of your own: list, filter, compare and report them.

The page is served to this machine alone, and asks for the token that stands at the end of its address. With
--allow-launch it starts, stops and resumes runs and studies too."""


@dataclass(frozen=True, kw_only=True)
class Ui:
    """What ``manyhands ui`` takes."""

    folder: Path = field(default=Path("runs"), metadata=POSITIONAL)
    """the runs are in it, however deep"""
    allow_launch: bool = False
    """let the page start, stop and resume runs; without it, it only reads"""
    port: int = 8765
    """on this machine; if it is taken, the next that is free; 0: any"""
    no_browser: bool = False
    """print the address, and open no browser"""


def run(argv: Sequence[str]) -> int:
    options = parse(Ui, argv, "manyhands ui", DESCRIPTION)
    if not 0 <= options.port < 65536:
        raise UserError(f"--port must lie in 0 … 65535, not {options.port}")
    if not options.folder.is_dir() and (options.folder != Ui().folder or options.folder.exists()):
        raise UserError(f"{options.folder} is not a folder: name one that holds runs, or will")

    from manyhands.ui.serve import serve
    from manyhands.ui.server import Application

    application = Application(options.folder, forms(), allow_launch=options.allow_launch)
    interrupted = serve(
        application,
        options.port,
        tell=lambda text: print(text, flush=True),
        open_browser=not options.no_browser and sys.stdout.isatty(),
    )
    for job in interrupted:
        resume = f"manyhands {job.words[0]} --resume {job.folder}"
        print(f"stopped {job.id}" + (f"; go on with: {resume}" if job.folder.exists() else ""), file=sys.stderr)
    return 0


def forms() -> "dict[str, Form]":
    """What can be filled in on the page: a run, and a study."""
    from manyhands.ui.form import Form

    axes = {axis: members for axis, (members, _) in AXES.items()}
    return {
        "train": Form(
            command="train",
            title="A run",
            about="Train one model with one strategy.",
            kind=Specification,
            axes=axes,
            check=_units,
            leave_out=frozenset({"loss"}),
        ),
        "compare": Form(
            command="compare",
            title="A study",
            about="Train with several strategies, and see them side by side. Several values make a grid.",
            kind=Compare,
            axes=axes,
            check=_count,
            leave_out=frozenset({"from_", "resume", "output"}),
        ),
    }


def _units(specification: Specification) -> str:
    unit = specification.strategy.unit
    return f"{specification.total:,} {unit}{'s' if specification.total != 1 else ''} on {specification.nodes:,} nodes"


def _count(options: Compare) -> str:
    check(options)
    count = len(study_of(options, ()).specifications)
    return f"{count:,} run{'s' if count != 1 else ''}, one after another"
