"""How far steps go: by the closed forms of the papers, and by the optimiser itself."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.training.objective import Objective
from manyhands.training.optimizer import SGD, AdamW, Optimizer
from manyhands.training.reach import reach

STEPS = st.integers(0, 60)
SHARE = st.floats(0.01, 0.99)


def test_plain_steps_are_counted() -> None:
    assert reach(SGD(), 7) == 7
    assert reach(SGD(weight_decay=0.1), 7) == 7
    assert reach(AdamW(), 7) == 7


@settings(derandomize=True, deadline=None)
@given(STEPS, SHARE)
def test_momentum_is_the_closed_form_of_fednova(steps: int, rho: float) -> None:
    """https://arxiv.org/abs/2007.07481, section 4.1."""
    expected = (steps - rho * (1 - rho**steps) / (1 - rho)) / (1 - rho)
    assert reach(SGD(momentum=rho), steps) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(derandomize=True, deadline=None)
@given(STEPS, SHARE)
def test_a_proximal_pull_is_the_closed_form_of_fednova(steps: int, shrink: float) -> None:
    assert reach(SGD(), steps, shrink) == pytest.approx((1 - (1 - shrink) ** steps) / shrink, rel=1e-9)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(STEPS, st.floats(0, 0.95), st.booleans(), st.floats(0, 0.5))
def test_it_is_how_far_the_optimiser_goes(steps: int, momentum: float, nesterov: bool, pull: float) -> None:
    """Gradients of 1 at a learning rate of 0.2, pulled back to where they began."""
    optimizer, lr = SGD(momentum=momentum, nesterov=nesterov and momentum > 0), 0.2
    weights, anchor = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    state = optimizer.init(weights)
    for _ in range(steps):
        gradient = torch.ones(1, dtype=torch.float64)
        Objective(pull, anchor).add_gradient(gradient, weights)
        optimizer.step(weights, gradient, state, lr)
    assert reach(optimizer, steps, lr * pull) == pytest.approx(-float(weights) / lr, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("optimizer", [SGD(), SGD(momentum=0.9), SGD(momentum=0.9, nesterov=True), AdamW()])
def test_more_steps_go_further(optimizer: Optimizer) -> None:
    distances = [reach(optimizer, steps) for steps in range(20)]
    assert distances[0] == 0
    assert distances == sorted(set(distances))
