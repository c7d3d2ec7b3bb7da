"""The gradient noise scale, measured during a training: how large a batch may be before samples are wasted.

McCandlish et al. 2018, An Empirical Model of Large-Batch Training, https://arxiv.org/abs/1812.06162, appendix A. Of k
gradients gᵢ at the same weights, each the mean over b samples, and their mean ḡ over B = k·b samples,

    |G|² ≈ (B |ḡ|² - b · mean |gᵢ|²) / (B - b)            tr Σ ≈ (mean |gᵢ|² - |ḡ|²) / (1/b - 1/B)

are unbiased; φ = tr Σ / |G|² is the simple noise scale, a number of samples. As a ratio of noisy numbers it is not: so
both are averaged over several points of the training first. Steps by a batch of m samples need, in samples,

    N(m) = Σ Δ (φ + m) / (φ + m₀)

where the training with batches of m₀ spent Δ samples while the noise scale was φ. That is the statistical efficiency
(φ + m₀) / (φ + m) of Pollux (Qiao et al. 2021, https://arxiv.org/abs/2008.12260), which supposes plain SGD whose
learning rate follows the batch as well as it can.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyhands import lab
from manyhands.errors import UserError
from manyhands.runs.specification import Specification
from manyhands.strategies import Single
from manyhands.tasks.task import Task
from manyhands.training.sampler import Batch, Sampler

Numbers = NDArray[np.float64]

PARTS = 8
"""gradients of which the noise is found at one point"""
POINTS = 8
"""of an epoch, at which it is measured"""
EVALUATIONS = 4
"""of an epoch, between which the samples that are needed are not known"""
_NEAR = 4
"""points before and after, over which the noise scale is averaged"""
_DRAWS = 400
"""of the bootstrap"""


class Noise(NamedTuple):
    """What is found at one point of a training."""

    samples: int
    """that the training had computed on"""
    squared: float
    """|G|², of the true gradient; an estimate, which may be negative"""
    trace: float
    """tr Σ, the variance of one sample's gradient"""


def noise_of(gradients: Sequence[Tensor], batch_size: int) -> tuple[float, float]:
    """|G|² and tr Σ from two or more gradients at the same weights, each of so many samples; both unbiased."""
    assert len(gradients) > 1, "one gradient shows no noise"
    mean = torch.stack(list(gradients)).double().mean(0)
    large = float(mean.square().sum())
    small = float(np.mean([float(gradient.double().square().sum()) for gradient in gradients]))
    small_batch, large_batch = batch_size, batch_size * len(gradients)
    squared = (large_batch * large - small_batch * small) / (large_batch - small_batch)
    return squared, (small - large) / (1 / small_batch - 1 / large_batch)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A training of one worker with batches of ``batch_size``, measured on its way."""

    batch_size: int
    lr: float
    training_samples: int
    points: tuple[Noise, ...]
    samples: int
    """computed on in all"""
    before: int
    """computed on at the evaluation before the target was reached"""
    reached: bool
    accuracy: float
    """at the end"""

    @property
    def noise_scale(self) -> float:
        """φ over the whole training, tr Σ and |G|² averaged first; infinite where gradients are lost in noise."""
        return float(_ratio(*self._values.mean(1)))

    def noise_interval(self) -> tuple[float, float]:
        """95 % interval of `noise_scale`, from a bootstrap over the points."""
        drawn = _ratio(*self._values[:, self._draws].mean(2))
        low, high = np.quantile(drawn, (0.025, 0.975), method="nearest")
        return float(low), float(high)

    def factor(self, batch: float) -> float:
        """N(m) / N(m₀): how many times as many samples batches of so many samples need."""
        return float(self._factors(smooth_scales(*self._values), batch))

    def factor_interval(self, batch: float) -> tuple[float, float]:
        """95 % interval of `factor`, from a bootstrap over the points. It knows nothing of other seeds."""
        low, high = np.quantile(self._factors(self._drawn_scales, batch), (0.025, 0.975))
        return float(low), float(high)

    def _factors(self, scales: Numbers, batch: float) -> Numbers:
        """Each point stands for as much of the training as any other."""
        known = np.where(np.isinf(scales), 0.0, scales)
        ratios = np.where(np.isinf(scales), 1.0, (known + batch) / (known + self.batch_size))
        mean: Numbers = ratios.mean(-1)
        return mean

    @cached_property
    def _values(self) -> Numbers:
        """tr Σ and |G|² at each point, [2, points]."""
        return np.array([[point.trace for point in self.points], [point.squared for point in self.points]])

    @cached_property
    def _draws(self) -> NDArray[np.int64]:
        """[draws, points], in the order of the training."""
        return np.sort(np.random.default_rng(0).integers(len(self.points), size=(_DRAWS, len(self.points))))

    @cached_property
    def _drawn_scales(self) -> Numbers:
        return smooth_scales(*self._values[:, self._draws])


def smooth_scales(trace: Numbers, squared: Numbers) -> Numbers:
    """φ at each point, of tr Σ and |G|² averaged over the points around it; infinite where |G|² is lost in noise.

    Points are along the last axis.
    """
    places = np.arange(trace.shape[-1])
    low, high = np.maximum(places - _NEAR, 0), np.minimum(places + _NEAR + 1, len(places))

    def around(values: Numbers) -> Numbers:
        sums = np.concatenate([np.zeros_like(values[..., :1]), np.cumsum(values, axis=-1)], axis=-1)
        means: Numbers = (sums[..., high] - sums[..., low]) / (high - low)
        return means

    return _ratio(around(trace), around(squared))


def _ratio(trace: Any, squared: Any) -> Numbers:
    trace, squared = np.asarray(trace), np.asarray(squared)
    return np.where(squared > 0, np.maximum(trace, 0.0) / np.where(squared > 0, squared, 1.0), np.inf)


def train_reference(
    specification: Specification,
    target: float,
    task: Task | None = None,
    show: Callable[[int, float], None] = lambda samples, accuracy: None,
) -> Reference:
    """Train one worker until the test accuracy is ``target`` or the specification's epochs are spent.

    Of the specification count the task, batch size, optimiser, learning rate and what else is one worker's. ``show`` is
    told the samples so far and the accuracy. Nothing is written. Raises RunError if the training diverges.
    """
    if not 0 < target < 1:
        raise UserError(f"the target is an accuracy between 0 and 1, e.g. 0.95, not {target}")
    experiment = lab.prepare(replace(specification, strategy=Single(), workers=1, device="cpu"), task)
    learner = experiment.make_learner()
    node = experiment.make_nodes(learner)(0)
    steps, batch_size = experiment.plan.steps_per_epoch, experiment.specification.batch_size
    # Samples of its own, so that the noise is not that of the batch which the weights have just been moved by.
    probe = Sampler(experiment.parts[0], batch_size, specification.seed, rank=1)
    measured, evaluated = (spread(steps, times) for times in (POINTS, EVALUATIONS))
    points: list[Noise] = []
    before, accuracy = 0, 0.0
    for epoch in range(experiment.plan.total):
        node.completed = epoch
        for place in range(steps):
            node.advance(place / steps)
            if place in measured:
                weights = node.weights.clone()  # whose batch statistics change
                batches = [Batch(probe.next_batch(), probe.drawn) for _ in range(PARTS)]
                gradients = [learner.gradient(weights, batch, 1)[0] for batch in batches]
                points.append(Noise(node.samples, *noise_of(gradients, len(batches[0]))))
            batch = node.next_batch(epoch * steps + place)
            gradient, loss = learner.gradient(node.weights, batch, 0)
            node.record(loss, len(batch), batch.number)
            node.step(gradient)
            if place in evaluated:
                accuracy = learner.evaluate(node.weights, experiment.placed_task.test).accuracy
                show(node.samples, accuracy)
                if accuracy >= target:
                    break
                before = node.samples
        if accuracy >= target:
            break
    return Reference(
        batch_size=batch_size,
        lr=experiment.specification.chosen_lr,
        training_samples=len(experiment.task.train),
        points=tuple(points),
        samples=node.samples,
        before=before,
        reached=accuracy >= target,
        accuracy=accuracy,
    )


def spread(steps: int, times: int) -> set[int]:
    """So many of an epoch's steps, or all if there are fewer, evenly, the last one among them."""
    times = min(times, steps)
    return {(place + 1) * steps // times - 1 for place in range(times)}
