"""``manyhands doctor``: what this machine has, how fast it computes in which precision, and what is missing."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from manyhands.cli.flags import parse
from manyhands.terminal import wrapped

DESCRIPTION = """Show what this machine has and what is missing: hardware, versions, backends, precision, data.

What --precision auto would choose is measured, which takes some ten seconds."""

MODELS = ("mnist-mini/lenet5", "cifar10/resnet18")
BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """What ``manyhands doctor`` takes."""

    data_dir: Path | None = None
    """folder of the data sets; default: MANYHANDS_DATA, then the user's cache"""
    json: bool = False
    """print one JSON object instead of text"""
    quiet: bool = False
    """print nothing but errors and what is missing"""


def run(argv: Sequence[str]) -> int:
    options = parse(Doctor, argv, "manyhands doctor", DESCRIPTION)
    findings = examine(options.data_dir)
    if options.json:
        print(json.dumps(findings))
        return 0
    if options.quiet:
        for line in findings["missing"]:
            print(line)
        return 0
    for title in ("hardware", "versions", "backends", "precision", "data"):
        print(title)
        for name, value in findings[title].items():
            print(wrapped(f"{name:<18} {_text(value)}", "  ", " " * 21))
    print("missing" if findings["missing"] else "nothing is missing")
    for line in findings["missing"]:
        print(wrapped(line, "  ", "    "))
    return 0


def examine(data_dir: Path | None) -> dict[str, Any]:
    """All findings; ``missing`` are lines that each say what is not there and what to do."""
    import torch

    from manyhands.runs.environment import backends, hardware, versions
    from manyhands.tasks.datasets.inspection import inventory
    from manyhands.training.precision import has_bf16

    findings: dict[str, Any] = {
        "hardware": hardware() | {"bfloat16": has_bf16(torch.device("cpu"))},
        "versions": versions() | _packages(),
        "backends": backends(),
        "precision": _precisions(),
        "data": {here.card.name: not here.missing for here in inventory(data_dir)},
    }
    return findings | {"missing": list(_missing(findings))}


def _packages() -> dict[str, str | None]:
    """The version of each package that manyhands needs; None where it is not installed."""
    found: dict[str, str | None] = {}
    for requirement in metadata.requires("manyhands") or ():
        name = re.split(r"[^\w-]", requirement)[0]
        if "extra ==" not in requirement:
            found[name] = _version(name)
    return found


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _precisions() -> dict[str, dict[str, str]]:
    from manyhands.cli.progress import counting

    chosen = {}
    with counting(len(MODELS), "measuring precision", "models") as begin:
        for model in MODELS:
            begin(model)
            chosen[model] = _precision(model)
    return chosen


def _precision(model: str) -> dict[str, str]:
    """What ``auto`` chooses for a model, measured on noise."""
    import torch

    from manyhands.tasks.datasets.catalogue import CARDS
    from manyhands.tasks.models import build
    from manyhands.training.loss import CrossEntropy
    from manyhands.training.precision import choose

    dataset, _, name = model.partition("/")
    card = CARDS[dataset]
    inputs, targets = torch.randn(BATCH, *card.input_shape), torch.arange(BATCH) % len(card.classes)
    make = partial(build, name, card.input_shape, len(card.classes))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = choose("auto", make, inputs, targets, CrossEntropy(), device)
    return {"chosen": chosen.name, "why": chosen.why.removeprefix("auto: ")}


def _missing(findings: dict[str, Any]) -> Iterator[str]:
    for name, version in findings["versions"].items():
        if version is None:
            yield f"the package {name}: install it, or manyhands anew"
    for name, here in findings["data"].items():
        if not here:
            yield f"{name}: run manyhands data fetch {name}, or give --data-dir"
    if not findings["backends"]["gloo"]:
        yield "gloo, for --cluster processes: install a torch that is built with it"
    if findings["backends"]["cuda"] and not findings["backends"]["nccl"]:
        yield "nccl, for --cluster processes on CUDA: install a torch that is built with it"
    if not os.access(Path.cwd(), os.W_OK):
        yield f"permission to write to {Path.cwd()}, where new runs go: give --out another folder"


def _text(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case {"chosen": chosen, "why": why}:
            return f"auto is {chosen}: {why}"
    return str(value)
