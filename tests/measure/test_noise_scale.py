"""The gradient noise scale: unbiased, and turned into samples as the theory has it."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manyhands import lab
from manyhands.errors import RunError, UserError
from manyhands.measure.noise_scale import Noise, Reference, noise_of, smooth_scales, spread, train_reference
from manyhands.runs.folder import RunFolder
from manyhands.runs.specification import Specification
from manyhands.strategies import Single
from manyhands.tasks.models import build
from manyhands.tasks.task import Task


@pytest.mark.parametrize(("parts", "batch"), [(2, 1), (4, 16), (8, 3)])
def test_the_estimates_are_unbiased(parts: int, batch: int) -> None:
    """Of gradients G + noise with covariance Σ / b; the mean over many draws is |G|² and tr Σ."""
    generator = torch.Generator().manual_seed(1)
    true = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
    sigma = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    found = []
    for _ in range(20_000):
        noise = torch.randn(parts, 3, generator=generator, dtype=torch.float64) * sigma / math.sqrt(batch)
        found.append(noise_of(list(true + noise), batch))
    estimates = np.array(found)
    error = 4 * estimates.std(0) / math.sqrt(len(estimates))
    truth = np.array([float(true.square().sum()), float(sigma.square().sum())])
    assert (np.abs(estimates.mean(0) - truth) < error).all()
    assert (error < truth).all()  # so that the test can fail


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=5), st.integers(2, 6), st.integers(1, 100))
def test_equal_gradients_have_no_noise(values: list[float], parts: int, batch: int) -> None:
    squared, trace = noise_of([torch.tensor(values)] * parts, batch)
    exact = sum(float(value) ** 2 for value in torch.tensor(values).double())
    assert squared == pytest.approx(exact, rel=1e-6, abs=1e-9)
    assert trace == pytest.approx(0, abs=1e-6 * (1 + exact) * batch)


def test_samples_over_which_scales_are_averaged() -> None:
    squared, trace = np.array([1.0] * 6 + [0.5] * 6), np.array([4.0] * 12)
    scales = smooth_scales(trace, squared)
    assert scales[0] == 4
    assert scales[-1] == 8
    assert scales[5] == pytest.approx(4 / np.mean(squared[1:10]))
    assert np.isinf(smooth_scales(trace, squared * -1)).all()
    both = smooth_scales(np.stack([trace, trace * 2]), np.stack([squared, squared]))
    assert both.tolist() == [scales.tolist(), (2 * scales).tolist()]


def reference(scale: float, points: int = 16, noise: float = 0.0, batch_size: int = 32) -> Reference:
    rng = np.random.default_rng(3)
    return Reference(
        batch_size=batch_size,
        lr=0.1,
        training_samples=1000,
        points=tuple(
            Noise(place * 100, 0.01 * (1 + noise * rng.standard_normal()), 0.01 * scale) for place in range(points)
        ),
        samples=1600,
        before=1500,
        reached=True,
        accuracy=0.9,
    )


@given(st.floats(1, 1e4), st.floats(1, 1e5))
def test_more_samples_are_needed_as_pollux_says(scale: float, batch: float) -> None:
    one = reference(scale)
    assert one.noise_scale == pytest.approx(scale)
    assert one.factor(batch) == pytest.approx((scale + batch) / (scale + 32), rel=1e-9)
    assert one.factor_interval(batch) == pytest.approx((one.factor(batch),) * 2, rel=1e-9)
    assert one.factor(32) == pytest.approx(1)


def test_the_interval_is_as_wide_as_the_points_differ() -> None:
    sure, unsure = reference(100, noise=0.05), reference(100, noise=0.5)
    for one in (sure, unsure):
        low, high = one.factor_interval(512)
        assert low < one.factor(512) < high
        assert one.noise_interval()[0] < one.noise_scale < one.noise_interval()[1]
    widths = [np.diff(one.factor_interval(512))[0] for one in (sure, unsure)]
    assert widths[1] > 3 * widths[0]


def test_gradients_lost_in_noise_have_an_infinite_scale() -> None:
    lost = replace(reference(100), points=tuple(Noise(0, -0.01, 1.0) for _ in range(8)))
    assert math.isinf(lost.noise_scale)
    assert lost.factor(4096) == 1


@given(st.integers(1, 500), st.integers(1, 20))
def test_places_are_spread_over_an_epoch(steps: int, times: int) -> None:
    places = spread(steps, times)
    assert len(places) == min(steps, times)
    assert max(places) == steps - 1
    assert min(places) >= 0


def make_task(noise: float) -> Task:
    """Two blobs that a line tells apart, more or less."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(640) % 2
    inputs = torch.randn(640, 1, 4, 4, generator=generator) * noise + (targets * 2.0 - 1).view(-1, 1, 1, 1)
    samples = (inputs, targets)
    return Task(model=lambda: build("logistic", (1, 4, 4), 2), train=samples, test=samples)


def specification(**options: object) -> Specification:
    return Specification(**({"batch_size": 16, "epochs": 3, "lr": 0.05} | options))  # type: ignore[arg-type]


def test_a_training_ends_at_its_target() -> None:
    told: list[tuple[int, float]] = []
    one = train_reference(specification(), 0.9, make_task(2.0), lambda *state: told.append(state))
    assert one.reached
    assert one.accuracy >= 0.9
    assert told[-1] == (one.samples, one.accuracy)
    assert all(accuracy < 0.9 for _, accuracy in told[:-1])
    assert one.samples - one.before == 160  # a quarter of an epoch of 40 steps
    assert one.points
    assert one.noise_scale > 0


def test_it_learns_what_a_run_learns(tmp_path: Path) -> None:
    task = make_task(4.0)
    run = lab.train(specification(strategy=Single(), workers=1, epochs=2), task=task, out=tmp_path / "run")
    row = RunFolder(run).read_history()[-1]
    one = train_reference(specification(epochs=2), 0.9999, task)
    assert not one.reached
    assert one.samples == row["samples"]
    assert one.accuracy == pytest.approx(row["test_accuracy"], abs=1e-12)
    assert len(one.points) == 16


def test_noisier_data_have_a_larger_noise_scale() -> None:
    clear, noisy = (train_reference(specification(epochs=1), 0.99999, make_task(noise)) for noise in (1.0, 6.0))
    assert noisy.noise_scale > 3 * clear.noise_scale


def test_bad_input() -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        train_reference(specification(), 95, make_task(1.0))
    with pytest.raises(RunError, match="diverged"):
        train_reference(specification(lr=3e38), 0.99999, make_task(3.0))
