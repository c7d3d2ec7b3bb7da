import pytest
import torch

from manyhands.tasks.models.dropout import Dropout


@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_drops_that_share_and_keeps_the_mean(rate: float) -> None:
    module = Dropout(rate)
    module.seed = 0
    dropped = module(torch.ones(100_000))
    kept = dropped[dropped != 0]
    assert torch.allclose(kept, torch.tensor(1 / (1 - rate)))
    assert 1 - len(kept) / 100_000 == pytest.approx(rate, abs=0.01)  # six standard deviations


def test_its_mask_depends_on_the_seed_alone() -> None:
    module, x = Dropout(0.5), torch.ones(64)
    masks = []
    for seed in (1, 2, 1):
        module.seed = seed
        torch.rand(seed)  # what else is drawn must not matter
        masks.append(module(x))
    assert torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[0], masks[1])


def test_a_seed_leaves_torchs_generator_alone() -> None:
    module = Dropout(0.5)
    module.seed = 3
    before = torch.get_rng_state()
    module(torch.ones(5))
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_seed_torchs_generator_decides() -> None:
    module, x = Dropout(0.5), torch.ones(64)
    masks = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        masks.append(module(x))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_gradients_pass_where_numbers_do() -> None:
    module, x = Dropout(0.25), torch.ones(64, requires_grad=True)
    module.seed = 5
    y = module(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


def test_an_evaluation_drops_nothing() -> None:
    x = torch.randn(64)
    assert torch.equal(Dropout(0.5).eval()(x), x)
