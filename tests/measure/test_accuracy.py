"""Errors of predictions, against oracles and cases worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from manyhands.measure.accuracy import accuracy, kendall_tau, leave_one_out, quantile, signed_errors

NUMBERS = st.integers(0, 9).map(float)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=15))
def test_tau_is_scipy_s(pairs: list[tuple[float, float]]) -> None:
    x, y = zip(*pairs, strict=True)
    expected = stats.kendalltau(x, y).statistic
    assert kendall_tau(x, y) == pytest.approx(0.0 if np.isnan(expected) else expected)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20), st.floats(0, 1))
def test_quantiles_are_numpy_s(values: list[float], share: float) -> None:
    assert quantile(sorted(values), share) == pytest.approx(float(np.quantile(values, share)), abs=1e-9)


def test_errors_are_signed_and_relative_to_what_was_measured() -> None:
    assert signed_errors([1.1, 4.0], [[1.0, 1.0], [4.0, 6.0]]) == pytest.approx([0.1, -0.2])


def test_the_noise_is_what_the_other_repeats_get_wrong() -> None:
    assert leave_one_out([1.0, 2.0]) == pytest.approx((1.0 + 0.5) / 2)
    assert leave_one_out([3.0, 3.0, 3.0]) == 0


def test_a_summary() -> None:
    measured = [[0.9, 1.1], [2.0, 2.0], [3.9, 4.1]]
    summary = accuracy([1.1, 2.0, 3.6], measured)
    assert (summary.configurations, summary.repeats) == (3, 2)
    assert summary.bias == pytest.approx(0.0)
    assert summary.mape == pytest.approx(0.2 / 3)
    assert summary.worst == pytest.approx(0.1)
    assert summary.p90 == pytest.approx(0.1)
    assert summary.tau == 1.0
    assert summary.interval[0] < summary.mape < summary.interval[1]
    assert accuracy([1.1, 2.0, 3.6], measured) == summary  # the same random numbers each time


def test_exact_predictions_of_steady_runs_have_no_error() -> None:
    summary = accuracy([1.0, 2.0], [[1.0, 1.0], [2.0, 2.0]])
    assert (summary.mape, summary.interval, summary.noise, summary.tau) == (0.0, (0.0, 0.0), 0.0, 1.0)
