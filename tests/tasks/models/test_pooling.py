import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from manyhands.tasks.models.pooling import max_pool_2x2


@given(
    batch=st.integers(1, 4),
    channels=st.integers(1, 5),
    height=st.integers(2, 9),
    width=st.integers(2, 9),
    seed=st.integers(0, 999),
)
def test_equals_that_of_torch(batch: int, channels: int, height: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch, channels, height, width, generator=generator)
    gradient = torch.randn(batch, channels, height // 2, width // 2, generator=generator)
    results = []
    for pool in (max_pool_2x2, lambda x: F.max_pool2d(x, 2)):
        x = images.clone().requires_grad_()
        pooled = pool(x)
        pooled.backward(gradient)
        results.append((pooled.detach(), x.grad))
    (ours, our_gradient), (theirs, their_gradient) = results
    assert torch.equal(ours, theirs)
    assert torch.equal(our_gradient, their_gradient)


def test_a_window_with_equal_values_passes_its_gradient_on_once() -> None:
    images = torch.zeros(1, 1, 2, 2, requires_grad=True)
    max_pool_2x2(images).backward(torch.tensor([[[[3.0]]]]))
    assert images.grad is not None
    assert sorted(images.grad.flatten().tolist()) == [0, 0, 0, 3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_keeps_the_type(dtype: torch.dtype) -> None:
    assert max_pool_2x2(torch.randn(2, 3, 4, 4).to(dtype)).dtype == dtype


def test_other_layouts_are_left_to_torch() -> None:
    images = torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    assert torch.equal(max_pool_2x2(images), F.max_pool2d(images, 2))
