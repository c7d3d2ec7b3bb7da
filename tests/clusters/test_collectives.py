from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.clusters.collectives import ring_all_reduce_bytes, ring_all_reduce_ns
from manyhands.clusters.simulated.network import Network


@settings(derandomize=True, deadline=None)
@given(
    nodes=st.integers(2, 40),
    size=st.integers(1, 10**10),
    bandwidth=st.integers(1_000, 10**11),
    latency=st.integers(0, 10**7),
)
def test_a_ring_on_a_star_takes_its_closed_formula(nodes: int, size: int, bandwidth: int, latency: int) -> None:
    network = Network.star(nodes, bandwidth, latency)
    transfer = ceil(Fraction(size * 10**9, nodes * bandwidth))
    rounds = 2 * (nodes - 1)
    time = ring_all_reduce_ns(network, range(nodes), size)
    assert time == pytest.approx(rounds * (latency + transfer), rel=1e-9, abs=rounds)


def test_a_ring_runs_at_the_pace_of_its_slowest_link() -> None:
    network = Network.star(4, 100e6, 1_000, overrides={2: 10e6})
    assert ring_all_reduce_ns(network, range(4), 4_000_000) == 6 * (1_000 + 100_000_000)


def test_a_ring_that_keeps_to_its_racks_shares_no_uplink() -> None:
    network = Network.two_level(2, 2, bandwidth=1e9, uplink=1e9)
    assert ring_all_reduce_ns(network, [0, 1, 2, 3], 4_000_000) == 6 * 1_000_000
    assert ring_all_reduce_ns(network, [0, 2, 1, 3], 4_000_000) == 6 * 2_000_000  # two flows on each uplink


def test_nodes_on_one_host_reduce_without_the_network() -> None:
    network = Network.star(1, 1e6, 50_000, local_latency=700)
    assert ring_all_reduce_ns(network, [0, 0, 0], 1e9) == 4 * 700


def test_one_node_has_nothing_to_reduce() -> None:
    assert ring_all_reduce_ns(Network.star(1, 1e6), [0], 1e9) == 0
    assert ring_all_reduce_bytes(1, 1e9) == 0


@settings(derandomize=True, deadline=None)
@given(nodes=st.integers(1, 1000), size=st.integers(0, 10**12))
def test_the_bytes_of_a_ring_are_its_rounds_times_a_part(nodes: int, size: int) -> None:
    assert ring_all_reduce_bytes(nodes, size) == pytest.approx(float(2 * (nodes - 1) * Fraction(size, nodes)))
