import pytest
import torch
from compressing import Workers, distance, vector
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from manyhands.compression import COMPRESSIONS, QSGD, Int8

everywhere_the_same = settings(derandomize=True, deadline=None, max_examples=20)
sizes = st.integers(1, 700)
seeds = st.integers(0, 10**6)


def through(text: str, sent: Tensor, *, feedback: bool = False) -> Tensor:
    """What arrives of a vector."""
    coder = Workers(text, 1, shapes=[(len(sent),)]).coder()
    return coder.decode(coder.encode(sent, feedback=feedback))


def buckets(sent: Tensor, size: int) -> list[Tensor]:
    return list(sent.split(size))


@everywhere_the_same
@given(seeds, sizes)
def test_bf16_errs_by_half_of_its_last_bit(seed: int, size: int) -> None:
    sent = vector(seed, size)
    assert ((through("bf16", sent) - sent).abs() <= 2**-8 * sent.abs()).all()


@everywhere_the_same
@given(seeds, sizes, st.sampled_from([3, 64, 512]))
def test_int8_errs_by_less_than_its_buckets_scale(seed: int, size: int, bucket: int) -> None:
    sent = vector(seed, size)
    for arrived, bound in zip(buckets(through(f"int8:{bucket}", sent), bucket), buckets(sent, bucket), strict=True):
        scale = bound.abs().max() / 127
        assert (arrived - bound).abs().max() <= 1.0001 * scale


@everywhere_the_same
@given(seeds, sizes, st.sampled_from([1, 7, 200]), st.sampled_from([16, 512]))
def test_qsgd_errs_by_less_than_a_level_and_keeps_signs(seed: int, size: int, levels: int, bucket: int) -> None:
    sent = vector(seed, size)
    decoded = through(f"qsgd:{levels},{bucket}", sent)
    for arrived, bound in zip(buckets(decoded, bucket), buckets(sent, bucket), strict=True):
        assert (arrived - bound).abs().max() <= 1.0001 * bound.norm() / levels
    assert (decoded * sent >= 0).all()


@pytest.mark.parametrize("text", ["int8", "int8:50", "qsgd:1", "qsgd:7", "qsgd:300,64"])
def test_stochastic_rounding_is_right_on_average(text: str) -> None:
    """The mean of many is within five standard errors of the vector, at every place.

    A number between two levels that are ``step`` apart is rounded up with a probability p of the way it has come, which
    gives it the variance step² p (1 - p).
    """
    times, sent, workers = 2000, vector(7, 200), Workers(text, 1, shapes=[(200,)])
    compression = COMPRESSIONS.parse(text)
    assert isinstance(compression, Int8 | QSGD)
    steps = [
        torch.full_like(
            part, float(part.abs().max() / 127 if isinstance(compression, Int8) else part.norm() / compression.levels)
        )
        for part in sent.split(compression.bucket)
    ]
    step = torch.cat(steps)
    p = (sent / step).frac().abs()
    draws = torch.stack([workers.coder().decode(workers.coder().encode(sent, feedback=False)) for _ in range(times)])
    assert ((draws.mean(0) - sent).abs() <= step * (5 * (p * (1 - p) / times).sqrt() + 10 / times)).all()
    assert torch.allclose(draws.var(0).sum(), (step**2 * p * (1 - p)).sum(), rtol=0.1)


@pytest.mark.parametrize("text", ["qsgd:1", "qsgd:7", "qsgd:7,16", "qsgd:127", "qsgd:40,1000"])
def test_qsgd_varies_no_more_than_the_paper_says(text: str) -> None:
    """E‖Q(v) - v‖² ≤ ω ‖v‖² without feedback; with it, the error is less than the vector."""
    compression = COMPRESSIONS.parse(text)
    assert isinstance(compression, QSGD)
    for seed in range(3):
        sent, workers = vector(seed, 3000), Workers(text, 1, shapes=[(3000,)])
        ratios, damped = [], []
        for _ in range(50):
            ratios.append(distance(workers.coder().decode(workers.coder().encode(sent, feedback=False)), sent) ** 2)
            workers.states[0].pop("update/residual", None)
            damped.append(distance(workers.coder().decode(workers.coder().encode(sent)), sent) ** 2)
        assert sum(ratios) / 50 <= compression.variance
        assert sum(damped) / 50 <= 1.05 * (1 - 1 / (1 + compression.variance))


def test_qsgd_with_feedback_is_damped() -> None:
    sent = torch.tensor([3.0, -4.0])
    assert torch.allclose(through("qsgd:5,2", sent), sent)
    assert torch.allclose(through("qsgd:5,2", sent, feedback=True), sent / (1 + 2 / 25))


@everywhere_the_same
@given(seeds, sizes)
def test_sign_sends_signs_and_the_mean_magnitude(seed: int, size: int) -> None:
    sent = vector(seed, size)
    expected = torch.where(sent >= 0, 1.0, -1.0) * sent.abs().mean()
    assert torch.allclose(through("sign", sent), expected, rtol=1e-5)


@everywhere_the_same
@given(seeds, sizes)
def test_sign_errs_by_as_much_as_the_paper_says(seed: int, size: int) -> None:
    """‖C(v) - v‖² = (1 - ‖v‖₁² / (n ‖v‖₂²)) ‖v‖²: less than the vector (Karimireddy et al. 2019)."""
    sent = vector(seed, size) + 1e-3
    density = float(sent.abs().sum() ** 2 / (size * sent.norm() ** 2))
    assert distance(through("sign", sent), sent) ** 2 == pytest.approx(1 - density, abs=1e-5)


@pytest.mark.parametrize("text", ["bf16", "int8", "qsgd:7", "sign"])
def test_zeros_stay_zeros(text: str) -> None:
    assert torch.equal(through(text, torch.zeros(600)).abs(), torch.zeros(600))


@pytest.mark.parametrize("text", ["int8", "qsgd:127", "int8:7"])
def test_what_is_a_level_arrives_as_it_is(text: str) -> None:
    """A number that is alone in its bucket, and the largest of each bucket of int8."""
    alone = torch.zeros(600)
    alone[[3, 599]] = torch.tensor([-2.5, 1e-6])
    assert torch.allclose(through(text, alone), alone, rtol=1e-5, atol=0)


@pytest.mark.parametrize("text", ["bf16", "int8", "qsgd:7", "sign", "top-k:2", "powersgd:1"])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_no_number_does_not_arrive_as_one(text: str, wrong: float) -> None:
    """So that a training that diverges is told."""
    sent = vector(1, 64)
    sent[5] = wrong
    coder = Workers(text, 1, shapes=[(8, 8)]).coder()
    assert not coder.decode(coder.encode(sent)).isfinite().all()
