"""Means over seeds, with the interval that says how much they can be trusted."""

import math
from collections.abc import Iterable
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
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in known) / (n - 1))
    return Estimate(mean, student_t(n - 1) * deviation / math.sqrt(n), n)


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
