from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from manyhands.errors import UserError
from manyhands.tasks.models import build
from manyhands.training.optimizer import SGD, decay_mask

OPTIONS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "momentum": st.sampled_from([0.0, 0.5, 0.9]),
        "nesterov": st.booleans(),
        "weight_decay": st.sampled_from([0.0, 5e-4, 0.1]),
        "decay_norms_and_biases": st.booleans(),
        "clip_norm": st.sampled_from([None, 0.5, 4.0, 1e3]),
    }
).map(lambda options: options | {"nesterov": options["nesterov"] and bool(options["momentum"])})


@given(options=OPTIONS, seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_twenty_steps_equal_those_of_torch(options: dict[str, Any], seed: int) -> None:
    sgd = SGD(**options)
    torch.manual_seed(seed)
    weight, bias = nn.Parameter(torch.randn(7, 3)), nn.Parameter(torch.randn(7))
    groups: list[dict[str, Any]] = [{"params": [weight]}, {"params": [bias]}]
    if not sgd.decay_norms_and_biases:
        groups[1]["weight_decay"] = 0.0
    theirs = torch.optim.SGD(
        groups,
        lr=1.0,
        momentum=sgd.momentum,
        nesterov=sgd.nesterov,
        weight_decay=sgd.weight_decay,
    )
    parameters = torch.cat([weight.detach().flatten(), bias.detach()])
    mask = torch.cat([torch.ones(21), torch.zeros(7)]) if sgd.needs_decay_mask else None
    state = sgd.init(parameters)
    for step in range(20):
        lr = 0.2 / (1 + step)
        gradient = torch.randn(28)
        given_gradient = gradient.clone()
        sgd.step(parameters, gradient, state, lr, mask)
        assert torch.equal(gradient, given_gradient)

        weight.grad, bias.grad = given_gradient[:21].view(7, 3), given_gradient[21:]
        if sgd.clip_norm is not None:
            nn.utils.clip_grad_norm_([weight, bias], sgd.clip_norm)
        for group in theirs.param_groups:
            group["lr"] = lr
        theirs.step()
    expected = torch.cat([weight.detach().flatten(), bias.detach()])
    assert (parameters - expected).norm() <= 1e-6 * expected.norm()


def test_state_is_one_vector_of_momentum_or_none() -> None:
    parameters = torch.randn(5)
    assert SGD().init(parameters) == {}
    state = SGD(momentum=0.9).init(parameters)
    assert list(state) == ["momentum"]
    assert torch.equal(state["momentum"], torch.zeros(5))


def test_parameters_may_be_a_view_that_autograd_watches() -> None:
    weights = torch.ones(6)
    parameters = nn.Parameter(weights[:4])
    SGD(weight_decay=0.5).step(parameters, torch.ones(4), {}, 0.1)
    torch.testing.assert_close(weights, torch.tensor([0.85] * 4 + [1.0] * 2))


def test_clipping_a_zero_gradient_changes_nothing() -> None:
    parameters = torch.ones(3)
    SGD(clip_norm=1.0).step(parameters, torch.zeros(3), {}, 0.1)
    assert torch.equal(parameters, torch.ones(3))


def test_decay_mask_spares_norms_and_biases() -> None:
    module = build("resnet18", (3, 8, 8), 10, width=4)
    norms_and_biases = {
        id(parameter)
        for part in module.modules()
        for name, parameter in part.named_parameters(recurse=False)
        if isinstance(part, nn.BatchNorm2d) or name == "bias"
    }
    expected = [torch.full((p.numel(),), float(id(p) not in norms_and_biases)) for p in module.parameters()]
    assert torch.equal(decay_mask(module), torch.cat(expected))


def test_decay_mask_covers_the_trainable_parameters_only() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    module[0].weight.requires_grad_(False)
    assert decay_mask(module).tolist() == [0, 0, 1, 1, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": -0.1}, "momentum must be at least 0 and below 1, not -0.1"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1, not 1.0"),
        ({"momentum": float("nan")}, "momentum must be"),
        ({"nesterov": True}, "nesterov needs a momentum above 0"),
        ({"weight_decay": -1e-4}, "weight decay must be at least 0, not -0.0001"),
        ({"weight_decay": float("inf")}, "weight decay must be"),
        ({"clip_norm": 0.0}, "clip norm must be above 0, not 0.0"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SGD(**options)
