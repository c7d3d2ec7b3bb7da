"""The flags that commands share, and the command line of a specification."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any

from manyhands.cli.flags import FLAT, Variants, parse
from manyhands.clusters.cluster import CLUSTERS, Cluster
from manyhands.errors import UserError
from manyhands.export import Tool
from manyhands.runs.specification import Specification
from manyhands.strategies import STRATEGIES, Strategy
from manyhands.training.optimizer import OPTIMIZERS, Optimizer


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where data come from and results go to."""

    data_dir: Path | None = None
    """folder of the data sets; default: MANYHANDS_DATA, then the user's cache"""
    out: Path | None = None
    """a new folder for the results; default: one under runs/"""
    json: bool = False
    """print one JSON object instead of text"""
    quiet: bool = False
    """print nothing but errors and the results' place"""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a training comes from, if it is not new."""

    from_: Path | None = None
    """a run.json: run its specification again, changed by the other flags"""
    resume: Path | None = None
    """a stopped run's folder: go on from its last checkpoint, as if it had never stopped"""
    replay: Path | None = None
    """the folder of an asynchronous run on processes: repeat it in simulation, each message in the same order"""


@dataclass(frozen=True, kw_only=True)
class Training:
    """All that ``manyhands train`` takes."""

    specification: Specification = field(metadata=FLAT)
    output: Output = field(metadata=FLAT)
    export: tuple[Tool, ...] = ()
    """write the run for these tools too, when it has ended: see manyhands export"""
    origin: Origin = field(metadata=FLAT)


def parse_specification(
    argv: Sequence[str], prog: str, description: str, start: Specification | None = None
) -> Training:
    """Read the flags of a training; those that are not given have the values of ``start``."""
    names = ("all-reduce", "simulated") if start is None else (start.strategy.name, start.cluster.name)
    strategy = value_of(argv, "--strategy", names[0], STRATEGIES)
    before = start.optimizer.name if start and start.optimizer else STRATEGIES[strategy].default_optimizer
    optimizer = value_of(argv, "--optimizer", before, OPTIMIZERS)
    if start and optimizer != before:
        start = replace(start, lr=None)  # a learning rate means nothing to another optimiser
    variants: dict[type[Any], Variants] = {
        Strategy: Variants(STRATEGIES, strategy),
        Cluster: Variants(CLUSTERS, value_of(argv, "--cluster", names[1], CLUSTERS)),
        Optimizer: Variants(OPTIMIZERS, optimizer),
    }
    default = Training(specification=start, output=Output(), origin=Origin()) if start else None
    groups = {f"{axis.__name__.lower()}.": chosen.members[chosen.chosen] for axis, chosen in variants.items()}
    argv = with_prefix(argv, "cluster.", groups, [Specification, Output, Origin])
    return parse(Training, argv, prog, description, default=default, variants=variants)


def with_prefix(
    argv: Sequence[str], prefix: str, groups: Mapping[str, type[Any]], top: Sequence[type[Any]]
) -> list[str]:
    """Write ``--hosts`` as ``--cluster.hosts``, for flags that one group has, and neither another nor the top level."""
    here = _flags(groups[prefix])
    elsewhere = {flag for kind in top for flag in _flags(kind)}
    elsewhere |= {flag for other, kind in groups.items() if other != prefix for flag in _flags(kind)}
    words = []
    for word in argv:
        name, equals, value = word.partition("=")
        flag = name.removeprefix("--").replace("_", "-")
        ours = name.startswith("--") and flag in here - elsewhere
        words.append(f"--{prefix}{flag}{equals}{value}" if ours else word)
    return words


def _flags(kind: type[Any]) -> set[str]:
    return {part.name.rstrip("_").replace("_", "-") for part in fields(kind)}


def value_of(argv: Sequence[str], flag: str, default: str, members: Mapping[str, Any] | None = None) -> str:
    """The value of a flag on which the meaning of others depends, so that it is read before them.

    Raises UserError if it is none of the ``members``.
    """
    value = default
    for word, following in pairwise([*argv, default]):
        if word == flag:
            value = following
        elif word.startswith(f"{flag}="):
            value = word.partition("=")[2]
    if members is not None and value not in members:
        close = get_close_matches(value, members, n=1)
        hint = f"; perhaps you meant {close[0]}" if close else ""
        if (name := value.partition(":")[0]) in members:
            hint = f"; options are flags of their own: {flag} {name} {flag}.OPTION VALUE"
        raise UserError(f"unknown {flag} '{value}': choose from {', '.join(members)}{hint}")
    return value
