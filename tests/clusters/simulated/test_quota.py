"""Quotas of a core, against a walk through time in small steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.clusters.simulated.quota import PERIOD_NS, Quota, together

UNIT = PERIOD_NS // 100
SHARES = st.integers(1, 100).map(lambda percent: percent / 100)


def walk(share: float, phase: float, works: list[tuple[int, int]]) -> list[int]:
    """When each work is done, of (pause before it, work) in hundredths of a period: one hundredth after another."""
    quota, offset = round(share * 100), round(phase * 100)
    now, used, ends = 0, {}, []
    for pause, left in works:
        now += pause
        while left:
            period = (now + offset) // 100
            if used.get(period, 0) < quota:
                used[period] = used.get(period, 0) + 1
                left -= 1
            now += 1
        ends.append(now)
    return ends


@given(
    share=SHARES,
    phase=st.integers(0, 99).map(lambda percent: percent / 100),
    works=st.lists(st.tuples(st.integers(0, 250), st.integers(0, 400)), min_size=1, max_size=6),
)
def test_it_is_the_walk(share: float, phase: float, works: list[tuple[int, int]]) -> None:
    quota, now, ends = Quota(share, phase), 0, []
    for pause, work in works:
        now = quota.run(now + pause * UNIT, work * UNIT)
        ends.append(now)
    assert ends == [end * UNIT for end in walk(share, phase, works)]


@pytest.mark.parametrize("share", [0.1, 0.3, 0.75])
def test_work_without_end_gets_its_share(share: float) -> None:
    work = 1000 * PERIOD_NS
    assert Quota(share).run(0, work) == pytest.approx(work / share, rel=1e-3)


def test_who_waited_is_fast_for_a_moment() -> None:
    quota = Quota(0.3)
    assert quota.run(5 * PERIOD_NS, 3 * UNIT) == 5 * PERIOD_NS + 3 * UNIT  # not ten hundredths


def test_a_whole_core_has_no_periods() -> None:
    assert Quota(1.0, 0.4).run(7, 10 * PERIOD_NS) == 7 + 10 * PERIOD_NS


def test_who_begins_to_compute_in_a_period_is_slow_at_first() -> None:
    tenth = PERIOD_NS // 10
    cold = Quota(0.3, warm_up=tenth)
    assert cold.run(0, tenth) == 2 * tenth
    assert cold.run(2 * tenth, tenth) == 3 * tenth  # warm by now, and the quota is gone
    assert cold.run(3 * tenth, tenth) == PERIOD_NS + 2 * tenth
    work = 1000 * PERIOD_NS
    assert Quota(0.3, warm_up=tenth).run(0, work) == pytest.approx(work / 0.2, rel=1e-2)
    assert Quota(0.3, warm_up=tenth).run(0, tenth, share=0.5) == tenth  # to be woken for a packet is no computing


def test_what_several_do_together_stands_still_while_one_has_no_quota() -> None:
    """To a nanosecond or two for each stop."""
    tenth = PERIOD_NS // 10
    assert together([Quota(0.9)], 0, 5 * tenth, 1.0) == 5 * tenth
    assert together([Quota(0.9), Quota(0.2)], 0, 3 * tenth, 1.0) == pytest.approx(PERIOD_NS + tenth, abs=4)
    alone = Quota(0.2).run(0, 9 * tenth, 0.5)
    assert together([Quota(0.2), Quota(0.2)], 0, 9 * tenth, 0.5) == pytest.approx(alone, abs=4)
    # While one stands still the other saves its quota.
    assert together([Quota(0.2), Quota(0.2, 0.3)], 0, 9 * tenth, 0.5) == pytest.approx(alone, abs=4)
    slower = Quota(0.1).run(0, 9 * tenth, 0.5)
    assert together([Quota(0.2), Quota(0.1)], 0, 9 * tenth, 0.5) == pytest.approx(slower, abs=8)


def test_what_is_used_can_be_restored() -> None:
    quota, other = Quota(0.3, 0.2), Quota(0.3, 0.2)
    now = quota.run(0, 7 * UNIT)
    other.used = quota.used
    assert quota.run(now, 50 * UNIT) == other.run(now, 50 * UNIT)
