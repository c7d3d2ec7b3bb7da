"""What the fields of a dataclass are called, take and mean: for the flags of the command line and the page's form."""

import ast
import inspect
import re
import sys
from collections.abc import Sequence
from dataclasses import is_dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from manyhands.errors import UserError
from manyhands.values import Value, read


@cache
def field_docs(kind: type) -> dict[str, str]:
    """What is written below each field of a dataclass, in one line each; empty where there is no source."""
    docs: dict[str, str] = {}
    for base in filter(is_dataclass, reversed(kind.__mro__)):
        try:
            # The whole module: inspect takes ten times as long to find a class in it.
            tree = ast.parse(inspect.getsource(sys.modules[base.__module__]))
        except (OSError, TypeError):
            continue
        bodies = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == base.__name__]
        for pair in (pair for body in bodies for pair in pairwise(body)):
            match pair:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    docs[name] = " ".join(text.split())
    return docs


def field_help(owner: type, name: str, kind: Any) -> str:
    """What is written below a field, and the members of its family if it has one."""
    text = field_docs(owner).get(name, "")
    each = get_args(kind)[0] if get_origin(kind) is tuple else kind
    families = [part.family for part in alternatives(each) if is_value(part)]
    return ": ".join([text, *(family.usage() for family in families)])


def first_line(kind: type) -> str:
    """The first line of a class's docstring, without markup."""
    return inspect.cleandoc(kind.__doc__ or "").partition("\n")[0].replace("``", "")


def takes(kind: Any, name: str) -> str:
    """What a field of this type takes, as help shows it: ``N``, ``X``, ``fp32|bf16``, ``PARTITION``, ``N ...``."""
    if get_origin(kind) is tuple:
        return f"{takes(get_args(kind)[0], singular(name))} ..."
    if get_origin(kind) in (Union, UnionType):
        return "|".join(takes(part, name) for part in alternatives(kind))
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    if is_value(kind):
        return str(kind.family.title.upper())
    return {int: "N", float: "X", Path: "PATH"}.get(kind, name.upper())


def read_texts(label: str, kind: Any, texts: Sequence[str]) -> Any:
    """A field's value of this type from the words given for it; raises UserError that names the field by ``label``."""
    if get_origin(kind) is not tuple:
        return Path(texts[0]) if Path in alternatives(kind) else read(label, kind, texts[0])
    if not texts:
        raise UserError(f"{label} needs at least one value")
    return tuple(read_texts(label, get_args(kind)[0], [text]) for text in texts)


def is_value(kind: Any) -> bool:
    """Whether it is a member, or the base, of a family of values."""
    return isinstance(kind, type) and issubclass(kind, Value)


def alternatives(kind: Any) -> tuple[Any, ...]:
    """The types in a union, or the one type, without None."""
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return tuple(part for part in parts if part is not type(None))


def singular(name: str) -> str:
    """The name of one of those that a field has several of."""
    return re.sub("ies$", "y", name).removesuffix("s")
