"""How good predictions are: errors, their spread, and whether they put things in the right order."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import fsum
from statistics import fmean

RESAMPLES = 10_000


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Of predictions p of what was measured m (means over repeats), each configuration's signed error p / m - 1."""

    configurations: int
    repeats: int
    bias: float
    """mean of the signed errors"""
    mape: float
    """mean of their sizes"""
    interval: tuple[float, float]
    """of the MAPE, 95 %: percentile bootstrap over configurations and repeats"""
    p90: float
    """nine tenths of the configurations have a smaller error"""
    worst: float
    tau: float
    """Kendall's τ-b of the order in which configurations are put"""
    noise: float
    """mean of what the other repeats' mean is wrong about one repeat: a single run cannot be told better than that"""


def accuracy(predicted: Sequence[float], measured: Sequence[Sequence[float]], seed: int = 0) -> Accuracy:
    """``measured``: for each configuration its repeats, at least two."""
    errors = signed_errors(predicted, measured)
    sizes = sorted(map(abs, errors))
    return Accuracy(
        configurations=len(errors),
        repeats=min(map(len, measured)),
        bias=fmean(errors),
        mape=fmean(sizes),
        interval=_bootstrap(predicted, measured, random.Random(seed)),
        p90=quantile(sizes, 0.9),
        worst=sizes[-1],
        tau=kendall_tau(predicted, [fmean(repeats) for repeats in measured]),
        noise=fmean([leave_one_out(repeats) for repeats in measured]),
    )


def signed_errors(predicted: Sequence[float], measured: Sequence[Sequence[float]]) -> list[float]:
    return [guess / fmean(repeats) - 1 for guess, repeats in zip(predicted, measured, strict=True)]


def leave_one_out(repeats: Sequence[float]) -> float:
    """The mean relative error of predicting each repeat by the mean of the others."""
    total, others = fsum(repeats), len(repeats) - 1
    return fmean([abs((total - one) / others / one - 1) for one in repeats])


def quantile(ordered: Sequence[float], share: float) -> float:
    """Of values in ascending order, linear between neighbours (definition 7 of Hyndman & Fan 1996)."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def kendall_tau(x: Sequence[float], y: Sequence[float]) -> float:
    """τ-b (Kendall 1945, https://doi.org/10.1093/biomet/33.3.239): 1 for the same order, -1 for the reverse.

    (C - D) / √((n₀ - ties in x)(n₀ - ties in y)), with n₀ pairs, C in the same order and D in the other; 0 where all
    of x or y are equal.
    """
    score = tied_x = tied_y = 0
    pairs = list(combinations(zip(x, y, strict=True), 2))
    for (x1, y1), (x2, y2) in pairs:
        by_x, by_y = (x1 > x2) - (x1 < x2), (y1 > y2) - (y1 < y2)
        score += by_x * by_y
        tied_x += not by_x
        tied_y += not by_y
    scale = (len(pairs) - tied_x) * (len(pairs) - tied_y)
    return float(score / scale**0.5) if scale else 0.0


def _bootstrap(
    predicted: Sequence[float], measured: Sequence[Sequence[float]], generator: random.Random
) -> tuple[float, float]:
    """Configurations are drawn anew, and of each its repeats (two-stage)."""
    means = []
    cells = list(zip(predicted, measured, strict=True))
    for _ in range(RESAMPLES if len(cells) < 50 else RESAMPLES // 10):
        drawn = generator.choices(cells, k=len(cells))
        sizes = [abs(guess / fmean(generator.choices(repeats, k=len(repeats))) - 1) for guess, repeats in drawn]
        means.append(fmean(sizes))
    means.sort()
    return quantile(means, 0.025), quantile(means, 0.975)
