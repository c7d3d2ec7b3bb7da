from math import isclose
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manyhands.errors import UserError
from manyhands.training.schedule import SCHEDULES, Constant, Cosine, LrScaling, OneCycle, Step, lr_scale, warm_up

PROGRESS = st.floats(0, 1)
EXAMPLES = ["constant", "step:0.5", "step:0.3,0.6,0.9,gamma=0.2", "cosine", "one-cycle", "one-cycle:0.45"]


def test_every_schedule_has_an_example_here() -> None:
    assert {text.partition(":")[0] for text in EXAMPLES} == set(SCHEDULES.members)


@pytest.mark.parametrize("text", EXAMPLES)
@given(progress=PROGRESS)
def test_factors_lie_between_0_and_1(text: str, progress: float) -> None:
    assert 0 <= SCHEDULES.parse(text).factor(progress) <= 1


@pytest.mark.parametrize("text", EXAMPLES)
@given(first=PROGRESS, second=PROGRESS)
def test_factors_never_rise_after_the_peak(text: str, first: float, second: float) -> None:
    schedule = SCHEDULES.parse(text)
    peak = schedule.peak if isinstance(schedule, OneCycle) else 0.0
    early, late = sorted(max(progress, peak) for progress in (first, second))
    assert schedule.factor(peak) == 1
    assert schedule.factor(late) <= schedule.factor(early)


@pytest.mark.parametrize("text", EXAMPLES)
def test_text_and_value_are_each_others_inverse(text: str) -> None:
    schedule = SCHEDULES.parse(text)
    assert str(schedule) == text
    assert SCHEDULES.parse(str(schedule)) == schedule


def test_step_multiplies_at_each_milestone() -> None:
    schedule = Step((0.5, 0.75), gamma=0.5)
    assert SCHEDULES.parse("step:0.5,0.75,gamma=0.5") == schedule
    assert [schedule.factor(progress) for progress in (0, 0.499, 0.5, 0.74, 0.75, 1)] == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_cosine_is_that_of_torch() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for step in range(51):
        assert isclose(Cosine().factor(step / 50), theirs.get_last_lr()[0], abs_tol=1e-9)
        optimizer.step()
        theirs.step()


def test_one_cycle_is_that_of_torch() -> None:
    """Torch peaks one step before ``pct_start`` of its steps: 0.31 of 101 gives step 30.31 of 100."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=101, pct_start=0.31, cycle_momentum=False
    )
    ours = OneCycle((0.31 * 101 - 1) / 100)
    for step in range(101):
        assert isclose(ours.factor(step / 100), theirs.get_last_lr()[0], abs_tol=1e-9)
        if step < 100:
            optimizer.step()
            theirs.step()


@given(progress=PROGRESS, fraction=st.floats(0.01, 1), start=st.floats(0, 1))
def test_warm_up_rises_linearly_and_ends_at_1(progress: float, fraction: float, start: float) -> None:
    factor = warm_up(progress, fraction, start)
    assert start <= factor <= 1
    assert factor == 1 or progress < fraction
    assert warm_up(0, fraction, start) == start
    assert isclose(warm_up(fraction / 2, fraction, start), (1 + start) / 2)


@given(progress=PROGRESS)
def test_no_warm_up_is_no_change(progress: float) -> None:
    assert warm_up(progress, 0.0) == Constant().factor(progress) == 1


def test_scaling_rules() -> None:
    assert [lr_scale(rule, 16) for rule in get_args(LrScaling)] == [1, 16, 4]
    assert {lr_scale(rule, 1) for rule in get_args(LrScaling)} == {1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step", "needs milestones"),
        ("step:gamma=0.5", "needs milestones"),
        ("step:0.75,0.5", "milestones must rise between 0 and 1, such as 0.5,0.75, not '0.75,0.5'"),
        ("step:0.5,0.5", "milestones must rise"),
        ("step:0", "milestones must rise"),
        ("step:30,60", "not '30.0,60.0'"),
        ("step:0.5,gamma=0", "gamma must be above 0 and at most 1, not 0.0"),
        ("step:0.5,gamma=2", "gamma must be above 0 and at most 1, not 2.0"),
        ("one-cycle:1", "peak must lie between 0 and 1, not 1.0"),
        ("cosine:3", "it takes none"),
        ("linear", "unknown schedule 'linear': choose from constant, step:MILESTONES, cosine, one-cycle"),
    ],
)
def test_a_wrong_text_is_answered_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        SCHEDULES.parse(text)
    assert message in str(caught.value)
