"""Means over seeds and their differences, with the interval that says how much they can be trusted."""

import math
from collections.abc import Iterable, Mapping
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
    order, partition) then falls out of them. Otherwise it is Welch's (1947, https://doi.org/10.1093/biomet/34.1-2.28):
    t₀.₉₇₅(ν) · √(s₁² / n₁ + s₂² / n₂), its degrees of freedom ν rounded down.
    """
    mean = math.fsum(first.values()) / len(first) - math.fsum(second.values()) / len(second)
    n = min(len(first), len(second))
    if n < 2:
        return Difference(Estimate(mean, None, n), "one seed")
    if first.keys() == second.keys():
        paired = estimate([first[seed] - second[seed] for seed in first])
        assert paired is not None
        return Difference(paired, "paired by seed")
    parts = [_variance(values.values()) / len(values) for values in (first, second)]
    if sum(parts) == 0:
        return Difference(Estimate(mean, 0.0, n), "Welch")
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (first, second), strict=True)
    )
    return Difference(Estimate(mean, student_t(max(1, int(freedom))) * math.sqrt(sum(parts)), n), "Welch")


def _variance(values: Iterable[float]) -> float:
    known = list(values)
    mean = math.fsum(known) / len(known)
    return math.fsum((value - mean) ** 2 for value in known) / (len(known) - 1)


def student_t(freedom: int, confidence: float = 0.95) -> float:
    """The t that a Student variable of ``freedom`` degrees stays within, on both sides, with ``confidence``.

    By bisection of the closed form for whole degrees: Abramowitz and Stegun (1964), 26.7.3 and 26.7.4.
    """

    def within(angle: float) -> float:  # P(|T| <= tan(angle) sqrt(freedom))
        sine, cosine = math.sin(angle), math.cos(angle)
        odd = freedom % 2
        term = cosine if odd else 1.0
        total = 0.0 if freedom == 1 else term
        for k in range(2 + odd, freedom - 1, 2):
            term *= cosine * cosine * (k - 1) / k
            total += term
        return (angle + sine * total) * 2 / math.pi if odd else sine * total

    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) < confidence else (low, middle)
    return math.tan(low) * math.sqrt(freedom)
