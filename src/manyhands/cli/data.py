"""``manyhands data``: which data sets there are, whether they are here and whole, what they look like."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from manyhands import terminal
from manyhands.cli.flags import POSITIONAL, parse
from manyhands.errors import UserError

if TYPE_CHECKING:
    from manyhands.tasks.datasets.card import Card

DESCRIPTION = "List, fetch, check and show data sets."


@dataclass(frozen=True, kw_only=True)
class Data:
    """What ``manyhands data`` takes."""

    action: Literal["list", "fetch", "check", "show"] = field(default="list", metadata=POSITIONAL)
    """list: which there are; fetch: get what is missing or damaged from its official address; check: compare sizes and
    checksums with the published ones, and read all; show: source, licence, classes and a few images"""
    name: str = field(default="", metadata=POSITIONAL)
    """of a data set, to fetch, check or show"""
    data_dir: Path | None = None
    """folder of the data sets; default: MANYHANDS_DATA, then the user's cache"""
    json: bool = False
    """print one JSON object instead of text"""
    quiet: bool = False
    """print nothing but errors, of list the names of the data sets that are here, and of fetch the folder"""


def run(argv: Sequence[str]) -> int:
    options = parse(Data, argv, "manyhands data", DESCRIPTION)
    if options.action == "list":
        if options.name:
            raise UserError(f"list takes no name: try manyhands data show {options.name}")
        return _list(options)
    if not options.name:
        raise UserError(f"{options.action} needs a data set's name: try manyhands data list")
    return {"fetch": _fetch, "check": _check, "show": _show}[options.action](options)


def _list(options: Data) -> int:
    from rich import box
    from rich.table import Table

    from manyhands.tasks.datasets.inspection import inventory

    found = inventory(options.data_dir)
    if options.json:
        rows = [
            {"name": here.card.name, "folder": str(here.folder), "missing": list(here.missing)} | _facts(here.card)
            for here in found
        ]
        print(json.dumps({"data_sets": rows}))
        return 0
    if options.quiet:
        for here in found:
            if not here.missing:
                print(here.card.name)
        return 0
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading in ("data set", "training", "test", "classes", "", ""):
        table.add_column(heading, justify="right" if heading in ("training", "test", "classes") else "left")
    for here in found:
        card = here.card
        state = "embedded" if card.embedded else "missing" if here.missing else "here"
        numbers = (f"{number:,}" for number in (card.train_size, card.test_size, len(card.classes)))
        table.add_row(card.name, *numbers, state, card.title)
    terminal.console().print(table)
    print(f"in {found[-1].folder}; manyhands data fetch NAME gets what is missing")
    return 0


def _fetch(options: Data) -> int:
    from manyhands.tasks.datasets.registry import fetch

    folder = fetch(options.name, options.data_dir)
    print(json.dumps({"name": options.name, "folder": str(folder)}) if options.json else folder)
    return 0


def _check(options: Data) -> int:
    """Print the state of each file; raises UserError if one is not as it should be."""
    from manyhands.tasks.datasets.inspection import check

    verdicts = check(options.name, options.data_dir)
    if options.json:
        files = [{"path": str(verdict.path), "fault": verdict.fault} for verdict in verdicts]
        print(json.dumps({"name": options.name, "whole": not any(file["fault"] for file in files), "files": files}))
    elif not options.quiet:
        for verdict in verdicts:
            print(f"{verdict.path} {verdict.fault or 'is whole'}")
    if faults := [verdict for verdict in verdicts if verdict.fault]:
        first = faults[0]
        raise UserError(f"{first.path} {first.fault}: run manyhands data fetch {options.name} to replace it")
    return 0


def _show(options: Data) -> int:
    from manyhands.tasks.datasets.inspection import show

    summary = show(options.name, options.data_dir)
    card = summary.card
    if options.json:
        counts = {"train_counts": summary.train_counts, "test_counts": summary.test_counts}
        print(json.dumps({"name": card.name} | _facts(card) | counts))
        return 0
    if options.quiet:
        return 0
    size = f"{card.train_size:,} training and {card.test_size:,} test images of {card.input_shape}"
    print(terminal.wrapped(f"{card.title}: {size}"))
    for name, text in (("source", card.source), ("licence", card.licence), ("citation", card.citation)):
        print(terminal.wrapped(f"{name:<10}{text}", hanging=" " * 10))
    print()
    print(summary.picture)
    print("\nclass                 training   test")
    for name, train, test in zip(card.classes, summary.train_counts, summary.test_counts, strict=True):
        print(f"{name:<20} {train:>9,} {test:>6,}")
    return 0


def _facts(card: "Card") -> dict[str, Any]:
    return {
        "title": card.title,
        "classes": list(card.classes),
        "input_shape": list(card.input_shape),
        "train_size": card.train_size,
        "test_size": card.test_size,
        "source": card.source,
        "licence": card.licence,
    }
