"""Whether two ways of training end equally well: a statistical test with a margin, not an impression.

That a difference is not significant does not show that there is none. Two one-sided tests (TOST) turn the question
round: they reject that the means differ by the margin or more (Schuirmann 1987,
https://doi.org/10.1007/BF01068419), with the unequal variances and degrees of freedom of Welch (1947,
https://doi.org/10.1093/biomet/34.1-2.28).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from manyhands.errors import UserError

LEVEL = 0.05
"""the probability of calling two methods equivalent that differ by the margin"""


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """The outcome of the two one-sided tests on two samples, of sizes ``n[0]`` and ``n[1]``."""

    difference: float
    """mean of the second sample minus that of the first"""
    low: float
    """lower end of the 1 - 2 α interval of the difference, 90 % for α = 0.05"""
    high: float
    margin: float
    p: float
    """the greater of the two tests' p-values"""
    freedom: float
    """Welch's degrees of freedom"""
    n: tuple[int, int]
    level: float

    @property
    def equivalent(self) -> bool:
        """Whether the means differ by less than the margin, at the level: the same as low and high within it."""
        return self.p < self.level


def equivalence(first: Sequence[float], second: Sequence[float], margin: float, level: float = LEVEL) -> Equivalence:
    """Test whether the means of two samples differ by less than ``margin``, in the samples' unit.

    t = (d ± margin) / s with d the difference of the means and s² = s₁² / n₁ + s₂² / n₂. Raises UserError for fewer
    than two values in a sample, or a margin that is not positive.
    """
    if min(len(first), len(second)) < 2:
        raise UserError("a test of equivalence needs two seeds or more of each: give --seeds 0 1 2")
    if not 0 < margin < math.inf:
        raise UserError(f"the margin of a test of equivalence must be positive, not {margin}")
    difference = _mean(second) - _mean(first)
    parts = [_variance(sample) / len(sample) for sample in (first, second)]
    error = math.sqrt(sum(parts))
    if error == 0:  # every seed gave the same
        return Equivalence(
            difference=difference, low=difference, high=difference, margin=margin,
            p=0.0 if abs(difference) < margin else 1.0, freedom=math.inf, n=(len(first), len(second)), level=level,
        )  # fmt: skip
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(sample) - 1) for part, sample in zip(parts, (first, second), strict=True)
    )
    half = t_quantile(1 - level, freedom) * error
    below = t_cdf((difference - margin) / error, freedom)  # of a difference of the margin or more
    above = t_cdf(-(difference + margin) / error, freedom)
    return Equivalence(
        difference=difference, low=difference - half, high=difference + half, margin=margin,
        p=max(below, above), freedom=freedom, n=(len(first), len(second)), level=level,
    )  # fmt: skip


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean and the ends of its confidence interval, mean ± t((1 + c) / 2; n - 1) s / √n; for one value all the same."""
    mean = _mean(values)
    if len(values) < 2:
        return mean, mean, mean
    half = t_quantile((1 + confidence) / 2, len(values) - 1) * math.sqrt(_variance(values) / len(values))
    return mean, mean - half, mean + half


def t_cdf(t: float, freedom: float) -> float:
    """P(T ≤ t) for Student's t with ``freedom`` degrees, not necessarily whole.

    By the incomplete beta function: P(|T| > t) = I(ν / (ν + t²); ν / 2, 1 / 2) = 1 - I(t² / (ν + t²); 1 / 2, ν / 2)
    (DLMF 8.17, https://dlmf.nist.gov/8.17).
    """
    assert freedom > 0, freedom
    if t * t < freedom:  # near the middle, where 1 - x would lose digits
        inside = math.copysign(0.5 * _incomplete_beta(t * t / (freedom + t * t), 0.5, freedom / 2), t)
        return 0.5 + inside
    tail = 0.5 * _incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5)
    return tail if t < 0 else 1 - tail


def t_quantile(probability: float, freedom: float) -> float:
    """The t with P(T ≤ t) = ``probability``, which lies between 0 and 1; by bisection."""
    assert 0 < probability < 1, probability
    if probability < 0.5:
        return -t_quantile(1 - probability, freedom)
    low, high = 0.0, 1.0
    while t_cdf(high, freedom) < probability:
        low, high = high, 2 * high
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised I(x; a, b), by its continued fraction (DLMF 8.17.22) evaluated after Lentz."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # where the fraction of the other tail converges faster
        return 1 - _incomplete_beta(1 - x, b, a)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    ) / a  # fmt: skip
    tiny = 1e-300
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1), tiny)
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _away(1 + term * d, tiny)
            c = _away(1 + term / c, tiny)
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * value


def _away(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _variance(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
