"""Means over seeds and their differences, with the interval that says how much they can be trusted."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A mean over ``n`` seeds, and half the width of its 95 % interval (None for one seed)."""

    mean: float
    half: float | None
    n: int


def estimate(values: Iterable[float | None]) -> Estimate | None:
    """Mean ± t₀.₉₇₅(n−1) · s / √n over independent seeds, s the sample standard deviation (Student 1908).

    None among the values are left out; no value at all gives None.
    """
    known = [value for value in values if value is not None]
    if not known:
        return None
    n, mean = len(known), math.fsum(known) / len(known)
    if n == 1:
        return Estimate(mean, None, 1)
    return Estimate(mean, student_t(n - 1) * math.sqrt(_variance(known) / n), n)


@dataclass(frozen=True)
class Difference:
    """A mean less another, over the seeds that the fewer of the two has, and how its interval was found."""

    value: Estimate
    method: str

    @property
    def settled(self) -> bool:
        """Whether the interval is known and leaves out zero."""
        return self.value.half is not None and abs(self.value.mean) > self.value.half


def difference(first: Mapping[int, float], second: Mapping[int, float]) -> Difference:
    """The mean of ``first`` less that of ``second``, whose values are given by seed; at least one of each.

    Over the same seeds the interval is that of the differences seed by seed, since what a seed decides (first weights,
    order, partition) then falls out of them. Otherwise it is Welch's, t₀.₉₇₅(ν) times the standard
    error of `welch`, its degrees of freedom ν rounded down.
    """
    mean = math.fsum(first.values()) / len(first) - math.fsum(second.values()) / len(second)
    n = min(len(first), len(second))
    if n < 2:
        return Difference(Estimate(mean, None, n), "one seed")
    if first.keys() == second.keys():
        paired = estimate([first[seed] - second[seed] for seed in first])
        assert paired is not None
        return Difference(paired, "paired by seed")
    error, freedom = welch(list(first.values()), list(second.values()))
    half = student_t(max(1, int(freedom))) * error if error else 0.0
    return Difference(Estimate(mean, half, n), "Welch")


def welch(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """The standard error of the difference of two means, √(s₁² / n₁ + s₂² / n₂), and its degrees of freedom.

    After Welch (1947, https://doi.org/10.1093/biomet/34.1-2.28); of two values or more each. Infinite degrees if the
    values of each are all the same.
    """
    parts = [_variance(values) / len(values) for values in (first, second)]
    if sum(parts) == 0:
        return 0.0, math.inf
    below = sum(part**2 / (len(values) - 1) for part, values in zip(parts, (first, second), strict=True))
    return math.sqrt(sum(parts)), sum(parts) ** 2 / below


def _variance(values: Iterable[float]) -> float:
    known = list(values)
    mean = math.fsum(known) / len(known)
    return math.fsum((value - mean) ** 2 for value in known) / (len(known) - 1)


def student_t(freedom: float, confidence: float = 0.95) -> float:
    """The t that a Student variable of ``freedom`` degrees stays within, on both sides, with ``confidence``."""
    from scipy.special import stdtrit  # a tenth of a second that most commands need not spend

    return float(stdtrit(freedom, (1 + confidence) / 2))


def student_below(t: float, freedom: float) -> float:
    """P(T ≤ t) for Student's t with ``freedom`` degrees."""
    from scipy.special import stdtr

    return float(stdtr(freedom, t))
