"""How long a training takes, how much of it goes on talking, and how sure that is: rehearsed, never trained.

A configuration is rehearsed (`lab.rehearse`): the strategy's own code runs on the simulated cluster, on tensors without
values. Of an epoch of many equal steps a few are rehearsed, which is exact where they repeat (`measure.epochs`).

Intervals are the profile's: with its spreads c of computing and l of the link, each half of a 95 % interval, a quantity
q is known to ± √((q(c) - q)² + (q(l) - q)²), where q(c) is rehearsed on a device slower by c, q(l) on a link slower
by l: independent errors to first order. A profile that states no spread gives no interval, and none says how far the
model itself is from the truth: see ``docs/validity.md``.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from manyhands import lab
from manyhands.clusters.cluster import Simulated
from manyhands.clusters.simulated.profile import DeviceProfile
from manyhands.clusters.simulated.rehearsal import Subject
from manyhands.clusters.spread import Even
from manyhands.errors import RunError, UserError
from manyhands.measure.epochs import Epoch, Epochs
from manyhands.measure.networks import NetworkKind
from manyhands.runs.environment import hardware
from manyhands.runs.specification import Specification
from manyhands.strategies import Single, Strategy
from manyhands.tasks.task import Task

FORMULAS = {
    "step_seconds": "epoch_seconds / steps_per_epoch",
    "steps_per_epoch": "ceil(samples / (workers · batch size · accumulated micro-batches))",
    "speedup": "T₁ / Tₙ, seconds of an epoch of single over those of n workers, at the same batch size of each worker",
    "efficiency": "T₁ / (n · Tₙ)",
    "communication": "(exposed + waiting) / (compute + exposed + waiting + compression), summed over the workers",
    "bytes_per_step": "bytes sent by the workers / (workers · steps_per_epoch)",
    "interval": "value ± √(Δcompute² + Δlink²), Δ from the profile's spreads, one at a time",
}


@dataclass(frozen=True)
class Quantity:
    """A value, and half the width of its 95 % interval: None where the profile states no spread."""

    value: float
    half: float | None = None

    @property
    def low(self) -> float:
        return self.value - (self.half or 0.0)

    @property
    def high(self) -> float:
        return self.value + (self.half or 0.0)

    def to_json(self) -> dict[str, float | None]:
        known = self.half is not None
        return {"value": self.value, "low": self.low if known else None, "high": self.high if known else None}


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What is to be predicted: ``base`` says all that is not said here, ``cluster`` all but the network."""

    strategy: Strategy
    workers: int
    network: NetworkKind
    batch_size: int
    cluster: Simulated
    base: Specification

    @property
    def specification(self) -> Specification:
        """Raises UserError if there is no such training."""
        cluster = replace(self.cluster, bandwidth=self.network.bandwidth, latency=self.network.latency)
        strategy, workers, batch_size = self.strategy, self.workers, self.batch_size
        return replace(self.base, strategy=strategy, workers=workers, batch_size=batch_size, cluster=cluster)

    def __str__(self) -> str:
        return f"{self.strategy} ×{self.workers} {self.network} batch {self.batch_size}"

    def to_json(self) -> dict[str, Any]:
        return {
            "strategy": str(self.strategy),
            "name": self.strategy.name,
            "workers": self.workers,
            "servers": self.strategy.servers,
            "network": str(self.network),
            "bandwidth": self.network.bandwidth,
            "latency": self.network.latency,
            "batch_size": self.batch_size,
            "accumulate": self.base.accumulate,
            "stragglers": list(self.cluster.slow),
            "speeds": str(self.cluster.speeds),
            "links": str(self.cluster.links),
        }


def grid(
    base: Specification,
    cluster: Simulated,
    *,
    strategies: Iterable[Strategy],
    workers: Iterable[int],
    networks: Iterable[NetworkKind],
    batch_sizes: Iterable[int],
) -> list[Configuration]:
    """Every combination, none twice. ``single`` has one worker, which is not slow, whatever the others have."""
    configurations = []
    for network, batch_size, strategy, count in product(networks, batch_sizes, strategies, workers):
        alone = isinstance(strategy, Single)
        configurations.append(
            Configuration(
                strategy=strategy,
                workers=1 if alone else count,
                network=network,
                batch_size=batch_size,
                cluster=replace(cluster, slow=(), speeds=Even(), links=Even()) if alone else cluster,
                base=base,
            )
        )
    return list({str(configuration): configuration for configuration in configurations}.values())


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a configuration takes; see `FORMULAS`."""

    configuration: Configuration
    steps_per_epoch: int
    step_seconds: Quantity
    epoch_seconds: Quantity
    speedup: Quantity
    efficiency: Quantity
    communication: Quantity
    bytes_per_step: float
    server_bytes_per_step: float
    """bytes sent by a server, the mean over them; 0 without servers"""
    exact: bool
    """whether the rehearsed steps stand for all others exactly"""

    def to_json(self) -> dict[str, Any]:
        names = ("step_seconds", "epoch_seconds", "speedup", "efficiency", "communication")
        return (
            self.configuration.to_json()
            | {"steps_per_epoch": self.steps_per_epoch}
            | {name: getattr(self, name).to_json() for name in names}
            | {
                "bytes_per_step": self.bytes_per_step,
                "server_bytes_per_step": self.server_bytes_per_step,
                "exact": self.exact,
            }
        )


class Predictor:
    """Predicts configurations of one task on one profile; what they share is worked out once.

    Of ``task`` only the shapes matter, and the classes where the partition goes by them.
    """

    def __init__(self, task: Task, profile: DeviceProfile) -> None:
        self.task, self.profile = task, profile
        spreads = {"compute": profile.compute_spread, "link": profile.link_spread}
        self._profiles = [profile, *(profile.scaled(**{which: 1 + by}) for which, by in spreads.items() if by)]
        """the profile itself, then each of its spreads at its upper end"""
        self._subject: Subject | None = None
        self._singles: dict[Specification, list[float]] = {}

    def predict(self, configuration: Configuration) -> Prediction:
        """Raises UserError for what cannot be, and RunError for a strategy that looks at values, with the reason."""
        specification = configuration.specification
        outline = lab.outline(specification, self.task)
        self._subject = self._subject or Subject.of(outline)
        epochs = Epochs(outline, self._subject, self.profile)
        try:
            accounts = [epochs.on(profile) for profile in self._profiles]
        except RunError as error:
            raise RunError(f"{specification.strategy} cannot be predicted without learning: {error}") from None
        steps = epochs.steps
        singles = self._single(specification)
        workers = specification.size

        def quantity(of: Callable[[Epoch, float], float]) -> Quantity:
            value, *others = [of(account, single) for account, single in zip(accounts, singles, strict=True)]
            return Quantity(value, math.hypot(*(other - value for other in others)) if others else None)

        return Prediction(
            configuration=configuration,
            steps_per_epoch=steps,
            step_seconds=quantity(lambda epoch, single: epoch.seconds / steps),
            epoch_seconds=quantity(lambda epoch, single: epoch.seconds),
            speedup=quantity(lambda epoch, single: single / epoch.seconds),
            efficiency=quantity(lambda epoch, single: single / (workers * epoch.seconds)),
            communication=quantity(lambda epoch, single: epoch.in_communication),
            bytes_per_step=accounts[0].worker_bytes / (workers * steps),
            server_bytes_per_step=accounts[0].server_bytes / (max(1, specification.strategy.servers) * steps),
            exact=epochs.window.exact,
        )

    def _single(self, specification: Specification) -> list[float]:
        """Seconds of an epoch of one worker that is not slow, on each of the profiles."""
        cluster = specification.cluster
        assert isinstance(cluster, Simulated)
        single = replace(
            specification,
            strategy=Single(),
            workers=1,
            rounds=None,
            cluster=Simulated(profile=cluster.profile, cpus=cluster.cpus),
        )
        if single not in self._singles:
            assert self._subject is not None
            epochs = Epochs(lab.outline(single, self.task), self._subject, self.profile)
            self._singles[single] = [epochs.on(profile).seconds for profile in self._profiles]
        return self._singles[single]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """A task on a profile: what was predicted, and what could not be, with the reasons."""

    task: str
    profile: DeviceProfile
    predicted: Sequence[Prediction]
    refused: Sequence[tuple[Configuration, str]] = ()
    warnings: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "profile": {"name": self.profile.name, "digest": self.profile.digest, "source": self.profile.source},
            "spreads": {"compute": self.profile.compute_spread, "link": self.profile.link_spread},
            "formulas": FORMULAS,
            "predictions": [prediction.to_json() for prediction in self.predicted],
            "not_predicted": [configuration.to_json() | {"why": why} for configuration, why in self.refused],
            "warnings": list(self.warnings),
        }


def predict(
    configurations: Iterable[Configuration],
    predictor: Predictor,
    *,
    warnings: Sequence[str] = (),
    show: Callable[[Configuration], None] = lambda configuration: None,
) -> Predictions:
    """Predict one configuration after another; ``show`` is told which.

    What cannot be predicted is listed with the reason; if that is all there is, its error is raised.
    """
    predicted, refused = [], []
    error: UserError | RunError | None = None
    for configuration in configurations:
        show(configuration)
        try:
            predicted.append(predictor.predict(configuration))
        except (UserError, RunError) as reason:
            error = error or reason
            refused.append((configuration, str(reason)))
    if error is not None and not predicted:
        raise error
    return Predictions(
        task=predictor.task.name,
        profile=predictor.profile,
        predicted=predicted,
        refused=refused,
        warnings=warnings,
    )


def mismatches(profile: DeviceProfile, task: str, here: Mapping[str, Any] | None = None) -> list[str]:
    """In what a profile's task and machine differ from these, in words; ``here`` is this machine by default."""
    found = []
    if profile.task and profile.task != task:
        found.append(f"it was measured on the task {profile.task}, not {task}")
    if profile.hardware:
        here = hardware() if here is None else here
        for key in ("cpu", "cores", "instructions", "accelerator"):
            there = profile.hardware.get(key)
            if key in profile.hardware and there != here.get(key):
                found.append(f"its {key} is {there}, here it is {here.get(key)}")
    return found


def check_profile(profile: DeviceProfile, task: str, strict: bool) -> list[str]:
    """Warnings about a profile of another task or machine; with ``strict`` these are a UserError."""
    found = [f"profile {profile.name} may not fit: {difference}" for difference in mismatches(profile, task)]
    if found and strict:
        raise UserError(f"{'; '.join(found)}: calibrate here (manyhands calibrate), or leave out --strict")
    return found
