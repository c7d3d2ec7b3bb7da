"""Collectives as they are written, on channels in memory; and what they are said to cost."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from crowd import Peer, crowd, meet
from manyhands.clusters.collectives import (
    COLLECTIVES,
    Collective,
    HalvingDoubling,
    Native,
    Ring,
    Star,
    Tree,
    all_gather,
)
from manyhands.clusters.simulated.network import Network

everywhere_the_same = settings(derandomize=True, deadline=None)
OWN = [Ring(), Tree(), HalvingDoubling(), Star()]
"""those that are written from messages"""
own = st.sampled_from(OWN)
counts = st.integers(1, 9)


def vectors(workers: int, numbers: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(numbers)
    return [torch.randn(numbers, generator=generator).to(dtype) for _ in range(workers)]


def means(collective: Collective, given: list[Tensor], order: int = 0) -> tuple[list[Tensor], list[Peer]]:
    peers = crowd(len(given))
    return meet(lambda node: collective.mean(node, given[node.rank]), peers, order), peers


def test_every_collective_is_known_by_its_name() -> None:
    assert [*COLLECTIVES.members] == ["native", "ring", "tree", "halving-doubling", "star"]
    assert {COLLECTIVES.parse(name) for name in COLLECTIVES.members} == {Native(), *OWN}


# ---- what they compute


@everywhere_the_same
@given(own, counts, st.integers(0, 40), st.integers(0, 99))
def test_all_get_the_mean_to_the_same_bit(collective: Collective, workers: int, numbers: int, order: int) -> None:
    given = vectors(workers, numbers)
    before = [vector.clone() for vector in given]
    found, _ = means(collective, given, order)
    for mean in found:
        torch.testing.assert_close(mean.double(), torch.stack(given).double().mean(0), rtol=1e-6, atol=1e-6)
        assert torch.equal(mean, found[0])
    assert all(map(torch.equal, given, before))


@everywhere_the_same
@given(own, counts, st.integers(0, 40), st.integers(1, 99))
def test_no_order_of_scheduling_changes_a_bit(collective: Collective, workers: int, numbers: int, order: int) -> None:
    given = vectors(workers, numbers)
    assert all(map(torch.equal, means(collective, given)[0], means(collective, given, order)[0]))


@everywhere_the_same
@given(own, counts, st.integers(0, 20))
def test_sums_are_in_the_type_of_the_vector(collective: Collective, workers: int, numbers: int) -> None:
    given = vectors(workers, numbers, torch.bfloat16)
    found, peers = means(collective, given)
    for peer, mean in zip(peers, found, strict=True):
        assert mean.dtype == torch.bfloat16
        torch.testing.assert_close(mean.float(), torch.stack(given).float().mean(0), rtol=0.03, atol=0.03)
        assert peer.ledger.bytes_sent == collective.bytes_sent(peer.rank, workers, numbers, itemsize=2)


@pytest.mark.parametrize("collective", OWN, ids=str)
def test_a_tensor_keeps_its_shape(collective: Collective) -> None:
    given = [vector.view(2, 3, 1) for vector in vectors(5, 6)]
    found, _ = means(collective, given)
    assert {mean.shape for mean in found} == {(2, 3, 1)}
    torch.testing.assert_close(found[4], torch.stack(given).mean(0))


@everywhere_the_same
@given(own, counts, st.integers(0, 20))
def test_shapes_alone_will_do(collective: Collective, workers: int, numbers: int) -> None:
    """For a simulation in which nothing is learnt."""
    found, peers = means(collective, [torch.empty(numbers, device="meta") for _ in range(workers)])
    assert all(mean.is_meta and mean.shape == (numbers,) for mean in found)
    assert [peer.ledger.bytes_sent for peer in peers] == [
        collective.bytes_sent(rank, workers, numbers) for rank in range(workers)
    ]


@everywhere_the_same
@given(
    counts,
    st.integers(0, 5),
    st.sampled_from([torch.float32, torch.bfloat16, torch.uint8, torch.int32]),
    st.integers(0, 99),
)
def test_all_gather_brings_everything_to_everybody(workers: int, numbers: int, dtype: torch.dtype, order: int) -> None:
    given = [torch.arange(rank, rank + numbers).to(dtype) for rank in range(workers)]
    peers = crowd(workers)
    for gathered in meet(lambda node: all_gather(node, given[node.rank]), peers, order):
        assert len(gathered) == workers
        assert all(map(torch.equal, gathered, given))
        assert all(tensor.dtype == dtype for tensor in gathered)
    assert {peer.ledger.bytes_sent for peer in peers} == {(workers - 1) * given[0].nbytes}
    assert {peer.ledger.messages_sent for peer in peers} == {workers - 1}


# ---- what they send


@everywhere_the_same
@given(own, counts, st.integers(0, 40))
def test_costs_are_what_is_really_sent(collective: Collective, workers: int, numbers: int) -> None:
    _, peers = means(collective, vectors(workers, numbers))
    for peer in peers:
        rank, ledger = peer.rank, peer.ledger
        assert ledger.bytes_sent == collective.bytes_sent(rank, workers, numbers)
        to = collective.bytes_to(rank, workers, numbers)
        assert ledger.to == {other: size for other, size in to.items() if size}
        assert ledger.bytes_received == collective.bytes_received(rank, workers, numbers)
        assert ledger.messages_sent == collective.messages_sent(rank, workers, numbers)


@everywhere_the_same
@given(st.integers(1, 64), st.integers(0, 1000))
def test_the_bytes_of_a_ring_are_the_formula(workers: int, part: int) -> None:
    numbers = part * workers
    for collective in (Ring(), Native()):
        for rank in range(workers):
            assert collective.bytes_sent(rank, workers, numbers) == 2 * (workers - 1) * 4 * numbers // workers
            assert collective.bytes_received(rank, workers, numbers) == 2 * (workers - 1) * 4 * numbers // workers
            assert collective.messages_sent(rank, workers, numbers) == 2 * (workers - 1)


@everywhere_the_same
@given(st.integers(0, 6), st.integers(0, 1000))
def test_halving_and_doubling_sends_as_little_as_a_ring(power: int, part: int) -> None:
    workers, numbers = 2**power, part * 2**power
    for rank in range(workers):
        assert HalvingDoubling().bytes_sent(rank, workers, numbers) == Ring().bytes_sent(rank, workers, numbers)
        assert HalvingDoubling().messages_sent(rank, workers, numbers) == 2 * power


@everywhere_the_same
@given(st.integers(1, 64), st.integers(0, 1000))
def test_trees_and_stars_send_whole_vectors_once_up_and_once_down(workers: int, numbers: int) -> None:
    for collective in (Tree(), Star()):
        sent = [collective.bytes_sent(rank, workers, numbers) for rank in range(workers)]
        assert sum(sent) == 2 * (workers - 1) * 4 * numbers
        assert sum(collective.messages_sent(rank, workers, numbers) for rank in range(workers)) == 2 * (workers - 1)
    assert Star().bytes_sent(0, workers, numbers) == (workers - 1) * 4 * numbers
    assert Tree().bytes_sent(0, workers, numbers) == (workers - 1).bit_length() * 4 * numbers


@everywhere_the_same
@given(st.sampled_from([Native(), *OWN]), st.integers(1, 33), st.integers(0, 1000))
def test_what_is_sent_is_received(collective: Collective, workers: int, numbers: int) -> None:
    sent = sum(each.numbers_sent for each in collective.traffic(workers, numbers))
    assert sent == pytest.approx(sum(each.numbers_received for each in collective.traffic(workers, numbers)))


# ---- how long they take (their closed formulas: test_collective_formulas.py)


def test_short_vectors_want_few_rounds_and_long_ones_equal_work() -> None:
    network = Network.star(64, 1e9, 50_000)
    short, long = ([each.time_ns(network, range(64), numbers) for each in OWN] for numbers in (10, 10_000_000))
    ring, tree, halving, star = short
    assert star < tree < ring / 10
    assert halving < ring / 10
    ring, tree, halving, star = long
    assert halving < ring < tree / 10 < star / 10


def test_a_ring_runs_at_the_pace_of_its_slowest_link() -> None:
    network = Network.star(4, 100e6, 1_000, overrides={2: 10e6})
    assert Ring().time_ns(network, range(4), 1_000_000) == 6 * (1_000 + 100_000_000)


def test_a_ring_that_keeps_to_its_racks_shares_no_uplink() -> None:
    network = Network.two_level(2, 2, bandwidth=1e9, uplink=1e9)
    assert Ring().time_ns(network, [0, 1, 2, 3], 1_000_000) == 6 * 1_000_000
    assert Ring().time_ns(network, [0, 2, 1, 3], 1_000_000) == 6 * 2_000_000  # two flows on each uplink


def test_nodes_on_one_host_reduce_without_the_network() -> None:
    network = Network.star(1, 1e6, 50_000, local_latency=700)
    assert Native().time_ns(network, [0, 0, 0], 1e9) == 4 * 700


@pytest.mark.parametrize("collective", [Native(), *OWN], ids=str)
def test_one_node_has_nothing_to_reduce(collective: Collective) -> None:
    assert collective.time_ns(Network.star(1, 1e6), [0], 1e9) == 0
    assert collective.bytes_sent(0, 1, 1e9) == collective.messages_sent(0, 1, 1e9) == 0


def test_the_native_one_has_no_messages_of_its_own() -> None:
    with pytest.raises(NotImplementedError):
        means(Native(), vectors(1, 3))
