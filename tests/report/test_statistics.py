import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from manyhands.report.statistics import Estimate, estimate, student_t


@settings(deadline=None)
@given(freedom=st.integers(1, 500), confidence=st.floats(0.01, 0.999))
def test_student_t_agrees_with_scipy(freedom: int, confidence: float) -> None:
    expected = stats.t.ppf((1 + confidence) / 2, freedom)
    assert student_t(freedom, confidence) == pytest.approx(expected, rel=1e-9)


@settings(deadline=None)
@given(values=st.lists(st.integers(-1000, 1000), min_size=2, max_size=20, unique=True))
def test_the_interval_agrees_with_scipy(values: list[int]) -> None:
    result = estimate(values)
    assert result is not None
    assert result.half is not None
    expected = student_t(len(values) - 1) * stats.tstd(values) / math.sqrt(len(values))
    assert (result.mean, result.half) == pytest.approx((sum(values) / len(values), expected), abs=1e-6)


def test_one_value_has_no_interval_and_none_is_left_out() -> None:
    assert estimate([None, 3.0]) == Estimate(3.0, None, 1)
    assert estimate([None]) is None
