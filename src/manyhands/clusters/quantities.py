"""Rates, times and sizes as people write them: read ``1Gbit/s`` and ``50us``, print ``1.2 MB``.

Units are decimal (SI) and spelt exactly: case tells megabits from millibits, and ``bit`` from ``B`` (byte).
"""

import math
import re
from collections.abc import Mapping

from manyhands.errors import UserError

_PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}

_BITS_PER_SECOND = {f"{prefix}bit/s": scale for prefix, scale in _PREFIXES.items()}
_BYTES = {f"{prefix}B": scale for prefix, scale in _PREFIXES.items()}
_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}

_RATES = {unit: scale / 8 for unit, scale in _BITS_PER_SECOND.items()} | {
    f"{unit}/s": scale for unit, scale in _BYTES.items()
}
_NANOSECONDS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}

_QUANTITY = re.compile(r"\s*(-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z/]+)\s*", re.ASCII)


def bytes_per_second(text: str) -> float:
    """Read a rate such as ``1Gbit/s`` or ``100 MB/s``; raises UserError unless it is a positive rate."""
    return _read(text, "rate", _RATES, "1Gbit/s or 100MB/s")


def nanoseconds(text: str) -> int:
    """Read a time such as ``50us``, to the nearest nanosecond; raises UserError where that is none."""
    whole = round(_read(text, "time", _NANOSECONDS, "50us or 1.5ms"))
    if whole < 1:
        raise UserError(f"the time '{text}' is too short: it must be at least 1ns, e.g. 50us or 1.5ms")
    return whole


def format_bytes(size: float) -> str:
    """``1_234_567`` bytes as ``1.2 MB``."""
    whole = round(size)
    return f"{whole} B" if whole < 1000 else _write(whole, _BYTES, ".1f")


def format_rate(bytes_per_second: float) -> str:
    """``125e6`` bytes per second as ``1 Gbit/s``, to three digits."""
    return _write(bytes_per_second * 8, _BITS_PER_SECOND, ".3g")


def format_seconds(seconds: float) -> str:
    """``0.01234`` as ``12.3 ms``, ``90`` as ``1 min 30 s``, ``3725`` as ``1 h 2 min``."""
    if seconds == 0:
        return "0 s"
    if seconds < 59.95:  # what three digits do not round to a minute
        return _write(seconds, _SECONDS, ".3g")
    if seconds < 3599.5:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"


def _read(text: str, what: str, units: Mapping[str, float], examples: str) -> float:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in units:
        raise UserError(f"'{text}' is not a {what}: write a number and one of {', '.join(units)}, e.g. {examples}")
    value = float(match[1]) * units[match[2]]
    if not 0 < value < math.inf:
        raise UserError(f"the {what} '{text}' must be positive and finite, e.g. {examples}")
    return value


def _write(value: float, units: Mapping[str, float], digits: str) -> str:
    """In the first of these rising units in which the printed number stays below 1000, else in the last."""
    assert 0 <= value < math.inf, value
    for unit, scale in units.items():
        number = format(value / scale, digits)
        if float(number) < 1000:
            return f"{number} {unit}"
    return f"{value / scale:.0f} {unit}"
