"""What the page says of each run: how to repeat it, its specification, machine and versions, figures and accounts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from manyhands.report import numbers
from manyhands.report.figure import Figure, Table
from manyhands.report.methods import Method, method
from manyhands.report.series import flatten
from manyhands.runs import reading
from manyhands.runs.files import Json
from manyhands.runs.reading import RunView

MAIN_FACTORS = ("task", "workers", "epochs", "rounds", "batch_size", "lr", "partition", "faults", "precision", "seed")


@dataclass(frozen=True, kw_only=True)
class RunPart:
    """What the page says of one run."""

    name: str
    status: str
    colour: str
    outcome: str
    command: str
    problems: list[str]
    facts: list[tuple[str, list[tuple[str, str]]]]
    figures: list[Figure]
    ledger: list[Table]
    method: Method


def run_part(run: RunView, colour: str, figures: list[Figure], ledger: list[Table]) -> RunPart:
    """Of one run, with what is drawn of it and its ledger's tables."""
    accuracy, time = reading.final(run, "test_accuracy"), reading.seconds(run)
    reached = "" if accuracy is None else f"{numbers.percent(accuracy)} "
    outcome = f"{reached}in {numbers.duration(time)}, {run.clock} clock, seed {run.seed}"
    error = run.record.get("error")
    model, precision = _mapping(run.record.get("model")), _mapping(run.record.get("precision"))
    facts: list[tuple[str, list[tuple[str, str]]]] = [
        ("Specification", _pairs(run.specification)),
        ("Known of the strategy beforehand", [(_words(key), _fact(value)) for key, value in run.facts.items()]),
        ("Model and precision", [*_pairs(model), *_pairs(precision)]),
        ("Hardware", _pairs(_mapping(run.record.get("hardware")))),
        (
            "Versions",
            [
                *_pairs(_mapping(run.record.get("versions"))),
                *_pairs({"revision": run.record.get("revision")}),
            ],
        ),
    ]
    return RunPart(
        name=run.name,
        status=run.status,
        colour=colour,
        outcome=outcome if run.history else "no evaluation",
        command=str(run.record.get("command") or ""),
        problems=[*([f"{run.status}: {error}"] if error else []), *run.problems],
        facts=facts,
        figures=figures,
        ledger=ledger,
        method=method(run),
    )


def common(runs: Sequence[RunView]) -> list[tuple[str, str]]:
    """The specification's values that all runs share; and the one machine they ran on."""
    flat = [flatten(run.specification) for run in runs]
    shared = [key for key in flat[0] if all(key in other and other[key] == flat[0][key] for other in flat)]
    pairs = _pairs({key: flat[0][key] for key in shared if key in MAIN_FACTORS})
    machines = {json.dumps(run.record.get("hardware"), sort_keys=True) for run in runs}
    return [*pairs, *([("machine", _machine(runs[0]))] if len(machines) == 1 else [])]


def _machine(run: RunView) -> str:
    hardware = _mapping(run.record.get("hardware"))
    units = {"cpu": "{}", "cores": "{} cores", "memory_gib": "{} GiB", "accelerator": "{}"}
    return ", ".join(form.format(hardware[key]) for key, form in units.items() if hardware.get(key)) or "not recorded"


def unfinished(runs: Sequence[RunView]) -> list[str]:
    """Says which runs are not finished, if any."""
    names = [f"{run.name} ({run.status})" for run in runs if not run.finished]
    return [f"Not finished, and in no mean with finished runs: {', '.join(names)}."] if names else []


def _pairs(tree: Json) -> list[tuple[str, str]]:
    """Names and values as the page shows them, without what is not set."""
    return [(_words(key), _plain(value)) for key, value in flatten(tree).items() if value is not None and _plain(value)]


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if type(value) is int else str(value)


def _fact(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _words(key: str) -> str:
    known = {"lr": "learning rate", "memory_gib": "memory, GiB"}
    return known.get(key, key.removesuffix(".name").replace("_", " ").replace(".", " "))


def _mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}
