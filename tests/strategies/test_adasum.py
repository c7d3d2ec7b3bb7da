"""Adasum as it is written, on channels in memory."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from crowd import Peer, crowd, meet
from manyhands.strategies.adasum import adasum, combine

everywhere_the_same = settings(derandomize=True, deadline=None)
SHAPES = ((3, 2), (4,), (1, 5))
SIZES = [6, 4, 5]


def adasums(
    given: list[Tensor], shapes: tuple[tuple[int, ...], ...] = SHAPES, order: int = 0
) -> tuple[list[Tensor], list[Peer]]:
    peers = crowd(len(given))
    for peer in peers:
        peer.layout = SimpleNamespace(shapes=shapes)
    return meet(lambda node: adasum(node, given[node.rank]), peers, order), peers


def gradients(workers: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(sum(SIZES), generator=generator) for _ in range(workers)]


def pairwise(a: Tensor, b: Tensor) -> Tensor:
    """The paper's equation, layer by layer."""
    parts = []
    for x, y in zip(a.double().split(SIZES), b.double().split(SIZES), strict=True):
        parts.append((1 - x @ y / (2 * x @ x)) * x + (1 - x @ y / (2 * y @ y)) * y)
    return torch.cat(parts)


def reference(given: list[Tensor]) -> Tensor:
    while len(given) > 1:
        given = [pairwise(given[place], given[place + 1]) for place in range(0, len(given), 2)]
    return given[0]


@everywhere_the_same
@given(st.integers(0, 4), st.integers(0, 99), st.integers(0, 99))
def test_all_get_the_same_bits_which_are_the_papers(power: int, seed: int, order: int) -> None:
    given = gradients(2**power, seed)
    before = [vector.clone() for vector in given]
    found, peers = adasums(given, order=order)
    for combined in found:
        torch.testing.assert_close(combined.double(), reference(given).double(), rtol=1e-5, atol=1e-5)
        assert torch.equal(combined, found[0])
    assert all(map(torch.equal, given, before))
    assert {peer.ledger.bytes_sent for peer in peers} == {power * given[0].nbytes}
    assert {peer.ledger.messages_sent for peer in peers} == {power}


def test_parallel_gradients_are_averaged_and_orthogonal_ones_added() -> None:
    one, other = torch.tensor([3.0, 4.0, 0.0]), torch.tensor([0.0, 0.0, 2.0])
    assert adasums([one] * 8, shapes=())[0][5].tolist() == one.tolist()
    assert adasums([one, other], shapes=())[0][1].tolist() == (one + other).tolist()
    assert adasums([one, -one], shapes=())[0][0].tolist() == [0, 0, 0]


def test_each_layer_is_on_its_own() -> None:
    one, other = torch.tensor([1.0, 0.0, 1.0, 0.0]), torch.tensor([0.0, 1.0, 1.0, 0.0])
    assert adasums([one, other], shapes=((2,), (1, 2)))[0][0].tolist() == [1, 1, 1, 0]
    assert adasums([one, other], shapes=())[0][0].tolist() == [0.75, 0.75, 1.5, 0]


def test_a_short_gradient_takes_half_of_its_direction_from_a_long_one() -> None:
    """The limit of the equation: it asks how gradients agree, not how long they are."""
    short, long = gradients(2)
    expected = [y - x @ y / (2 * x @ x) * x for x, y in zip(short.split(SIZES), long.split(SIZES), strict=True)]
    torch.testing.assert_close(adasums([short * 1e-12, long])[0][0], torch.cat(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e-20])
def test_what_is_zero_adds_nothing(scale: float) -> None:
    one, nothing = torch.tensor([1.0, -2.0]) * scale, torch.zeros(2)
    for pair in ([one, nothing], [nothing, one]):
        assert adasums(pair, shapes=())[0][0].tolist() == one.tolist()
    assert adasums([nothing, nothing], shapes=())[0][0].tolist() == [0, 0]


def test_shapes_alone_will_do() -> None:
    found, peers = adasums([torch.empty(sum(SIZES), device="meta")] * 4)
    assert all(each.is_meta and each.shape == (sum(SIZES),) for each in found)
    assert {peer.ledger.bytes_sent for peer in peers} == {2 * 4 * sum(SIZES)}


def test_one_worker_keeps_its_gradient() -> None:
    (given,) = gradients(1)
    assert adasums([given])[0][0].tolist() == given.tolist()


def test_the_second_vector_stays_as_it_is() -> None:
    a, b = gradients(2)
    before = b.clone()
    combine(a, b)
    assert torch.equal(b, before)


def test_pairs_of_pairs_want_a_power_of_two() -> None:
    with pytest.raises(AssertionError, match="3 workers are no power of two"):
        adasums(gradients(3))
