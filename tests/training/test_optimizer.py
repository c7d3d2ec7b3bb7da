from math import prod
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from manyhands.errors import UserError
from manyhands.tasks.models import build
from manyhands.training.optimizer import LAMB, LARS, OPTIMIZERS, SGD, AdamW, Optimizer, decay_mask

SHAPES = ((7, 3), (7,), (2, 2, 3, 3), (2,), ())
ADAPTED = [slice(0, 21), slice(28, 64)]
"""the parts of a vector with these shapes that are weights, and no biases or norms"""
LAYERWISE = [name for name, kind in OPTIMIZERS.items() if kind.layerwise]

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


def tensors(seed: int, shapes: tuple[tuple[int, ...], ...] = SHAPES) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def flat(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.flatten() for part in parts])


def steps(optimizer: Optimizer, start: list[Tensor], gradients: list[list[Tensor]], lr: float) -> Tensor:
    """Where the optimiser comes from ``start`` by steps with these gradients."""
    parameters, state = flat(start), optimizer.init(flat(start))
    shapes = tuple(tuple(part.shape) for part in start)
    mask = flat([torch.full(shape, float(len(shape) > 1)) for shape in shapes])
    for gradient in gradients:
        vector = flat(gradient)
        kept = vector.clone()
        optimizer.step(parameters, vector, state, lr, mask if optimizer.needs_decay_mask else None, shapes)
        assert torch.equal(vector, kept), "the gradient must be left as it is"
    return parameters


def near(found: Tensor, expected: Tensor) -> bool:
    return float((found - expected).norm()) <= 1e-6 * float(expected.norm())


def clipped(gradient: list[Tensor], clip_norm: float | None) -> list[Tensor]:
    norm = flat(gradient).norm()
    return [part * min(1.0, float(clip_norm / (norm + 1e-6))) if clip_norm else part for part in gradient]


ADAM_OPTIONS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "beta1": st.sampled_from([0.0, 0.9]),
        "beta2": st.sampled_from([0.5, 0.999]),
        "epsilon": st.sampled_from([1e-8, 1e-3]),
        "weight_decay": st.sampled_from([0.0, 0.01, 0.5]),
        "clip_norm": st.sampled_from([None, 0.5, 1e3]),
    }
)


@given(options=ADAM_OPTIONS, spared=st.booleans(), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_adamw_is_that_of_torch(options: dict[str, Any], spared: bool, seed: int) -> None:
    start, gradients = tensors(seed), [tensors(seed + 1000 * step) for step in range(1, 21)]
    ours = steps(AdamW(decay_norms_and_biases=not spared, **options), start, gradients, 0.01)
    parameters = [nn.Parameter(part.clone()) for part in start]
    theirs = torch.optim.AdamW(
        [
            {"params": [p], "weight_decay": 0.0 if spared and p.ndim < 2 else options["weight_decay"]}
            for p in parameters
        ],
        lr=0.01,
        betas=(options["beta1"], options["beta2"]),
        eps=options["epsilon"],
        foreach=False,
    )
    for gradient in gradients:
        for parameter, part in zip(parameters, clipped(gradient, options["clip_norm"]), strict=True):
            parameter.grad = part
        theirs.step()
    assert near(ours, flat([parameter.detach() for parameter in parameters]))


@given(
    momentum=st.sampled_from([0.0, 0.9]),
    weight_decay=st.sampled_from([0.0, 5e-4, 0.1]),
    trust=st.sampled_from([0.001, 0.1]),
    clip_norm=st.sampled_from([None, 0.5]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_lars_is_as_written_for_each_tensor(
    momentum: float, weight_decay: float, trust: float, clip_norm: float | None, seed: int
) -> None:
    """You et al. 2017, algorithm 1, with the learning rate outside the momentum, and norms and biases left to SGD."""
    start, gradients = tensors(seed), [tensors(seed + 1000 * step) for step in range(1, 21)]
    optimizer = LARS(momentum=momentum, weight_decay=weight_decay, trust=trust, clip_norm=clip_norm)
    ours = steps(optimizer, start, gradients, 0.3)
    weights, velocities = [part.clone() for part in start], [torch.zeros_like(part) for part in start]
    for whole in gradients:
        for w, m, g in zip(weights, velocities, clipped(whole, clip_norm), strict=True):
            update = g
            if w.ndim > 1:
                rate = trust * w.norm() / (g.norm() + weight_decay * w.norm())
                update = rate * (g + weight_decay * w)
            m.copy_(momentum * m + update)
            w.sub_(0.3 * m)
    assert near(ours, flat(weights))


@given(options=ADAM_OPTIONS, seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_lamb_is_as_written_for_each_tensor(options: dict[str, Any], seed: int) -> None:
    """You et al. 2020, algorithm 2, with norms and biases left to Adam."""
    start, gradients = tensors(seed), [tensors(seed + 1000 * step) for step in range(1, 21)]
    ours = steps(LAMB(**options), start, gradients, 0.02)
    beta1, beta2 = options["beta1"], options["beta2"]
    weights = [part.double() for part in start]
    moments = [(torch.zeros_like(w), torch.zeros_like(w)) for w in weights]
    for step, whole in enumerate(gradients, 1):
        for w, (m, v), g in zip(weights, moments, clipped(whole, options["clip_norm"]), strict=True):
            m.copy_(beta1 * m + (1 - beta1) * g.double())
            v.copy_(beta2 * v + (1 - beta2) * g.double() ** 2)
            update = (m / (1 - beta1**step)) / ((v / (1 - beta2**step)).sqrt() + options["epsilon"])
            if w.ndim > 1:
                update = update + options["weight_decay"] * w
                update = update * w.norm() / update.norm()
            w.sub_(0.02 * update)
    assert near(ours, flat(weights).float())


@pytest.mark.parametrize("name", LAYERWISE)
def test_the_step_of_a_layer_is_as_long_as_its_weights_whatever_the_gradient(name: str) -> None:
    start = tensors(0)
    small, large = (
        flat(start) - steps(OPTIMIZERS[name](weight_decay=0), start, [[factor * part for part in tensors(1)]], 1.0)
        for factor in (1e2, 1e6)
    )
    for part in ADAPTED:
        assert float(small[part].norm()) > 0
        torch.testing.assert_close(small[part].norm(), large[part].norm(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", LAYERWISE)
@pytest.mark.parametrize("nothing", ["weights", "gradient"])
def test_layers_without_length_take_plain_steps(name: str, nothing: str) -> None:
    """New layers may start at zero; gradients of dead ones are zero."""
    start, gradient = tensors(0), tensors(1)
    zeros = [torch.zeros_like(part) for part in start]
    moved = steps(OPTIMIZERS[name](), *((zeros, [gradient]) if nothing == "weights" else (start, [zeros])), 0.01)
    assert moved.isfinite().all()
    assert bool(moved.any())


@pytest.mark.parametrize("name", LAYERWISE)
def test_shapes_of_another_model_are_a_defect(name: str) -> None:
    parameters = torch.ones(5)
    with pytest.raises(AssertionError, match="shapes"):
        OPTIMIZERS[name]().step(parameters, parameters.clone(), {}, 0.1, shapes=((2, 2),))


@pytest.mark.parametrize(
    "optimizer", [kind(**clip) for kind in OPTIMIZERS.values() for clip in ({}, {"clip_norm": 0.5})], ids=str
)
def test_elementwise_optimizers_and_no_others_may_work_on_parts(optimizer: Optimizer) -> None:
    shapes = ((4, 3), (3, 4))
    start, gradients = tensors(0, shapes), [tensors(1, shapes), tensors(2, shapes)]
    whole = steps(optimizer, start, gradients, 0.1)
    halves = [steps(optimizer, [start[i]], [[gradient[i]] for gradient in gradients], 0.1) for i in (0, 1)]
    assert optimizer.elementwise == (optimizer.clip_norm is None and not optimizer.layerwise)
    if optimizer.elementwise:
        assert near(torch.cat(halves), whole)
    elif optimizer.name == "sgd":
        assert not torch.allclose(whole, torch.cat(halves), rtol=1e-3)


@pytest.mark.parametrize(
    "optimizer", [*(kind() for kind in OPTIMIZERS.values()), SGD(momentum=0.9, clip_norm=1.0)], ids=str
)
def test_shapes_without_values_are_enough(optimizer: Optimizer) -> None:
    size = sum(map(prod, SHAPES))
    parameters = torch.zeros(size, device="meta")
    state = optimizer.init(parameters)
    optimizer.step(parameters, torch.ones(size, device="meta"), state, 0.1, None, SHAPES)
    assert all(value.is_meta for value in state.values())
    assert {name: value.shape for name, value in state.items()} == {
        name: value.shape for name, value in optimizer.init(torch.zeros(size)).items()
    }


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_is_all_that_a_stopped_training_needs(name: str) -> None:
    optimizer, start = OPTIMIZERS[name](), tensors(0)
    gradients = [flat(tensors(step)) for step in range(1, 7)]
    whole, stopped = flat(start), flat(start)
    state = optimizer.init(whole)
    for gradient in gradients:
        optimizer.step(whole, gradient, state, 0.1, None, SHAPES)
    kept = optimizer.init(stopped)
    for gradient in gradients:
        kept = {key: value.clone() for key, value in kept.items()}
        optimizer.step(stopped, gradient, kept, 0.1, None, SHAPES)
    assert torch.equal(whole, stopped)


@pytest.mark.parametrize("name", sorted(set(OPTIMIZERS) - set(LAYERWISE)))
def test_the_number_of_threads_changes_no_bit(name: str) -> None:
    shapes = ((301, 703), (703,))
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            results.append(steps(OPTIMIZERS[name](), tensors(0, shapes), [tensors(1, shapes)], 0.1))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(result, results[0]) for result in results)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_training_with_the_defaults_comes_down(name: str) -> None:
    optimizer = OPTIMIZERS[name]()
    parameters, goal = flat(tensors(0)), flat(tensors(1))
    state, before = optimizer.init(parameters), float((parameters - goal).norm())
    for _ in range(200):
        optimizer.step(parameters, 0.1 * (parameters - goal), state, optimizer.default_lr, None, SHAPES)
    assert float((parameters - goal).norm()) < 0.95 * before


@pytest.mark.parametrize(
    ("optimizer", "text"),
    [
        (SGD(), "sgd"),
        (SGD(momentum=0.9, nesterov=True), "sgd:momentum=0.9,nesterov=True"),
        (LARS(trust=0.02), "lars:trust=0.02"),
    ],
)
def test_it_is_written_as_its_name_and_what_differs(optimizer: Optimizer, text: str) -> None:
    assert str(optimizer) == text


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
    ("kind", "options", "message"),
    [
        (SGD, {"momentum": -0.1}, "momentum must be at least 0 and below 1, not -0.1"),
        (SGD, {"momentum": 1.0}, "momentum must be at least 0 and below 1, not 1.0"),
        (SGD, {"momentum": float("nan")}, "momentum must be"),
        (SGD, {"nesterov": True}, "nesterov needs a momentum above 0"),
        (SGD, {"weight_decay": -1e-4}, "weight decay must be at least 0, not -0.0001"),
        (SGD, {"weight_decay": float("inf")}, "weight decay must be"),
        *((kind, {"clip_norm": 0.0}, "clip norm must be above 0, not 0.0") for kind in OPTIMIZERS.values()),
        *((kind, {"weight_decay": -1.0}, "weight decay must be") for kind in OPTIMIZERS.values()),
        *((kind, {"beta1": 1.0}, "beta1 must be at least 0 and below 1, not 1.0") for kind in (AdamW, LAMB)),
        *((kind, {"beta2": -0.1}, "beta2 must be at least 0") for kind in (AdamW, LAMB)),
        *((kind, {"epsilon": 0.0}, "epsilon must be above 0 and finite, not 0.0") for kind in (AdamW, LAMB)),
        (LARS, {"momentum": 1.0}, "momentum must be"),
        (LARS, {"trust": 0.0}, "trust must be above 0 and finite, not 0.0"),
    ],
)
def test_a_wrong_option_is_named(kind: type[Optimizer], options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        kind(**options)
