"""A form for what a command takes, made of its dataclass: what it asks for, and the command that it stands for."""

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from manyhands.errors import UserError
from manyhands.options import alternatives, field_help, first_line, is_value, read_texts, takes
from manyhands.runs.files import Json

Axes = Mapping[type[Any], Mapping[str, type[Any]]]
"""types of fields of which one kind of several is chosen, by name, and has options of its own"""
_FLAG = re.compile(r"--[a-z][\w.-]*")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a filled-in form says: the words of its command, and what is wrong with it, by flag ("" for the whole)."""

    words: tuple[str, ...]
    value: Any
    """the dataclass, None where there are errors"""
    errors: Mapping[str, str]
    note: str = ""
    """what it will do, for the eye"""

    @property
    def command(self) -> str:
        return shlex.join(["manyhands", *self.words])


@dataclass(frozen=True, kw_only=True)
class Form:
    """What is asked for a subcommand that takes a ``kind``."""

    command: str
    title: str
    about: str
    kind: type[Any]
    axes: Axes
    check: Callable[[Any], str]
    """says what will be done with a value; raises UserError for what cannot be"""
    leave_out: frozenset[str] = frozenset()
    """names of fields that are not asked for"""

    def describe(self) -> Json:
        """For the page: fields in order, each with its flag, what it takes, its default and its help."""
        return {
            "command": self.command,
            "title": self.title,
            "about": self.about,
            "fields": [self._field(part, kind) for part, kind in self._parts(self.kind)],
        }

    def read(self, given: Mapping[str, str]) -> Reading:
        """Texts by flag, as they were filled in; what is blank has its default."""
        texts = {flag: text.strip() for flag, text in given.items() if text.strip()}
        errors: dict[str, str] = {}
        words: list[str] = [self.command]
        values = self._values(self.kind, "", texts, words, errors)
        if unknown := [flag for flag in texts if flag not in self._flags]:
            errors[""] = f"unknown field {unknown[0]}"
        value, note = None, ""
        try:
            value = self.kind(**values)
            note = self.check(value)
        except UserError as error:
            flag = self.place(str(error))
            if not errors or flag in texts:  # others may come of what could not be read
                errors.setdefault(flag, str(error))
        value, note = (None, "") if errors else (value, note)
        return Reading(words=tuple(words), value=value, errors=errors, note=note)

    def fill(self, value: Json) -> dict[str, str]:
        """The inverse of `read`: texts by flag for a value in its JSON form, without what has its default."""
        given: dict[str, str] = {}
        for part, hint in self._parts(self.kind):
            flag, own = _flag("", part), value.get(part.name)
            members = self._members(hint)
            if members and isinstance(own, dict) and (member := members.get(str(own.get("name")))):
                given[flag] = str(own["name"])
                for option, kind in self._parts(member):
                    _fill(given, _flag(f"{flag[2:]}.", option), kind, own.get(option.name), _default(option))
            elif not members:
                _fill(given, flag, hint, own, _default(part))
        return given

    def place(self, message: str) -> str:
        """The flag of the field that an error is about, as far as it names one; "" for none."""
        for flag in _FLAG.findall(message):
            for known in (flag, flag.rpartition(".")[0]):
                if known in self._flags:
                    return str(known)
        what = re.match(r"unknown (strategy|task|data set|model)", message)
        names = ("--strategies", "--strategy") if what and what[1] == "strategy" else ("--task",)
        return next((flag for flag in names if what and flag in self._flags), "")

    @property
    def _flags(self) -> set[str]:
        flags = {_flag("", part) for part, _ in self._parts(self.kind)}
        for part, kind in self._parts(self.kind):
            if members := self._members(kind):
                flags |= {
                    _flag(f"{_flag('', part)[2:]}.", option)
                    for member in members.values()
                    for option, _ in self._parts(member)
                }
        return flags

    def _parts(self, kind: type[Any]) -> list[tuple[Field[Any], Any]]:
        hints = get_type_hints(kind)
        return [(part, hints[part.name]) for part in fields(kind) if part.name not in self.leave_out]

    def _members(self, kind: Any) -> Mapping[str, type[Any]] | None:
        return self.axes.get(alternatives(kind)[0]) if len(alternatives(kind)) == 1 else None

    def _field(self, part: Field[Any], kind: Any, owner: type[Any] | None = None, prefix: str = "") -> Json:
        owner, default, flag = owner or self.kind, _default(part), _flag(prefix, part)
        content: Json = {
            "flag": flag,
            "label": _words(part),
            "about": field_help(owner, part.name, kind),
            "default": _written(default),
            "takes": takes(kind, part.name),
        }
        if members := self._members(kind):
            options = [
                {
                    "name": name,
                    "about": first_line(member),
                    "fields": [self._field(one, hint, member, f"{flag[2:]}.") for one, hint in self._parts(member)],
                }
                for name, member in members.items()
            ]
            chosen = "" if default is None else default.name
            return content | {"kind": "axis", "default": chosen, "options": options, "optional": default is None}
        if kind is bool:
            return content | {"kind": "switch", "default": default}
        if choices := _choices(kind):
            return content | {"kind": "choice", "choices": choices, "optional": default is None}
        each = get_args(kind)[0] if get_origin(kind) is tuple else kind
        families = [one.family for one in alternatives(each) if is_value(one)]
        suggestions = [family.usage().split(", ") for family in families]
        return content | {"kind": "text", "suggestions": [text for some in suggestions for text in some]}

    def _values(
        self, kind: type[Any], prefix: str, texts: Mapping[str, str], words: list[str], errors: dict[str, str]
    ) -> dict[str, Any]:
        """Values by field of what is given and can be read; adds to the words and the errors."""
        values: dict[str, Any] = {}
        for part, hint in self._parts(kind):
            flag, default = _flag(prefix, part), _default(part)
            if members := self._members(hint):
                self._choose(part, flag, members, values, texts, words, errors)
            elif flag in texts:
                try:
                    _check_words(flag, texts[flag])
                    values[part.name] = _read(flag, hint, texts[flag])
                except UserError as error:
                    errors[flag] = str(error)
                    continue
                if values[part.name] == default:
                    continue
                given = texts[flag].split() if get_origin(hint) is tuple else [texts[flag]]
                words += [flag, *([] if hint is bool else given)]
        return values

    def _choose(
        self,
        part: Field[Any],
        flag: str,
        members: Mapping[str, type[Any]],
        values: dict[str, Any],
        texts: Mapping[str, str],
        words: list[str],
        errors: dict[str, str],
    ) -> None:
        """One kind of several, with its options; those of the others do not count."""
        default = _default(part)
        name = texts.get(flag) or (default.name if default is not None else "")
        if not name:
            return
        if name not in members:
            errors[flag] = f"unknown {flag} '{name}': choose from {', '.join(members)}"
            return
        if default is None or name != default.name:
            words += [flag, name]
        options = self._values(members[name], f"{flag[2:]}.", texts, words, errors)
        try:
            values[part.name] = members[name](**options)
        except UserError as error:
            said = str(error)  # such as "momentum must be at least 0"
            named = [
                _flag(f"{flag[2:]}.", one) for one, _ in self._parts(members[name]) if said.startswith(_words(one))
            ]
            errors[self.place(said) or next(iter(named), flag)] = said


def _flag(prefix: str, part: Field[Any]) -> str:
    no = "no-" if part.default is True else ""  # as on the command line: what is on by default can be put off
    return f"--{prefix}{no}{part.name.rstrip('_').replace('_', '-')}"


def _words(part: Field[Any]) -> str:
    return part.name.rstrip("_").replace("_", " ").replace("lr", "learning rate")


def _default(part: Field[Any]) -> Any:
    if part.default is not MISSING:
        return part.default
    assert part.default_factory is not MISSING
    return part.default_factory()


def _read(flag: str, kind: Any, text: str) -> Any:
    if kind is bool:
        if text not in ("true", "false"):
            raise UserError(f"{flag} must be true or false, not '{text}'")
        return (text == "true") != flag.rpartition(".")[2].removeprefix("--").startswith("no-")
    return read_texts(flag, kind, text.split() if get_origin(kind) is tuple else [text])


def _fill(given: dict[str, str], flag: str, kind: Any, value: Any, default: Any) -> None:
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    if value is None or text == _written(default):
        return
    if kind is bool:
        text = "true" if value != default else ""
    given[flag] = text


def _check_words(flag: str, text: str) -> None:
    """Raise UserError for what the command line would take for another flag."""
    if any(word.startswith("--") for word in text.split()):
        raise UserError(f"{flag} takes no words that begin with --")


def _choices(kind: Any) -> list[str]:
    """The words that a field takes, if these are all."""
    parts = [part for part in alternatives(kind) if part is not NoneType]
    if any(get_origin(part) is not Literal for part in parts):
        return []
    return [str(word) for part in parts for word in get_args(part)]


def _written(default: Any) -> str:
    if default is None or (is_dataclass(default) and not is_value(type(default))):
        return ""
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
