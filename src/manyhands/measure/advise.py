"""Which strategy, how many workers, what batch: ranked by the predicted time to an accuracy, and why.

    goodput = throughput × statistical efficiency           (Qiao et al. 2021, Pollux, https://arxiv.org/abs/2008.12260)

Throughput is predicted (`measure.predict`): samples per second of a strategy on n workers over a network. The
statistical efficiency of batches of m = n · b samples is measured on one worker (`measure.noise_scale`). The time is
N(m) / throughput, with the samples N(m₀) that one worker needed times N(m) / N(m₀).

How sure it is: the interval holds the profile's spread, the bootstrap of the noise scale, and that the target was
reached somewhere between two evaluations. It holds neither the seed (the reference is one training) nor the model of
time itself. The theory is of steps by the mean of all workers' gradients. Strategies that take other steps (local SGD,
gossip, stale or compressed gradients) may need more samples than it says: they are marked, and their times are at best.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from manyhands.compression import Uncompressed
from manyhands.measure.noise_scale import Reference
from manyhands.measure.predict import Prediction, Predictions, Quantity
from manyhands.strategies import AllReduce, Strategy

FORMULAS = {
    "noise_scale": "φ = tr Σ / |G|², in samples",
    "total_batch": "m = workers · batch size",
    "throughput": "samples / second = workers · batch size · steps_per_epoch / epoch_seconds",
    "statistical_efficiency": "N(m₀) / N(m), N(m) = Σ Δ (φ + m) / (φ + m₀)",
    "goodput": "throughput · statistical efficiency",
    "seconds": "time to the target = N(m) / throughput",
    "lr": "that of the reference times (φ + m₀) / (φ + m) · m / m₀ (AdaScale's gain)",
    "optimistic": "the strategy does not step by the mean of all gradients: its samples may be more, its time longer",
}

_AVERAGING = frozenset({"single", "all-reduce", "data-parallel", "peer-gradients", "parameter-server"})


def averages_gradients(strategy: Strategy) -> bool:
    """Whether each step is by the exact mean of all workers' gradients at the same weights, as the theory supposes."""
    plain = isinstance(strategy.compression, Uncompressed) and strategy.synchronous
    sums = isinstance(strategy, AllReduce) and strategy.combine != "mean"
    return strategy.name in _AVERAGING and plain and not sums


@dataclass(frozen=True, kw_only=True)
class Option:
    """One way to train, with all that it was ranked by; see `FORMULAS`."""

    prediction: Prediction
    total_batch: int
    throughput: Quantity
    statistical_efficiency: Quantity
    goodput: Quantity
    seconds: Quantity | None
    """None where the reference did not reach the target"""
    lr: float
    optimistic: bool

    def to_json(self) -> dict[str, Any]:
        return self.prediction.to_json() | {
            "total_batch": self.total_batch,
            "throughput": self.throughput.to_json(),
            "statistical_efficiency": self.statistical_efficiency.to_json(),
            "goodput": self.goodput.to_json(),
            "seconds": self.seconds.to_json() if self.seconds else None,
            "lr": self.lr,
            "optimistic": self.optimistic,
        }


def rank(predictions: Sequence[Prediction], reference: Reference) -> list[Option]:
    """The best first: the shortest time to the target or, where that is not known, the highest goodput."""
    return sorted((_option(prediction, reference) for prediction in predictions), key=lambda one: -one.goodput.value)


def _option(prediction: Prediction, reference: Reference) -> Option:
    configuration = prediction.configuration
    total = configuration.workers * configuration.batch_size * configuration.base.accumulate
    samples = total * prediction.steps_per_epoch
    if configuration.strategy.unit == "round":  # whose epochs are passes over the data
        samples = reference.training_samples
    epoch = prediction.epoch_seconds
    speed = samples / epoch.value
    throughput = Quantity(speed, None if epoch.half is None else speed * epoch.half / epoch.value)

    factor, (low, high) = reference.factor(total), reference.factor_interval(total)
    efficiency = Quantity(1 / factor, (1 / low - 1 / high) / 2)
    unsure = math.hypot((throughput.half or 0.0) / speed, (high - low) / 2 / factor)
    goodput = throughput.value / factor
    seconds = None
    if reference.reached:
        # The target was reached between two evaluations: the middle, give or take half of what lies between.
        needed, between = (reference.samples + reference.before) / 2, (reference.samples - reference.before) / 2
        seconds = Quantity(needed / goodput, needed / goodput * math.hypot(unsure, between / needed))
    scale = reference.noise_scale
    gain = total / reference.batch_size
    if not math.isinf(scale):
        gain *= (scale + reference.batch_size) / (scale + total)
    return Option(
        prediction=prediction,
        total_batch=total,
        throughput=throughput,
        statistical_efficiency=efficiency,
        goodput=Quantity(goodput, goodput * unsure),
        seconds=seconds,
        lr=reference.lr * gain,
        optimistic=not averages_gradients(configuration.strategy),
    )


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Ranked options, and what the ranking stands on."""

    target: float
    reference: Reference
    options: Sequence[Option]
    predictions: Predictions

    def to_json(self) -> dict[str, Any]:
        reference, scale, interval = self.reference, self.reference.noise_scale, self.reference.noise_interval()
        common = self.predictions.to_json()
        return {
            "task": common["task"],
            "profile": common["profile"],
            "spreads": common["spreads"],
            "target": self.target,
            "formulas": FORMULAS | common["formulas"],
            "reference": {
                "strategy": "single",
                "batch_size": reference.batch_size,
                "lr": reference.lr,
                "reached": reference.reached,
                "accuracy": reference.accuracy,
                "samples": reference.samples,
                "samples_before": reference.before,
                "epochs": reference.samples / reference.training_samples,
                "noise_scale": _finite(scale),
                "noise_scale_low": _finite(interval[0]),
                "noise_scale_high": _finite(interval[1]),
                "points": [point._asdict() for point in reference.points],
            },
            "options": [option.to_json() for option in self.options],
            "not_predicted": common["not_predicted"],
            "warnings": common["warnings"],
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
