"""Nothing is lost, only late: what was decoded and the residual add up to all that was to be sent."""

import pytest
import torch
from compressing import ALL, LOSSLESS, LOSSY, SIZE, Workers, distance, vector
from hypothesis import given, settings
from hypothesis import strategies as st

everywhere_the_same = settings(derandomize=True, deadline=None, max_examples=10)

SUMMED_EXACTLY = [text for text in ALL if text != "bf16"]


@pytest.mark.parametrize("text", ALL)
@everywhere_the_same
@given(seed=st.integers(0, 10**6), steps=st.integers(1, 12))
def test_messages_and_residual_add_up_to_the_vectors(text: str, seed: int, steps: int) -> None:
    workers = Workers(text, 1)
    total, decoded = torch.zeros(SIZE, dtype=torch.float64), torch.zeros(SIZE, dtype=torch.float64)
    for step in range(steps):
        total += vector(seed + step)
        decoded += workers.coder().decode(workers.coder().encode(vector(seed + step)))
    assert distance(decoded + workers.residual(), total) <= 1e-6


@pytest.mark.parametrize("text", SUMMED_EXACTLY)
@everywhere_the_same
@given(seed=st.integers(0, 10**6), steps=st.integers(1, 8), count=st.integers(1, 5))
def test_means_and_residuals_add_up_to_the_vectors(text: str, seed: int, steps: int, count: int) -> None:
    workers = Workers(text, count)
    total, means = torch.zeros(SIZE, dtype=torch.float64), torch.zeros(SIZE, dtype=torch.float64)
    for step in range(steps):
        vectors = [vector(seed + 100 * step + rank) for rank in range(count)]
        total += torch.stack(vectors).double().mean(0)
        mean, *others = workers.mean(vectors)
        assert all(torch.equal(mean, other) for other in others)
        means += mean
    residuals = torch.stack([workers.residual(rank) for rank in range(count)]).double()
    assert distance(means + residuals.mean(0), total) <= 1e-6


def test_a_mean_in_bf16_is_as_exact_as_sums_in_bf16() -> None:
    workers, vectors = Workers("bf16", 4), [vector(seed) for seed in range(4)]
    for mean in workers.mean(vectors):
        assert distance(mean, torch.stack(vectors).mean(0)) <= 2**-7


@pytest.mark.parametrize("text", LOSSY)
def test_the_residual_is_what_the_message_left_out(text: str) -> None:
    """Two steps of p = v + e, send C(p), e = p - C(p), by hand."""
    workers = Workers(text, 1)
    residual = torch.zeros(SIZE)
    for step in range(2):
        wanted = vector(step) + residual
        residual = wanted - workers.coder().decode(workers.coder().encode(vector(step)))
        assert torch.equal(workers.residual(), residual)
        assert residual.norm() > 0


@pytest.mark.parametrize("text", [*LOSSY, *LOSSLESS])
def test_residuals_stay_bounded(text: str) -> None:
    """A compression that errs by more than the vector would let them grow without end."""
    workers = Workers(text, 1)
    vectors = [vector(step) for step in range(400)]
    norms = []
    for each in vectors:
        workers.coder().encode(each)
        norms.append(float(workers.residual().norm()))
    largest = max(float(each.norm()) for each in vectors)
    assert max(norms[200:]) <= 60 * largest
    assert sum(norms[300:]) <= 2 * sum(norms[200:300]) + 1e-9


@pytest.mark.parametrize("text", LOSSY)
def test_a_constant_vector_arrives_in_the_long_run(text: str) -> None:
    """The mean of what arrives tends to the vector; without feedback top-k would never send the small numbers."""
    workers, constant = Workers(text, 1), vector(3)
    steps = 500
    decoded = torch.zeros(SIZE)
    for _ in range(steps):
        decoded += workers.coder().decode(workers.coder().encode(constant))
    assert distance(decoded / steps, constant) <= 0.15


@pytest.mark.parametrize("text", ALL)
def test_without_feedback_nothing_is_kept_for_later(text: str) -> None:
    workers = Workers(text, 1)
    workers.coder().encode(vector(1), feedback=False)
    assert "update/residual" not in workers.states[0]


def test_streams_have_residuals_of_their_own() -> None:
    one, other = Workers("top-k:1", 1), Workers("top-k:1", 1, stream="other")
    other.states = one.states
    one.coder().encode(vector(1))
    other.coder().encode(vector(2))
    assert set(one.states[0]) == {"update/residual", "other/residual"}
    assert not torch.equal(one.residual(), other.residual())
