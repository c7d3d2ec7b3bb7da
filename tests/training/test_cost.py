import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from manyhands.tasks.models import build
from manyhands.training.cost import buckets, measure_cost

MIB = 2**20


def test_a_dense_layer_multiplies_and_adds_each_weight_once() -> None:
    cost = measure_cost(nn.Linear(10, 3), torch.zeros(1, 10))
    assert cost.forward_flops == 2 * 10 * 3
    assert cost.ready == ((3, 1.0), (30, 1.0))


def test_lenet5_by_hand() -> None:
    """conv 28² x 6 x 25, conv 10² x 16 x 150, then 400 x 120, 120 x 84 and 84 x 10."""
    cost = measure_cost(build("lenet5", (1, 28, 28), 10), torch.zeros(1, 1, 28, 28))
    layers = [28 * 28 * 6 * 25, 100 * 16 * 150, 400 * 120, 120 * 84, 84 * 10]
    assert cost.forward_flops == 2 * sum(layers)
    assert [numbers for numbers, _ in cost.ready] == [10, 840, 84, 10080, 120, 48000, 16, 2400, 6, 150]
    done = [2 * sum(layers[i:]) / cost.forward_flops for i in (4, 3, 2, 1, 0)]
    assert [share for _, share in cost.ready[1::2]] == pytest.approx(done)


@pytest.mark.parametrize("model", ["logistic", "mlp", "cnn", "lenet5", "resnet18", "resnet50"])
def test_it_counts_what_torch_counts(model: str) -> None:
    example = torch.zeros(1, 3, 32, 32)
    module = build(model, (3, 32, 32), 10).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(example)
    assert measure_cost(module, example).forward_flops == counter.get_total_flops()


def test_every_trainable_number_is_ready_at_the_end_and_none_before_its_layer() -> None:
    module = build("resnet18", (3, 32, 32), 10)
    cost = measure_cost(module, torch.zeros(1, 3, 32, 32))
    assert sum(numbers for numbers, _ in cost.ready) == sum(p.numel() for p in module.parameters())
    shares = [share for _, share in cost.ready]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_frozen_parameters_cost_time_but_have_no_gradient() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    module[0].requires_grad_(False)
    cost = measure_cost(module, torch.zeros(1, 4))
    assert cost.forward_flops == 64
    assert cost.ready == ((4, 0.5), (16, 0.5))


def test_a_layer_used_twice_counts_twice() -> None:
    layer = nn.Linear(4, 4)
    assert measure_cost(nn.Sequential(layer, nn.ReLU(), layer), torch.zeros(1, 4)).forward_flops == 64


def test_a_layer_with_several_outputs_is_no_trouble() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.GRU(3, 5, batch_first=True), nn.Linear(5, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.head(self.layer(inputs)[0][:, -1])  # type: ignore[no-any-return]

    cost = measure_cost(Recurrent(), torch.zeros(1, 7, 3))
    assert cost.forward_flops > 2 * 5 * 2


def test_the_module_is_left_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4))
    module[2].eval()  # frozen for good
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    measure_cost(module, torch.ones(1, 4))
    assert [part.training for part in module] == [True, True, False]
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert not any(part._forward_hooks for part in module.modules())


def test_a_model_without_operations_is_ready_at_the_end() -> None:
    cost = measure_cost(nn.BatchNorm1d(4), torch.zeros(1, 4))
    assert cost.forward_flops == 0
    assert {share for _, share in cost.ready} == {1.0}


def test_the_first_bucket_is_small_and_closed_when_full() -> None:
    quarter = MIB // 16  # numbers of a quarter of a MiB
    ready = tuple((quarter, (i + 1) / 10) for i in range(10))
    assert buckets(ready) == [(MIB, 0.4), (6 * MIB // 4, 1.0)]


@settings(derandomize=True, deadline=None)
@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=50))
def test_buckets_hold_all_gradients_in_order(sizes: list[int]) -> None:
    ready = tuple((size, (i + 1) / len(sizes)) for i, size in enumerate(sizes))
    packed = buckets(ready, first=4_000, size=20_000)
    assert sum(size for size, _ in packed) == 4 * sum(sizes)
    assert [share for _, share in packed] == sorted({share for _, share in packed})
    assert packed[-1][1] == 1.0
    assert all(size >= (20_000 if place else 4_000) for place, (size, _) in enumerate(packed[:-1]))
