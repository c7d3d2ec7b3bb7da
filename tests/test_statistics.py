import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from manyhands.statistics import Estimate, difference, estimate


@settings(deadline=None)
@given(values=st.lists(st.integers(-1000, 1000), min_size=2, max_size=20, unique=True))
def test_the_interval_agrees_with_scipy(values: list[int]) -> None:
    result = estimate(values)
    assert result is not None
    assert result.half is not None
    expected = stats.t.ppf(0.975, len(values) - 1) * stats.tstd(values) / math.sqrt(len(values))
    assert (result.mean, result.half) == pytest.approx((sum(values) / len(values), expected), abs=1e-6)


def test_one_value_has_no_interval_and_none_is_left_out() -> None:
    assert estimate([None, 3.0]) == Estimate(3.0, None, 1)
    assert estimate([None]) is None


@settings(deadline=None)
@given(values=st.lists(st.tuples(st.integers(-99, 99), st.integers(-99, 99)), min_size=3, max_size=12, unique=True))
def test_differences_agree_with_scipy(values: list[tuple[int, int]]) -> None:
    first, second = ([float(pair[place]) for pair in values] for place in (0, 1))
    if len(set(first)) < 2 or len(set(second)) < 2 or len({a - b for a, b in values}) < 2:
        return
    paired = difference(dict(enumerate(first)), dict(enumerate(second)))
    low, high = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert paired.method == "paired by seed"
    assert paired.value.half == pytest.approx((high - low) / 2)
    assert paired.value.mean == pytest.approx((high + low) / 2, abs=1e-9)
    welch = difference(dict(enumerate(first)), {100 + seed: value for seed, value in enumerate(second)})
    found = stats.ttest_ind(first, second, equal_var=False)
    low, high = found.confidence_interval(0.95)
    assert welch.method == "Welch"
    exact = (high - low) / 2
    assert welch.value.half is not None
    assert exact - 1e-9 <= welch.value.half  # the degrees of freedom are rounded down
    half = stats.t.ppf(0.975, int(found.df)) / stats.t.ppf(0.975, found.df) * exact
    assert welch.value.half == pytest.approx(half)


def test_a_difference_of_one_seed_has_no_interval_and_is_not_settled() -> None:
    one = difference({0: 3.0}, {0: 1.0, 1: 2.0})
    assert (one.value, one.method, one.settled) == (Estimate(1.5, None, 1), "one seed", False)
    same = difference({0: 1.0, 1: 1.0}, {2: 0.5, 3: 0.5})
    assert (same.value, same.settled) == (Estimate(0.5, 0.0, 2), True)
