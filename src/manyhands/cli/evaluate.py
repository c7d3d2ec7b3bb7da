"""``manyhands evaluate``: the final model of a run on the test set, computed again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from manyhands.cli.flags import parse

if TYPE_CHECKING:
    from rich.table import Table

    from manyhands.training.evaluation import Evaluation

DESCRIPTION = """Evaluate the final model of a run on the test set again.

Prints accuracy and loss, and for each class its accuracy (which is its recall), precision, F1 and number of samples."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """What ``manyhands evaluate`` takes."""

    run: Path
    """a run's folder"""
    data_dir: Path | None = None
    """folder of the data sets; default: MANYHANDS_DATA, then the user's cache"""
    json: bool = False
    """print one JSON object instead of text"""
    quiet: bool = False
    """print nothing but errors and the accuracy, as a share of one"""


def run(argv: Sequence[str]) -> int:
    options = parse(Evaluate, argv, "manyhands evaluate", DESCRIPTION)

    from manyhands import lab, terminal
    from manyhands.report.numbers import percent

    with terminal.bar("evaluating", 1.0, "") as line:
        evaluation = lab.evaluate(options.run, data_dir=options.data_dir, progress=line.move)
    if options.json:
        print(json.dumps({"folder": str(options.run)} | evaluation.to_json()))
        return 0
    if options.quiet:
        print(evaluation.accuracy)
        return 0
    print(f"test accuracy {percent(evaluation.accuracy)}, loss {evaluation.loss:.4f}")
    terminal.console().print(_table(evaluation))
    return 0


def _table(evaluation: "Evaluation") -> "Table":
    """The classification report."""
    from rich import box
    from rich.table import Table

    from manyhands.report.numbers import percent

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("class")
    for column in ("accuracy", "precision", "F1", "samples"):
        table.add_column(column, justify="right")
    for name, scores in evaluation.report().items():
        mean = name in ("macro", "weighted")
        if name == "macro":
            table.add_section()
        shares = (percent(scores[key]) for key in ("recall", "precision", "f1"))
        table.add_row(f"{name} mean" if mean else name, *shares, f"{scores['support']:,}")
    return table
