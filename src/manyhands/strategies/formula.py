"""What a strategy says of the bytes that it sends: a formula that people read and machines evaluate.

``2 (n − 1)/n · G a step`` is what each worker sends. Several amounts are joined by ``, and``; nodes that send something
else have a part of their own: ``P a step; server: n · P/s a step``. In an amount stand numbers, the `SYMBOLS`,
``+ − · /``, ``log₂ n`` and brackets; a number or symbol multiplies a bracket that follows it. Amounts are of messages
without compression, and means over the nodes of a role: in a star the centre sends more than the others, and of a
cohort the clients take turns.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from math import log2
from typing import NamedTuple

SYMBOLS = {
    "n": "workers",
    "P": "bytes of the weights, 4 a number: parameters and batch statistics",
    "G": "bytes of a gradient, 4 a parameter",
    "B": "bytes of the batch statistics, P − G; 0 for a model without batch norm",
    "H": "bytes of the layers that stay with each client",
    "X": "bytes of the samples and targets of a worker's batch",
    "C": "share of the clients that take part in a round",
    "d": "neighbours to which a worker sends in a step",
    "f": "share of the training before the switch",
    "k": "a worker's steps from one exchange to the next; the end of an epoch makes one too",
    "s": "servers",
}
"""what the letters of the formulas stand for"""
UNITS = ("a step", "an epoch", "a round", "every k steps", "once")
"""how often an amount is sent; a round or epoch is what the strategy counts"""
NOTHING = "nothing"
_BOUND = "at most "
_OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class Amount(NamedTuple):
    """So many bytes, so often."""

    expression: str
    """as it is written, such as ``2 (n − 1)/n · G``"""
    unit: str

    def bytes(self, symbols: Mapping[str, float]) -> float:
        """What is sent each time; raises ValueError for what is no formula, KeyError for a symbol without a value."""
        text = re.sub(r"(?<=[\w)]) ?(?=\()", "*", self.expression)
        text = re.sub(r"log₂ (\w)", r"log2(\1)", text).replace("·", "*").replace("−", "-")
        try:
            return _value(ast.parse(text, mode="eval").body, symbols)
        except SyntaxError:
            raise ValueError(f"'{self.expression}' is no formula") from None


def read(text: str) -> dict[str, list[Amount]]:
    """The amounts of each role that a formula names, that of ``worker`` first; raises ValueError."""
    roles = {}
    for place, part in enumerate(text.split("; ")):
        role, _, amounts = part.rpartition(": ")
        if bool(role) != bool(place):
            raise ValueError(f"'{text}' must begin with what a worker sends, and name those who send something else")
        amounts = amounts.removeprefix(_BOUND)
        roles[role or "worker"] = [] if amounts == NOTHING else [_amount(each) for each in amounts.split(", and ")]
    return roles


def is_bound(text: str) -> bool:
    """Whether a formula says how much is sent at most."""
    return text.startswith(_BOUND)


def total(amounts: list[Amount], symbols: Mapping[str, float], *, steps: int, units: int) -> float:
    """The bytes of a whole training of so many ``units``, epochs or rounds, of so many ``steps`` each."""
    often: dict[str, float] = {"a step": steps * units, "an epoch": units, "a round": units, "once": 1}
    if "k" in symbols:
        often["every k steps"] = steps * units / symbols["k"]
    return sum(amount.bytes(symbols) * often[amount.unit] for amount in amounts)


def _amount(text: str) -> Amount:
    for unit in UNITS:
        if text.endswith(f" {unit}"):
            return Amount(text.removesuffix(f" {unit}"), unit)
    raise ValueError(f"'{text}' must end with one of: {', '.join(UNITS)}")


def _value(node: ast.expr, symbols: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name):
            return symbols[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
            return _OPERATIONS[type(op)](_value(left, symbols), _value(right, symbols))
        case ast.Call(func=ast.Name(id="log2"), args=[argument]):
            return log2(_value(argument, symbols))
    raise ValueError(f"'{ast.unparse(node)}' cannot stand in a formula")
