"""Whether two ways of training end equally well: a statistical test with a margin, not an impression.

That a difference is not significant does not show that there is none. Two one-sided tests (TOST) turn the question
round: they reject that the means differ by the margin or more (Schuirmann 1987,
https://doi.org/10.1007/BF01068419), with the unequal variances and degrees of freedom of Welch (`welch`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from manyhands.errors import UserError
from manyhands.statistics import student_below, student_t, welch

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
    difference = mean(second) - mean(first)
    error, freedom = welch(first, second)
    if error == 0:  # every seed gave the same
        return Equivalence(
            difference=difference, low=difference, high=difference, margin=margin,
            p=0.0 if abs(difference) < margin else 1.0, freedom=freedom, n=(len(first), len(second)), level=level,
        )  # fmt: skip
    half = student_t(freedom, 1 - 2 * level) * error
    below = student_below((difference - margin) / error, freedom)  # of a difference of the margin or more
    above = student_below(-(difference + margin) / error, freedom)
    return Equivalence(
        difference=difference, low=difference - half, high=difference + half, margin=margin,
        p=max(below, above), freedom=freedom, n=(len(first), len(second)), level=level,
    )  # fmt: skip
