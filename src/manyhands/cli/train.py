"""``manyhands train``: one run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from manyhands.cli.arguments import Output, parse, parse_specification
from manyhands.cli.progress import console, watching
from manyhands.runs.folder import RunFolder
from manyhands.runs.specification import Specification

DESCRIPTION = """Train one model with one strategy, on simulated workers or on real processes, into a new folder.

Other forms: 'manyhands train --resume RUN' goes on with a stopped run; 'manyhands train --from RUN/run.json' runs a
specification again."""


@dataclass(frozen=True, kw_only=True)
class Resume(Output):
    """Go on with a stopped run from its last checkpoint."""

    resume: Path
    """the run's folder"""


@dataclass(frozen=True, kw_only=True)
class Again(Output):
    """Run a saved specification again."""

    from_: Path
    """a run.json"""


def run(argv: Sequence[str]) -> int:
    prog = "manyhands train"
    names = {word.partition("=")[0] for word in argv}
    if "--resume" in names:
        again = parse(Resume, argv, prog)
        specification = _saved(again.resume)
        return _train(specification, again, resume=again.resume)
    if "--from" in names:
        saved = parse(Again, ["--from-" + word[6:] if word.startswith("--from") else word for word in argv], prog)
        return _train(_saved(saved.from_.parent if saved.from_.name == "run.json" else saved.from_), saved)
    specification, output = parse_specification(argv, prog, DESCRIPTION)
    return _train(specification, output)


def _saved(folder: Path) -> Specification:
    return Specification.from_json(RunFolder(folder).read_run()["specification"])


def _train(specification: Specification, output: Output, resume: Path | None = None) -> int:
    from manyhands import lab

    with watching(output.quiet or output.json) as watcher, watcher.run(specification.strategy.name, specification) as see:
        try:
            if resume:
                folder = lab.resume(resume, data_dir=output.data_dir, observer=see)
            else:
                folder = lab.train(specification, out=output.out, data_dir=output.data_dir, observer=see)
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt(_how_to_resume(stop)) from None
    if folder != Path():  # of all processes under torchrun only the lead has one
        _show(folder, output)
    return 0


def _how_to_resume(stop: KeyboardInterrupt) -> str:
    folder = str(stop)
    return f"go on with: manyhands train --resume {folder}" if folder else ""


def _show(folder: Path, output: Output) -> None:
    run = RunFolder(folder)
    last = run.read_history()[-1]
    if output.json:
        print(json.dumps({"folder": str(folder)} | last))
        return
    if not output.quiet:
        console.print(
            f"test accuracy {last['test_accuracy']:.2%}, loss {last['test_loss']:.4f} after {last['epoch']:.4g} epochs, "
            f"{last['seconds']:.1f} s on the cluster's clock",
            highlight=False,
        )
    print(folder)
