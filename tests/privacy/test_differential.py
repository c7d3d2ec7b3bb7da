"""Clipping, noise and what is promised."""

import importlib.util
import logging
import math
import warnings
from typing import Any

import dp_accounting
import pytest
import torch
from dp_accounting.pld import PLDAccountant
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.clusters.simulated.blank import blank
from manyhands.errors import UserError
from manyhands.privacy import PRIVACIES, DifferentialPrivacy, NoPrivacy
from manyhands.privacy.differential import LEAST, MOST, epsilon

repeatable = settings(derandomize=True, deadline=None, max_examples=40)


def vector(seed: int, size: int = 8, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("text", ["none", "dp:1.0,1.1", "dp:0.5,2.0,1e-06"])
def test_text_reads_back(text: str) -> None:
    assert str(PRIVACIES.parse(text)) == text


@repeatable
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3), clip=st.floats(0.01, 100))
def test_a_whole_reply_is_at_most_as_long_as_the_clip(seed: int, scale: float, clip: float) -> None:
    reply = vector(seed, 8, scale), vector(seed + 1, 3, scale)
    clipped = DifferentialPrivacy(clip, 1.0).clipped(reply)
    before, after = torch.cat(reply), torch.cat(clipped)
    assert float(after.norm()) <= clip * (1 + 1e-5)
    assert float(after.norm()) == pytest.approx(min(clip, float(before.norm())), rel=1e-5)
    assert float(torch.dot(after, before)) == pytest.approx(float(after.norm() * before.norm()), rel=1e-4)


def test_what_is_short_or_zero_stays() -> None:
    reply = vector(1), torch.zeros(2)
    assert all(map(torch.equal, DifferentialPrivacy(100.0, 1.0).clipped(reply), reply))
    (zeros,) = DifferentialPrivacy(1.0, 1.0).clipped((torch.zeros(4),))
    assert not zeros.any()


def test_the_noise_is_as_strong_as_promised() -> None:
    """In the sum of the replies it is noise · clip, in what is released that by the number of clients expected."""
    privacy = DifferentialPrivacy(clip=0.5, noise=3.0)
    (released,) = privacy.released((torch.zeros(200_000),), replies=4, expected=10, seed=1, number=0)
    assert float(released.std()) == pytest.approx(3.0 * 0.5 / 10, rel=0.01)
    assert float(released.mean()) == pytest.approx(0, abs=0.002)
    assert float((released.abs() < 0.15).double().mean()) == pytest.approx(math.erf(1 / math.sqrt(2)), abs=0.005)


def test_the_sum_is_divided_by_the_clients_expected() -> None:
    """Else who is missing would show in the length of what is released."""
    privacy = DifferentialPrivacy(clip=1.0, noise=1e-9)
    first, second = privacy.released((vector(1), vector(2)), replies=3, expected=4, seed=1, number=0)
    assert torch.allclose(first, 0.75 * vector(1), atol=1e-6)
    assert torch.allclose(second, 0.75 * vector(2), atol=1e-6)


def test_the_noise_is_the_seeds_the_rounds_and_the_places() -> None:
    privacy, zeros = DifferentialPrivacy(1.0, 1.0), torch.zeros(5)

    def noise(seed: int, number: int) -> list[tuple[float, ...]]:
        return [tuple(part.tolist()) for part in privacy.released((zeros, zeros), 1, 1, seed, number)]

    drawn = [*noise(1, 0), *noise(1, 1), *noise(2, 0)]
    assert len(set(drawn)) == len(drawn)
    assert noise(1, 0) == noise(1, 0)


@pytest.mark.parametrize("valueless", [lambda like: like.to("meta"), blank], ids=["meta", "blank"])
def test_replies_without_values_keep_their_shapes(valueless: Any) -> None:
    privacy, reply = DifferentialPrivacy(1.0, 1.0), (valueless(vector(1)), valueless(vector(2, 3)))
    for result in (privacy.clipped(reply), privacy.released(reply, 3, 4, 0, 0)):
        assert [(part.shape, part.is_meta) for part in result] == [((8,), True), ((3,), True)]


def test_without_privacy_nothing_is_done() -> None:
    reply = vector(1), vector(2)
    assert NoPrivacy().clipped(reply) is reply
    assert NoPrivacy().released(reply, 3, 4, 0, 0) is reply
    assert NoPrivacy().facts(0.5, 10) == {}


def test_the_accountant_knows_the_gaussian_mechanism() -> None:
    """All clients in one round: never below the exact ε of Balle & Wang 2018, theorem 8, nor far above."""

    def exact_delta(value: float, noise: float) -> float:
        def normal(x: float) -> float:
            return (1 + math.erf(x / math.sqrt(2))) / 2

        half = 1 / (2 * noise)
        return normal(half - value * noise) - math.exp(value) * normal(-half - value * noise)

    for noise in (1.0, 2.0, 5.0):
        accounted = epsilon(noise, 1.0, 1, 1e-5)
        assert exact_delta(accounted, noise) <= 1e-5
        assert exact_delta(0.9 * accounted, noise) > 1e-5


PUBLISHED = {
    "McMahan et al. 2018, 763,430 users, cohorts of 5,000, 5,000 rounds": (1.0, 5000 / 763_430, 5000, 1e-9, 4.634),
    "TensorFlow Privacy's tutorial on MNIST, 60 epochs": (1.1, 256 / 60_000, 14_062, 1e-5, 3.01),
    "the same, 15 epochs": (1.3, 256 / 60_000, 3515, 1e-5, 1.19),
}
"""noise, sampling rate, rounds, δ, and the ε that the moments accountant gave"""


@pytest.mark.parametrize("case", PUBLISHED)
def test_what_is_promised_is_near_what_was_published(case: str) -> None:
    """A little below: Rényi's ε has become tighter since; and above what the privacy loss distribution itself gives."""
    noise, rate, rounds, delta, published = PUBLISHED[case]
    accountant = PLDAccountant(value_discretization_interval=1e-3)
    event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise))
    accountant.compose(dp_accounting.SelfComposedDpEvent(event, rounds))
    assert 0.98 * accountant.get_epsilon(delta) < epsilon(noise, rate, rounds, delta) < published
    assert epsilon(noise, rate, rounds, delta) > 0.8 * published


@pytest.mark.parametrize("rate", [1e-6, 0.1, 1.0])
def test_at_its_limits_the_accountant_is_quiet_and_right(rate: float, caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [epsilon(noise, rate, 100, 1e-5) for noise in (LEAST, 1e-3, 0.3, 1.0, 10.0, MOST)]
    assert not caplog.records
    assert not logging.getLogger("absl").disabled
    assert found == sorted(found, reverse=True)
    assert 1e9 < found[0] < math.inf
    assert 0 <= found[-1] < 1e-3


def test_more_noise_fewer_rounds_and_smaller_cohorts_promise_more() -> None:
    base = epsilon(1.0, 0.1, 100, 1e-5)
    assert epsilon(2.0, 0.1, 100, 1e-5) < base < epsilon(1.0, 0.1, 200, 1e-5)
    assert epsilon(1.0, 0.05, 100, 1e-5) < base < epsilon(1.0, 0.2, 100, 1e-5)
    assert epsilon(1.0, 0.1, 100, 1e-6) > base > 0


def test_the_facts_say_what_was_taken_for_granted() -> None:
    facts = DifferentialPrivacy(1.0, 1.1, delta=1e-4).facts(0.25, 40)
    assert facts["epsilon"] == pytest.approx(epsilon(1.1, 0.25, 40, 1e-4))
    assert (facts["delta"], facts["sampling_rate"]) == (1e-4, 0.25)
    assert "without replacement, accounted for as Poisson sampling" in str(facts["sampling"])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("dp:0,1", "clip must be positive and finite, not 0"),
        ("dp:inf,1", "clip must be positive and finite, not inf"),
        ("dp:1,0", "noise must be positive, from 1e-12 to 1e+06, not 0"),
        ("dp:1,-2", "noise must be positive, from 1e-12 to 1e+06, not -2"),
        ("dp:1,nan", "noise must be positive, from 1e-12 to 1e+06, not nan"),
        ("dp:1,1e-160", "noise must be positive, from 1e-12 to 1e+06, not 1e-160"),
        ("dp:1,1e300", "noise must be positive, from 1e-12 to 1e+06, not 1e+300"),
        ("dp:1,1,0", "delta must lie between 0 and 1, not 0"),
        ("dp:1,1,delta=1", "delta must lie between 0 and 1, not 1"),
        ("dp:1", "needs noise"),
        ("secret", "unknown privacy 'secret': choose from none, dp:CLIP,NOISE"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UserError) as refusal:
        PRIVACIES.parse(text)
    assert complaint in str(refusal.value)


def test_without_the_accountant_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    DifferentialPrivacy(1.0, 1.0).check()
    known = importlib.util.find_spec
    monkeypatch.setattr(
        "manyhands.privacy.differential.find_spec", lambda name: None if name == "dp_accounting" else known(name)
    )
    with pytest.raises(UserError, match=r"needs dp-accounting to know its ε: pip install 'manyhands\[privacy\]'"):
        DifferentialPrivacy(1.0, 1.0).check()
