"""``manyhands train``: one run."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from manyhands import terminal
from manyhands.cli.arguments import Output, Training, parse_specification, value_of
from manyhands.errors import UserError
from manyhands.export import check_tools
from manyhands.runs.folder import RunFolder
from manyhands.runs.specification import Specification, read_specification

PROG = "manyhands train"
DESCRIPTION = """Train one model with one strategy, on simulated workers or on real processes, into a new folder.

The options of a strategy, a cluster and an optimizer are shown for the ones chosen: try --strategy gossip --help."""


def run(argv: Sequence[str]) -> int:
    saved = value_of(argv, "--from", "")
    start = read_specification(RunFolder(_folder_of(Path(saved)))) if saved else None
    training = parse_specification(argv, PROG, DESCRIPTION, start)
    check_tools(training.export)
    if resume := training.origin.resume:
        if training.specification != Specification() or training.output.out or saved:
            raise UserError("--resume goes on with a run as it was: leave out the flags of a new one")
        return _train(read_specification(RunFolder(resume)), training, resume=resume)
    if replay := training.origin.replay:
        specification = read_specification(RunFolder(replay))
        if (task := value_of(argv, "--task", specification.task)) != specification.task:
            raise UserError(f"{replay} is a run of {specification.task}, whose messages do not fit {task}")
        if replace(training.specification, task=Specification().task) != Specification() or saved:
            raise UserError("--replay repeats a run as it was: leave out the flags of a new one")
        return _train(specification, training, replay=replay)
    return _train(training.specification, training)


def _folder_of(path: Path) -> Path:
    return path.parent if path.name == "run.json" else path


def _train(
    specification: Specification, training: Training, *, resume: Path | None = None, replay: Path | None = None
) -> int:
    from manyhands import lab
    from manyhands.cli.export import export
    from manyhands.cli.progress import watching

    output = training.output
    with (
        terminal.silenced(not _speaks(specification)),
        watching(1) as watcher,
        watcher.run(specification.strategy.name, specification) as observer,
    ):
        try:
            if resume:
                folder = lab.resume(resume, data_dir=output.data_dir, observer=observer)
            elif replay:
                folder = lab.replay(replay, out=output.out, data_dir=output.data_dir, observer=observer)
            else:
                folder = lab.train(specification, out=output.out, data_dir=output.data_dir, observer=observer)
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt(_how_to_resume(str(stop))) from None
    if folder != Path():  # of all processes under torchrun only the lead has one
        _show(folder, output, export([folder], training.export, folder.parent))
    return 0


def _speaks(specification: Specification) -> bool:
    """Whether this process shows how the training goes: of all that torchrun started the lead alone."""
    from manyhands.clusters.processes.launch import Place

    workers, servers = range(specification.size), range(specification.size, specification.nodes)
    place = Place.of_torchrun()
    return place is None or place.rank == specification.strategy.conductors(workers, servers)[0]


def _how_to_resume(folder: str) -> str:
    resumable = folder and RunFolder(Path(folder)).checkpoints()
    return f"go on with: manyhands train --resume {folder}" if resumable else ""


def _show(folder: Path, output: Output, viewers: dict[str, str]) -> None:
    from manyhands.cli.export import show_viewers
    from manyhands.report.numbers import duration, percent
    from manyhands.report.replies import in_words

    run = RunFolder(folder)
    row, record = run.read_history()[-1], run.read_run()
    if output.json:
        content = {"folder": str(folder), "precision": record["precision"]["chosen"], "facts": record["facts"]}
        print(json.dumps(content | row | ({"viewers": viewers} if viewers else {})))
        return
    if not output.quiet:
        if record["specification"]["precision"] == "auto":
            print(f"precision {record['precision']['chosen']}, {record['precision']['why']}")
        accuracy, loss, epochs = percent(row["test_accuracy"]), row["test_loss"], row["epoch"]
        clock = duration(row["seconds"])
        print(f"test accuracy {accuracy}, loss {loss:.4f} after {epochs:.4g} epochs, {clock} on the cluster's clock")
        if replies := in_words([row]):
            print(replies)
        if "epsilon" in (facts := record["facts"]):
            print(f"towards clients differentially private with ε = {facts['epsilon']:.4g} at δ = {facts['delta']:g}")
        show_viewers(viewers)
    print(folder)
