"""Masks hide every reply and leave the sum."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from manyhands.clusters.simulated.blank import blank
from manyhands.privacy import SecureAggregation

repeatable = settings(derandomize=True, deadline=None, max_examples=40)


def replies(seed: int, clients: int, size: int = 12, scale: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(size, generator=generator) for _ in range(clients)]


def hidden(masks: SecureAggregation, vectors: list[Tensor], weights: list[float]) -> list[Tensor]:
    return [
        masks.hide(rank, vector.split([5, len(vector) - 5]), weight)
        for rank, vector, weight in zip(masks.clients, vectors, weights, strict=True)
    ]


def mean_of(vectors: list[Tensor], weights: list[float]) -> Tensor:
    weighted = [vector.double() * weight for vector, weight in zip(vectors, weights, strict=True)]
    return sum(weighted, torch.zeros(len(vectors[0])).double()) / sum(weights)


@repeatable
@given(
    seed=st.integers(0, 10**6),
    weights=st.lists(st.integers(1, 60_000).map(float), min_size=2, max_size=9),
    scale=st.sampled_from([1e-3, 1.0, 100.0]),
)
def test_the_masks_cancel(seed: int, weights: list[float], scale: float) -> None:
    clients = tuple(range(3, 3 + len(weights)))
    vectors = replies(seed, len(weights), scale=scale)
    masks = SecureAggregation(seed, 4, clients)
    parts = SecureAggregation.reveal(hidden(masks, vectors, weights), [5, 7])
    assert [part.dtype for part in parts] == [torch.float32] * 2
    assert [len(part) for part in parts] == [5, 7]
    expected = mean_of(vectors, weights)
    assert float((torch.cat(list(parts)).double() - expected).norm() / expected.norm()) <= 1e-6


def test_they_cancel_to_the_last_bit() -> None:
    """The sum of what is sent is the sum of what is meant, as whole numbers."""
    masks, vectors = SecureAggregation(1, 0, (0, 1, 2, 5)), replies(2, 4)
    alone = [SecureAggregation(1, 0, (rank,)).hide(rank, [vector], 3.0) for rank, vector in enumerate(vectors)]
    masked = [masks.hide(rank, [vector], 3.0) for rank, vector in zip(masks.clients, vectors, strict=True)]
    assert torch.equal(torch.stack(masked).sum(0), torch.stack(alone).sum(0))
    assert not any(torch.equal(one, other) for one, other in zip(masked, alone, strict=True))


def test_what_a_client_sends_tells_nothing_of_its_reply() -> None:
    """All 64 bits are as good as random: half of each are set, whatever the reply is."""
    masks, zeros = SecureAggregation(7, 0, (0, 1, 2)), torch.zeros(20_000)
    for rank in masks.clients:
        sent = masks.hide(rank, [zeros], 1.0)
        for bit in range(64):
            assert float(((sent >> bit) & 1).double().mean()) == pytest.approx(0.5, abs=0.02)
    one, other = masks.hide(0, [zeros], 1.0), masks.hide(0, [zeros + 1], 1.0)
    assert torch.equal(other[:-1] - one[:-1], torch.full((20_000,), 2**32))  # for who has the seed


def test_while_one_is_missing_the_sum_stays_masked() -> None:
    masks = SecureAggregation(7, 0, (0, 1, 2))
    sent = hidden(masks, replies(1, 3), [1.0] * 3)
    expected = mean_of(replies(1, 3)[:2], [1.0] * 2)
    (revealed,) = SecureAggregation.reveal(sent[:2], [12])
    assert float((revealed.double() - expected).norm()) > 1e-2 * float(expected.norm())


def test_each_round_seed_and_pair_has_masks_of_its_own() -> None:
    def mask(seed: int, number: int, other: int) -> tuple[int, ...]:
        return tuple(SecureAggregation(seed, number, (0, other)).hide(0, [torch.zeros(5)], 1.0).tolist())

    keys = [(1, 0, 1), (1, 1, 1), (2, 0, 1), (1, 0, 2)]
    assert len({mask(*key) for key in keys}) == len(keys)
    assert mask(1, 0, 1) == mask(1, 0, 1)


@pytest.mark.parametrize("wild", [float("inf"), -float("inf"), float("nan"), 1e30])
def test_wild_numbers_stay_in_their_own_coordinate(wild: float) -> None:
    """They are cut to the range, so that no sum overflows."""
    vectors = replies(3, 4)
    vectors[1][2] = wild
    (revealed,) = SecureAggregation.reveal(hidden(SecureAggregation(1, 0, (0, 1, 2, 3)), vectors, [5.0] * 4), [12])
    clean = [vector.clone() for vector in vectors]
    clean[1][2] = 0.0
    others = torch.arange(12) != 2
    assert torch.allclose(revealed[others].double(), mean_of(clean, [5.0] * 4)[others], rtol=1e-6)
    assert revealed[2].isfinite()
    assert wild != wild or abs(float(revealed[2])) <= 1 or float(revealed[2].sign()) == (1 if wild > 0 else -1)


def test_clients_know_each_other_from_the_roll() -> None:
    masks = SecureAggregation(9, 3, (1, 4, 6))
    assert masks.roll().dtype == torch.int64
    assert SecureAggregation.of(masks.roll(), 9, 3) == masks


@pytest.mark.parametrize("valueless", [lambda like: like.to("meta"), blank], ids=["meta", "blank"])
def test_replies_without_values_are_as_long(valueless: object) -> None:
    assert callable(valueless)
    masks, vectors = SecureAggregation(1, 0, (0, 1, 2)), replies(1, 3)
    real = hidden(masks, vectors, [1.0] * 3)
    empty = [masks.hide(rank, [valueless(part) for part in vectors[rank].split([5, 7])], 1.0) for rank in range(3)]
    assert all(sent.is_meta for sent in empty)
    assert [(sent.shape, sent.dtype, sent.nbytes) for sent in empty] == [
        (sent.shape, sent.dtype, sent.nbytes) for sent in real
    ]
    parts = SecureAggregation.reveal(empty, [5, 7])
    assert [(part.shape, part.dtype, part.is_meta) for part in parts] == [
        ((5,), torch.float32, True),
        ((7,), torch.float32, True),
    ]
