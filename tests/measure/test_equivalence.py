"""The test of equivalence, against scipy."""

import math

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from manyhands.errors import UserError
from manyhands.measure.equivalence import equivalence

SAMPLES = st.lists(st.floats(0, 1), min_size=2, max_size=12).filter(lambda values: max(values) - min(values) > 1e-3)


@given(first=SAMPLES, second=SAMPLES, margin=st.floats(0.001, 0.5))
def test_both_tests_are_welchs_of_shifted_samples(first: list[float], second: list[float], margin: float) -> None:
    below = scipy.stats.ttest_ind([x - margin for x in second], first, equal_var=False, alternative="less")
    above = scipy.stats.ttest_ind([x + margin for x in second], first, equal_var=False, alternative="greater")
    result = equivalence(first, second, margin)
    assert result.p == pytest.approx(max(below.pvalue, above.pvalue), rel=1e-6, abs=1e-12)
    assert result.freedom == pytest.approx(below.df, rel=1e-8)


@given(first=SAMPLES, second=SAMPLES, margin=st.floats(0.001, 0.5))
def test_equivalent_is_an_interval_within_the_margin(first: list[float], second: list[float], margin: float) -> None:
    result = equivalence(first, second, margin)
    ends = scipy.stats.ttest_ind(second, first, equal_var=False).confidence_interval(0.9)
    assert (result.low, result.high) == pytest.approx((ends.low, ends.high), rel=1e-6, abs=1e-9)
    if abs(result.p - result.level) > 1e-9:
        assert result.equivalent == (-margin < result.low and result.high < margin)


def test_few_seeds_show_nothing_and_many_do() -> None:
    few, many = [0.90, 0.92], [0.90, 0.92] * 10
    assert not equivalence(few, few, 0.01).equivalent
    assert equivalence(many, many, 0.01).equivalent
    assert not equivalence(many, [value - 0.01 for value in many], 0.01).equivalent


def test_samples_without_spread() -> None:
    assert equivalence([0.9, 0.9], [0.9, 0.9], 0.01).equivalent
    assert not equivalence([0.9, 0.9], [0.8, 0.8], 0.01).equivalent


@pytest.mark.parametrize(("first", "margin"), [([0.9], 0.01), ([0.9, 0.8], 0.0), ([0.9, 0.8], math.nan)])
def test_what_cannot_be_tested_is_refused(first: list[float], margin: float) -> None:
    with pytest.raises(UserError):
        equivalence(first, [0.9, 0.8], margin)
