import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.errors import UserError
from manyhands.training.loss import CrossEntropy


@given(smoothing=st.floats(0, 1), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_one_hot_targets_give_the_same_loss_and_gradient(smoothing: float, seed: int) -> None:
    torch.manual_seed(seed)
    logits, targets = 3 * torch.randn(8, 5), torch.randint(5, (8,))
    results = []
    for one_hot in (False, True):
        leaf = logits.clone().requires_grad_()
        loss = CrossEntropy(label_smoothing=smoothing, one_hot=one_hot)(leaf, targets)
        results.append((loss.detach(), *torch.autograd.grad(loss, leaf)))
    for plain, one_hot_result in zip(*results, strict=True):
        torch.testing.assert_close(plain, one_hot_result, rtol=1e-5, atol=1e-6)


@given(smoothing=st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_label_smoothing_is_cross_entropy_with_the_mixed_distribution(smoothing: float) -> None:
    logits, targets = torch.randn(8, 5, dtype=torch.float64), torch.randint(5, (8,))
    mixed = (1 - smoothing) * F.one_hot(targets, 5) + smoothing / 5
    expected = -(mixed * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(CrossEntropy(label_smoothing=smoothing)(logits, targets), expected)


def test_loss_is_at_least_float32() -> None:
    logits, targets = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    rounded = logits.bfloat16()
    for one_hot in (False, True):
        loss = CrossEntropy(one_hot=one_hot)
        assert loss(logits.double(), targets).dtype == torch.float64
        assert loss(rounded, targets).dtype == torch.float32
        assert torch.equal(loss(rounded, targets), loss(rounded.float(), targets))


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, float("nan")])
def test_smoothing_outside_its_range_is_refused(smoothing: float) -> None:
    with pytest.raises(UserError, match="label smoothing must lie between 0 and 1, not"):
        CrossEntropy(label_smoothing=smoothing)
