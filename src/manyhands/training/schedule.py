"""How the learning rate changes over a training: schedules, warm-up and scaling with the batch.

A schedule knows nothing of steps or epochs: it maps the fraction of the training that is done, in [0, 1], to
a factor on the learning rate. So it means the same for any number of workers and any batch size.
"""

from dataclasses import dataclass
from math import cos, pi, sqrt
from typing import Literal

from manyhands.errors import UserError
from manyhands.values import Family, Value


@dataclass(frozen=True)
class Schedule(Value):
    """A factor on the learning rate as a function of progress."""

    def factor(self, progress: float) -> float:
        """The factor, in [0, 1], once the fraction ``progress`` in [0, 1] of the training is done."""
        raise NotImplementedError


SCHEDULES: Family[Schedule] = Family("schedule", Schedule)


@SCHEDULES.register("constant")
@dataclass(frozen=True)
class Constant(Schedule):
    """The learning rate as it is."""

    def factor(self, progress: float) -> float:
        return 1.0


@SCHEDULES.register("step")
@dataclass(frozen=True)
class Step(Schedule):
    """Times ``gamma`` at each milestone, a fraction of the training: ``step:0.5,0.75,gamma=0.2``."""

    milestones: tuple[float, ...]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        inside = all(0 < milestone < 1 for milestone in self.milestones)
        if not self.milestones or not inside or list(self.milestones) != sorted(set(self.milestones)):
            given = ",".join(map(str, self.milestones))
            raise UserError(f"milestones must rise between 0 and 1, such as 0.5,0.75, not '{given}'")
        if not 0 < self.gamma <= 1:
            raise UserError(f"gamma must be above 0 and at most 1, not {self.gamma}")

    def factor(self, progress: float) -> float:
        return float(self.gamma ** sum(progress >= milestone for milestone in self.milestones))


@SCHEDULES.register("cosine")
@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from 1 to 0 (Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983)."""

    def factor(self, progress: float) -> float:
        return _anneal(1.0, 0.0, progress)


@SCHEDULES.register("one-cycle")
@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up from 1/25 to 1 at the fraction ``peak`` of the training, then down to 1/250,000.

    Smith & Topin 2018 (https://arxiv.org/abs/1708.07120), with the cosine form and the end points of torch's
    OneCycleLR. The momentum is not cycled.
    """

    peak: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.peak < 1:
            raise UserError(f"peak must lie between 0 and 1, not {self.peak}")

    def factor(self, progress: float) -> float:
        start = 1 / 25
        if progress < self.peak:
            return _anneal(start, 1.0, progress / self.peak)
        return _anneal(1.0, start * 1e-4, (progress - self.peak) / (1 - self.peak))


def warm_up(progress: float, fraction: float, start: float = 0.0) -> float:
    """Gradual warm-up (Goyal et al. 2017, https://arxiv.org/abs/1706.02677, section 2.2).

    A factor that rises linearly from ``start`` to 1 over the first ``fraction`` of the training, and stays
    there. It multiplies the schedule's factor. With scaling, the paper's start is the
    rate of one worker: 1 / ``lr_scale``.
    """
    if progress >= fraction:
        return 1.0
    return start + (1.0 - start) * progress / fraction


LrScaling = Literal["none", "linear", "sqrt"]


def lr_scale(rule: LrScaling, times: int) -> float:
    """The factor on the learning rate when a step takes ``times`` the samples: 1, ``times`` or its square root.

    Linear scaling rule: Goyal et al. 2017 (https://arxiv.org/abs/1706.02677), section 2.1; square root:
    Krizhevsky 2014 (https://arxiv.org/abs/1404.5997), and You et al. 2020 (https://arxiv.org/abs/1904.00962) for LAMB.
    """
    return {"none": 1.0, "linear": float(times), "sqrt": sqrt(times)}[rule]


def _anneal(start: float, end: float, fraction: float) -> float:
    """Half a cosine from ``start`` to ``end`` as ``fraction`` goes from 0 to 1."""
    return end + (start - end) * (1.0 + cos(pi * min(fraction, 1.0))) / 2.0
