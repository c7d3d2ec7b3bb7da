"""The command line of a specification, generated from its dataclasses by tyro."""

import contextlib
import io
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from manyhands.clusters.cluster import CLUSTERS
from manyhands.errors import UserError
from manyhands.runs.specification import Specification
from manyhands.strategies import STRATEGIES
from manyhands.values import Value

T = TypeVar("T")

REGISTRY = ConstructorRegistry()


@REGISTRY.primitive_rule
def _value_rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Value] | None:
    """Axes are written as short texts: ``--partition dirichlet:0.3``."""
    if not (isinstance(info.type, type) and issubclass(info.type, Value)):
        return None
    family = info.type.family
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=family.title.upper(),
        instance_from_str=lambda texts: family.parse(texts[0]),
        is_instance=lambda value: isinstance(value, Value),
        str_from_instance=lambda value: [str(value)],
    )


def parse(kind: type[T], argv: Sequence[str], prog: str, description: str | None = None) -> T:
    """Read flags into a dataclass; raises UserError with one line for anything that does not fit."""
    caught = io.StringIO()
    try:
        with contextlib.redirect_stderr(caught):
            return tyro.cli(kind, args=list(argv), prog=prog, description=description, registry=REGISTRY)
    except SystemExit as end:
        if not end.code:
            raise
    raise UserError(_one_line(caught.getvalue()) + f" (see {prog} --help)")


def _one_line(box: str) -> str:
    """The gist of a message that tyro draws as a box of several lines."""
    lines = [line.strip("│╭╮╰╯─ \n") for line in box.splitlines()[1:]]
    gist = []
    for line in lines:
        if not line or line.startswith(("Got errors", "Argument helptext")):
            if gist and not line:
                break
            continue
        gist.append(line)
    text = " ".join(gist)
    if found := re.search(r"Error parsing (--\S+): no type matching (.+?) could be instantiated from \[(.*?)\]", text):
        takes = found[2].replace("{None}|", "").replace("|", " or ")
        return f"{found[1]} takes {takes}, not {found[3]}"
    if found := re.search(r"invalid choice (.+?) for argument '(.+?)'\. Expected one of \((.+?),?\)", text):
        return f"{found[2]} takes {found[3].replace(chr(39), '')}, not {found[1]}"
    text = re.sub(r"^Error parsing (\w+|--[\w.-]+): (?=\S)", r"", text)
    suggestion = re.search(r"Perhaps you meant:\W+(--\S+)", box)
    return f"{text}; perhaps you meant {suggestion[1]}" if suggestion else text


def chosen(argv: Sequence[str], flag: str, members: Mapping[str, type[Any]], default: str) -> str:
    """The name given for an axis whose own options depend on it; raises UserError if there is no such name."""
    name = default
    for place, word in enumerate(argv):
        if word == flag and place + 1 < len(argv):
            name = argv[place + 1]
        elif word.startswith(flag + "="):
            name = word.partition("=")[2]
    if name not in members:
        raise UserError(f"unknown {flag} '{name}': choose from {', '.join(members)}")
    return name


def specification_class(strategy: str, cluster: str) -> type[Specification]:
    """Specification with the fields of this strategy and this cluster in the place of the general ones."""
    own: list[tuple[str, Any, Any]] = []
    for name, members, choice in (("strategy", STRATEGIES, strategy), ("cluster", CLUSTERS, cluster)):
        names = Literal[tuple(members)]  # type: ignore[valid-type]
        about = {"strategy": "how the nodes train together", "cluster": "where they run"}[name]
        own += [
            (f"{name}_name", Annotated[names, tyro.conf.arg(name=name, help=about)], choice),
            (name, Annotated[members[choice], tyro.conf.arg(name=name)], field(default_factory=members[choice])),
        ]
    return make_dataclass("Specification", own, bases=(Specification,), frozen=True, kw_only=True)


def parse_specification(argv: Sequence[str], prog: str, description: str) -> tuple[Specification, "Output"]:
    """Read all flags of ``manyhands train``."""
    strategy = chosen(argv, "--strategy", STRATEGIES, "all-reduce")
    cluster = chosen(argv, "--cluster", CLUSTERS, "simulated")
    kind = make_dataclass(
        "Arguments", [], bases=(Output, specification_class(strategy, cluster)), frozen=True, kw_only=True
    )
    arguments = parse(kind, argv, prog, description)
    specification = Specification(**{f.name: getattr(arguments, f.name) for f in fields(Specification)})
    return specification, Output(**{f.name: getattr(arguments, f.name) for f in fields(Output)})


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


def fail(message: str) -> int:
    """Print an error in one line; the exit status for it."""
    print(f"manyhands: error: {' '.join(message.split())}", file=sys.stderr)
    return 2
