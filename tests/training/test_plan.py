import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.training.plan import Plan
from manyhands.training.schedule import SCHEDULES, Constant, Cosine


def plan(**options: object) -> Plan:
    return Plan(**({"total": 10, "steps_per_epoch": 5, "lr": 0.4, "schedule": Constant()} | options))  # type: ignore[arg-type]


def test_without_a_schedule_the_rate_stands_still() -> None:
    assert {plan().lr_at(progress / 10) for progress in range(11)} == {0.4}


def test_the_schedule_scales_the_rate() -> None:
    rates = [plan(schedule=Cosine()).lr_at(progress) for progress in (0, 0.5, 1)]
    assert rates == pytest.approx([0.4, 0.2, 0.0])


def test_warming_up_starts_where_one_worker_would() -> None:
    """Eight workers: from the rate of one to that of all (Goyal et al. 2017, section 2.2)."""
    rates = [plan(lr=0.8, warm_up=0.5, warm_up_start=1 / 8).lr_at(progress) for progress in (0, 0.25, 0.5, 1)]
    assert rates == pytest.approx([0.1, 0.45, 0.8, 0.8])


@settings(derandomize=True)
@given(
    st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.sampled_from(["constant", "cosine", "step:0.5", "one-cycle"])
)
def test_the_rate_is_never_above_its_peak_nor_negative(
    progress: float, warm_up: float, start: float, text: str
) -> None:
    rate = plan(schedule=SCHEDULES.parse(text), warm_up=warm_up, warm_up_start=start).lr_at(progress)
    assert 0 <= rate <= 0.4 * (1 + 1e-9)
