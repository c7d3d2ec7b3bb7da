"""Where in the weights what stands: told from modules, against the named tensors of the module itself."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from manyhands.clusters.layout import Layout, Ranges
from manyhands.tasks.models import build


def resnet() -> nn.Module:
    return build("resnet18", (3, 8, 8), 10)


def lenet() -> nn.Module:
    return build("lenet5", (1, 28, 28), 10)


def mixed() -> nn.Module:
    """Norms of all kinds, a frozen layer, a buffer of whole numbers, and norms with nothing to learn."""
    model = nn.Sequential(
        nn.Linear(4, 6, bias=False),
        nn.LayerNorm(6),
        nn.GroupNorm(2, 6),
        nn.BatchNorm1d(6),
        nn.Linear(6, 6),
        nn.RMSNorm(6),
        nn.BatchNorm1d(6, affine=False),
        nn.Linear(6, 3),
    )
    model[4].requires_grad_(False)
    return model


def names(module: nn.Module) -> list[str]:
    """For each number of the weights the name of its tensor."""
    tensors = [pair for pair in module.named_parameters() if pair[1].requires_grad]
    tensors += [pair for pair in module.named_buffers() if pair[1].is_floating_point()]
    return [name for name, tensor in tensors for _ in range(tensor.numel())]


def named(module: nn.Module, ranges: Ranges) -> set[str]:
    at = names(module)
    return {at[place] for part in ranges for place in part}


@pytest.mark.parametrize("make", [resnet, lenet, mixed])
def test_sizes_and_shapes(make: Callable[[], nn.Module]) -> None:
    module = make()
    layout = Layout.of(module)
    assert layout.parameters + layout.buffers == len(names(module))
    assert layout.shapes == tuple(tuple(p.shape) for p in module.parameters() if p.requires_grad)
    with torch.device("meta"):
        assert Layout.of(make()) == layout
    assert hash(layout) == hash(Layout.of(make()))


def test_norms_and_linear_layers_by_name() -> None:
    module = resnet()
    layout = Layout.of(module)
    norms = named(module, layout.norms)
    assert norms == {
        name for name in names(module) if "norm" in name or "shortcut.1" in name
    }  # in a shortcut the norm is the second of two
    assert any("running_var" in name for name in norms)
    assert [named(module, linear) for linear in layout.linears] == [{"output.weight", "output.bias"}]
    assert Layout.of(lenet()).norms == ()
    assert [named(lenet(), linear) for linear in Layout.of(lenet()).linears] == [
        {f"{layer}.weight", f"{layer}.bias"} for layer in ("dense1", "dense2", "output")
    ]


def test_all_kinds_of_norms_and_nothing_frozen() -> None:
    module = mixed()
    layout = Layout.of(module)
    affine = {f"{place}.{kind}" for place in (1, 2, 3) for kind in ("weight", "bias")} | {"5.weight"}
    statistics = {f"{place}.running_{kind}" for place in (3, 6) for kind in ("mean", "var")}
    assert named(module, layout.norms) == affine | statistics
    assert [named(module, linear) for linear in layout.linears] == [{"0.weight"}, set(), {"7.weight", "7.bias"}]
    assert named(module, layout.variances) == {"3.running_var", "6.running_var"}
    assert Layout.of(lenet()).variances == ()


@st.composite
def parts(draw: st.DrawFn) -> tuple[Layout, Ranges]:
    """Some places of up to twenty numbers."""
    size = draw(st.integers(1, 20))
    ends = sorted(draw(st.sets(st.integers(0, size))))
    ranges = tuple(range(start, stop) for start, stop in zip(ends[::2], ends[1::2], strict=False))
    buffers = draw(st.integers(0, size))
    return Layout(parameters=size - buffers, buffers=buffers), ranges


@settings(derandomize=True, deadline=None)
@given(parts())
def test_parts_and_the_rest_make_the_whole(case: tuple[Layout, Ranges]) -> None:
    layout, ranges = case
    weights = torch.arange(float(layout.parameters + layout.buffers))
    others = layout.others(ranges)
    assert sorted(place for part in (*ranges, *others) for place in part) == list(range(len(weights)))
    assert layout.mask(ranges).nonzero().flatten().tolist() == [place for part in ranges for place in part]
    taken = layout.take(weights, ranges)
    assert taken.equal(weights[layout.mask(ranges)]), "in the same order"
    target = torch.zeros(len(weights))
    layout.put(target, ranges, taken)
    layout.put(target, others, layout.take(weights, others))
    assert target.equal(weights)
    taken += 1
    assert weights.equal(torch.arange(float(len(weights)))), "a copy"
