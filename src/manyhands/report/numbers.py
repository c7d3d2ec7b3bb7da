"""How numbers are written, in tables, charts and sentences alike."""

import math
from itertools import pairwise

from manyhands.statistics import Estimate

NONE = "–"
_SPACE = "\u00a0"  # keeps a number and its unit on one line
_BYTES = (("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12), ("PB", 1e15))
_SECONDS = (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("min", 60.0), ("h", 3600.0))

Number = float | Estimate | None


def percent(value: Number, decimals: int = 2) -> str:
    """A share of one in percent: ``97.31 ± 0.42 %``."""
    return _write(value, 0.01, f"{_SPACE}%", decimals)


def points(value: Number) -> str:
    """A difference of two shares of one: ``1.20 ± 0.31 percentage points``."""
    return _write(value, 0.01, f"{_SPACE}percentage points", decimals=2)


def plain(value: Number) -> str:
    """Three significant digits: ``0.0912 ± 0.0103``."""
    return _write(value, 1.0, "")


def general(value: Number) -> str:
    """A number that is often whole: ``3``, ``2.5``."""
    mean = value.mean if isinstance(value, Estimate) else value
    return NONE if mean is None else f"{mean:,.4g}"


def times(value: Number) -> str:
    """A ratio: ``3.42×``."""
    return _write(value, 1.0, "×", decimals=2)


def duration(value: Number) -> str:
    """Seconds in the unit that suits them: ``12.3 s``, ``18.2 min``."""
    return _in_unit(value, _SECONDS, {"s": 600.0, "min": 120.0})


def size(value: Number) -> str:
    """Bytes in decimal units: ``4.94 MB``."""
    return _in_unit(value, _BYTES, {})


def whole(text: str) -> str:
    """A sentence whose numbers are not parted from their intervals at the end of a line."""
    return text.replace(f" ±{_SPACE}", f"{_SPACE}±{_SPACE}")


def count(number: int, noun: str) -> str:
    """``1 seed``, ``5 seeds``."""
    return f"{number:,}{_SPACE}{noun}{'' if number == 1 else 's'}"


def _in_unit(value: Number, units: tuple[tuple[str, float], ...], limits: dict[str, float]) -> str:
    """The largest unit that leaves one or more before the point; ``limits`` keep a unit for longer."""
    mean = abs(value.mean if isinstance(value, Estimate) else value or 0.0)
    if mean == 0:
        unit, scale = next(unit for unit in units if unit[1] == 1.0)
    else:
        unit, scale = units[0]
        for smaller, larger in pairwise(units):
            if mean < limits.get(smaller[0], larger[1] / smaller[1]) * smaller[1]:
                break
            unit, scale = larger
    return _write(value, scale, f"{_SPACE}{unit}")


def _write(value: Number, scale: float, unit: str, decimals: int | None = None) -> str:
    """Mean, interval and unit; an interval that rounds to nothing is not written."""
    if value is None:
        return NONE
    mean, half = (value.mean, value.half) if isinstance(value, Estimate) else (value, None)
    mean /= scale
    if decimals is None:
        decimals = 0 if mean == 0 else min(6, max(0, 2 - math.floor(math.log10(abs(mean)))))
    spread = "0" if half is None else f"{half / scale:,.{decimals}f}"
    interval = f" ±{_SPACE}{spread}" if spread.strip("0.") else ""
    return f"{mean:,.{decimals}f}{interval}{unit}"
