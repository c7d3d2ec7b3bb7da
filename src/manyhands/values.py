"""Small composable values and how they are written: ``iid``, ``dirichlet:0.3``, ``step:0.5,0.75,gamma=0.1``.

An axis of a run (partition, schedule, topology, …) is a *family* of frozen dataclasses. A member is written as its
name, then after a colon its fields, in order or as ``field=value``. The same text stands on the command line, in
``run.json`` and in tables, and reads back as an equal value.
"""

import contextlib
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from types import NoneType, UnionType
from typing import Any, ClassVar, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from manyhands.errors import UserError

T = TypeVar("T", bound="Value")


@dataclass(frozen=True)
class Value:
    """Base of all families' members; a subclass is a frozen dataclass with scalar or tuple fields."""

    name: ClassVar[str]
    family: "ClassVar[Family[Any]]"
    shown: ClassVar[str] = ""
    """what help shows behind its name, where that is not its fields without a default"""

    def __str__(self) -> str:
        parts: list[str] = []
        named = False  # bare values must stand in order, and none can follow a skipped one or a list
        for field in fields(self):
            value = getattr(self, field.name)
            if field.default is not MISSING and value == field.default:
                named = True
                continue
            named = named or isinstance(value, bool)  # "true" alone would say nothing
            parts.append(f"{field.name}={write(value)}" if named else write(value))
            named = named or isinstance(value, tuple)
        return f"{self.name}:{','.join(parts)}" if parts else self.name


class Family(Generic[T]):
    """The members of one axis by name."""

    def __init__(self, title: str, base: type[T]) -> None:
        self.title = title
        self.members: dict[str, type[T]] = {}
        base.family = self

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        def add(member: type[T]) -> type[T]:
            member.name = name
            self.members[name] = member
            return member

        return add

    def usage(self) -> str:
        """How each member is written, e.g. ``iid, dirichlet:ALPHA, shards:PER_WORKER``."""
        return ", ".join(self._usage(member) for member in self.members.values())

    def _usage(self, member: type[T]) -> str:
        required = [field.name.upper() for field in fields(member) if field.default is MISSING]
        shown = member.shown or ",".join(required)
        return f"{member.name}:{shown}" if shown else member.name

    def parse(self, text: str) -> T:
        """Read a member; raises UserError naming the family and what it takes."""
        name, _, rest = text.strip().partition(":")
        if name not in self.members:
            raise UserError(f"unknown {self.title} '{name}': choose from {self.usage()}")
        member = self.members[name]
        try:
            return member(**_arguments(member, rest))
        except UserError as error:
            raise UserError(f"{self.title} '{text}': {error}") from None


def _arguments(member: type[Value], rest: str) -> dict[str, Any]:
    kinds = {key: kind for key, kind in get_type_hints(member).items() if get_origin(kind) is not ClassVar}
    names = [field.name for field in fields(member)]
    texts: dict[str, list[str]] = {}
    position = 0
    for part in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = part.partition("=")
        if not equals:
            if position >= len(names):
                raise UserError(f"too many values; it takes {', '.join(names) or 'none'}")
            key, value = names[position], part
            position += get_origin(kinds[key]) is not tuple  # a tuple takes all the bare values that follow
        elif key not in names:
            raise UserError(f"has no '{key}'; it takes {', '.join(names) or 'none'}")
        texts.setdefault(key, []).append(value)
    for field in fields(member):
        if field.default is MISSING and field.name not in texts:
            raise UserError(f"needs {field.name} ({_kind_name(kinds[field.name])})")
    return {key: _read_all(key, kinds[key], values) for key, values in texts.items()}


def _read_all(key: str, kind: Any, texts: list[str]) -> Any:
    if get_origin(kind) is tuple:
        return tuple(read(key, get_args(kind)[0], text) for text in texts)
    if len(texts) > 1:
        raise UserError(f"{key} is given twice")
    return read(key, kind, texts[0])


def write(value: Any) -> str:
    """One field's value as its text."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def read(key: str, kind: Any, text: str) -> Any:
    """One field's value of a type (a scalar, a Literal, a family's member or a union of these) from its text.

    Raises UserError that names the field and what it takes.
    """
    for choice in _alternatives(kind):
        if isinstance(choice, type) and issubclass(choice, Value):
            return choice.family.parse(text)
        if choice is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if choice in (int, float, str):
            with contextlib.suppress(ValueError):
                return choice(text)
        elif text == choice:
            return choice
    raise UserError(f"{key} must be {_kind_name(kind)}, not '{text}'")


_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def _alternatives(kind: Any) -> list[Any]:
    """The types and literal values that a field's type admits, but None, which is not written."""
    if get_origin(kind) in (Union, UnionType):
        return [choice for part in get_args(kind) if part is not NoneType for choice in _alternatives(part)]
    return list(get_args(kind)) if get_origin(kind) is Literal else [kind]


def _kind_name(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return f"a list, each {_kind_name(get_args(kind)[0])}"
    return " or ".join(_NAMES.get(choice, str(choice)) for choice in _alternatives(kind))
