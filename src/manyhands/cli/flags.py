"""Flags from dataclasses, by tyro: what they are called, what they take, and one line for what does not fit."""

import contextlib
import io
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from difflib import get_close_matches
from functools import partial
from typing import Annotated, Any, Literal, TypeVar, get_origin, get_type_hints

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from manyhands.errors import UserError
from manyhands.options import alternatives, field_help, first_line, is_value, read_texts, singular, takes

T = TypeVar("T")

FLAT = {"flat": True}
"""metadata of a field whose own fields are flags without a prefix"""
POSITIONAL = {"positional": True}
"""metadata of a field that is given by its place; fields without a default are"""


@dataclass(frozen=True)
class Variants:
    """The kinds of one axis by name, of which ``chosen`` has its options among the flags.

    A field that may be None too stays None where no flag of the axis is given.
    """

    members: Mapping[str, type[Any]]
    chosen: str


def parse(
    kind: type[T],
    argv: Sequence[str],
    prog: str,
    description: str,
    *,
    default: T | None = None,
    variants: Mapping[type[Any], Variants] | None = None,
) -> T:
    """Read flags into a dataclass; raises UserError with one line for anything that does not fit.

    Fields without a default are positional. A field of a type in ``variants`` gets a flag for the name of the
    member and a group of flags for the options of the one chosen.
    """
    if os.environ.get("NO_COLOR"):
        tyro._experimental_options["ansi_codes"] = False
    rules = _Rules(variants or {}, argv)
    registry = ConstructorRegistry()
    registry.struct_rule(rules.struct)
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            value, unknown = tyro.cli(
                kind,
                args=list(argv),
                prog=prog,
                description=description,
                default=tyro.MISSING_NONPROP if default is None else default,
                return_unknown_args=True,
                config=(tyro.conf.FlagCreatePairsOff,),
                registry=registry,
            )
    except SystemExit as end:
        if not end.code:
            raise
        flags = [word.partition("=")[0].replace("_", "-") for word in argv if word.startswith("--")]
        unknown = [flag for flag in flags if flag not in rules.flags]  # which tyro may take for something else
        reason = _unknown(unknown[0], rules.flags) if unknown else _reason(end, box.getvalue())
        raise UserError(f"{reason} (see {prog} --help)") from None
    if unknown:
        raise UserError(f"{_unknown(unknown[0], rules.flags)} (see {prog} --help)")
    parsed: T = value
    return parsed


class _Rules:
    """How tyro shows and builds our dataclasses; ``flags`` are the names seen so far."""

    def __init__(self, variants: Mapping[type[Any], Variants], argv: Sequence[str]) -> None:
        self.variants = variants
        self._given = {re.split("[.=]", word)[0].replace("_", "-") for word in argv if word.startswith("--")}
        self._left_out: dict[type, list[str]] = defaultdict(list)
        """fields without a value, for which no flag is given"""
        self.flags: dict[str, None] = {"--help": None}
        self._prefixes: dict[type, str] = {}

    def struct(self, info: StructTypeInfo) -> StructConstructorSpec | None:
        """tyro asks this of the outer dataclass first, then of those in its fields."""
        kind: type[Any] = info.type
        if not is_dataclass(kind):
            return None
        hints = get_type_hints(kind)
        specs = [spec for part in fields(kind) for spec in self._field(kind, part, hints[part.name], info.default)]
        return StructConstructorSpec(instantiate=partial(self._build, kind), fields=tuple(specs))

    def _field(self, owner: type, part: Field[Any], hint: Any, whole: Any) -> list[StructFieldSpec]:
        """One field as tyro wants it; two for an axis with variants."""
        kind, default = hint, _default(part, whole)
        if (axis := alternatives(hint)[0]) in self.variants:
            return self._axis(owner, part, self.variants[axis], default)
        if not is_dataclass(kind) or is_value(kind):
            positional = default is tyro.MISSING_NONPROP or "positional" in part.metadata
            return [self._flag(owner, part.name, part.name.rstrip("_"), kind, default, positional=positional)]
        return [self._group(part.name, "" if "flat" in part.metadata else part.name, kind, default)]

    def _axis(self, owner: type, part: Field[Any], variants: Variants, default: Any) -> list[StructFieldSpec]:
        """The name of one of several kinds, then the options of that kind."""
        names = Literal.__getitem__(tuple(variants.members))
        shown = default is not None  # else the help text says what stands in for it
        chosen = self._flag(owner, f"{part.name}_name", part.name, names, variants.chosen, shown=shown)
        if default is None and f"--{part.name.replace('_', '-')}" not in self._given:
            self._left_out[owner].append(part.name)
        kind = variants.members[variants.chosen]
        return [chosen, self._group(part.name, part.name, kind, default if type(default) is kind else kind())]

    def _group(self, key: str, name: str, kind: Any, default: Any) -> StructFieldSpec:
        self._prefixes[kind] = f"{name}." if name else ""
        return _spec(key, kind, default, first_line(kind), tyro.conf.arg(name=name))

    def _flag(
        self, owner: type, key: str, name: str, kind: Any, default: Any, *, positional: bool = False, shown: bool = True
    ) -> StructFieldSpec:
        no = "no-" if default is True else ""  # what is on by default has a flag that puts it off
        flag = f"--{self._prefixes.get(owner, '')}{no}{name.replace('_', '-')}"
        if not positional:
            self.flags[flag] = None  # tyro may ask twice
        hidden = not shown or kind is bool or default in (None, (), "", tyro.MISSING_NONPROP)
        about = tyro.conf.arg(name=name, help_behavior_hint="" if hidden else lambda label: f"(default: {label})")
        helptext = partial(field_help, owner, key.removesuffix("_name"), kind)
        if kind is bool:
            return _spec(key, bool, default, helptext, about)
        many = get_origin(kind) is tuple
        label, word = flag, takes(kind, name)
        if positional:
            label = singular(name).upper()
            word = word if "|" in word else label + " ..." * many
        spec = PrimitiveConstructorSpec(
            nargs="*" if many else 1,
            metavar=word,
            instance_from_str=partial(read_texts, label, kind),
            is_instance=lambda value: True,
            str_from_instance=lambda value: list(map(str, value)) if many else [str(value)],
        )
        marks = [tyro.conf.Positional] if positional else []
        return _spec(key, object, default, helptext, spec, about, *marks)

    def _build(self, kind: type[T], **values: Any) -> T:
        names = {part.name for part in fields(kind)} - set(self._left_out[kind])  # type: ignore[arg-type]
        try:
            return kind(**{key: value for key, value in values.items() if key in names})
        except UserError as error:
            prefix = self._prefixes.get(kind)
            if not prefix or "--" in str(error):
                raise
            raise UserError(f"--{prefix[:-1]}: {error}") from None


def _spec(name: str, kind: Any, default: Any, helptext: Any, *marks: Any) -> StructFieldSpec:
    annotated: Any = Annotated[(kind, *marks)]
    return StructFieldSpec(name, annotated, default, helptext)


def _default(part: Field[Any], whole: Any) -> Any:
    """A field's default: that of the instance to start from, else its own."""
    if is_dataclass(whole):
        return getattr(whole, part.name)
    if part.default is not MISSING:
        return part.default
    return tyro.MISSING_NONPROP if part.default_factory is MISSING else part.default_factory()


def _unknown(word: str, flags: Iterable[str]) -> str:
    """What is said of a word that is no flag: the flag that was meant, or those of the group that it would be in."""
    text = f"unknown option '{word}'"
    if close := get_close_matches(word, flags, n=1, cutoff=0.8):
        return f"{text}; perhaps you meant {close[0]}"
    axis, dot, _ = word.partition(".")
    if not (word.startswith("--") and dot):
        return text
    group = [flag for flag in flags if flag.startswith(f"{axis}.")]
    return f"{text}: choose from {', '.join(group)}" if group else f"{text}: the {axis} chosen has no options"


def _reason(end: SystemExit, box: str) -> str:
    """Why tyro gave up: an error of ours on the way to its exit, or the gist of what it drew as a box."""
    error: BaseException | None = end
    while error is not None:
        if isinstance(error, UserError):
            return str(error)
        error = error.__context__
    text = " ".join(" ".join(line.strip("│╭╮╰╯─ ") for line in box.splitlines()).split())
    if found := re.search(r"Missing value for argument .*?(--[\w.-]+)", text):
        return f"{found[1]} needs a value"
    if found := re.search(r"Missing from [^:]*: (\S+)", text):
        return f"{found[1]} is missing"
    return text
