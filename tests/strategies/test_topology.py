import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.errors import UserError
from manyhands.strategies.topology import TOPOLOGIES, Complete, Exponential, Ring, Topology

everywhere_the_same = settings(derandomize=True, deadline=None)
topologies = st.sampled_from([TOPOLOGIES.parse(name) for name in TOPOLOGIES.members])
sizes = st.integers(1, 40)


def graph(topology: Topology, size: int) -> networkx.DiGraph:
    edges = networkx.DiGraph()
    edges.add_nodes_from(range(size))
    edges.add_edges_from((rank, other) for rank in range(size) for other in topology.neighbours(rank, size))
    return edges


def matrix(topology: Topology, size: int) -> np.ndarray:
    rows = np.zeros((size, size))
    for rank in range(size):
        for other, weight in topology.mixing(rank, size).items():
            rows[rank, other] = weight
    return rows


@everywhere_the_same
@given(topologies, sizes)
def test_every_graph_is_undirected_connected_and_without_loops(topology: Topology, size: int) -> None:
    edges = graph(topology, size)
    assert networkx.is_strongly_connected(edges)
    assert all(edges.has_edge(b, a) for a, b in edges.edges)
    assert networkx.number_of_selfloops(edges) == 0
    assert all(topology.neighbours(rank, size) == sorted(edges.successors(rank)) for rank in range(size))


@everywhere_the_same
@given(topologies, sizes)
def test_mixing_is_doubly_stochastic_and_contracts(topology: Topology, size: int) -> None:
    """So the mean of all weights stays, and the distance to it shrinks (Lian et al. 2017, assumption 1)."""
    mixing = matrix(topology, size)
    assert (mixing >= 0).all()
    assert mixing.sum(0) == pytest.approx(np.ones(size))
    assert mixing.sum(1) == pytest.approx(np.ones(size))
    assert np.array_equal(mixing, mixing.T)
    second = np.sort(np.abs(np.linalg.eigvalsh(mixing)))[:-1]
    assert (second < 1 - 1e-9).all()


@everywhere_the_same
@given(topologies, sizes, st.data())
def test_a_node_mixes_with_itself_and_its_neighbours_in_the_order_of_ranks(
    topology: Topology, size: int, data: st.DataObject
) -> None:
    rank = data.draw(st.integers(0, size - 1))
    assert list(topology.mixing(rank, size)) == sorted([rank, *topology.neighbours(rank, size)])


def test_degrees() -> None:
    """What the bytes of gossip depend on."""
    assert [len(Ring().neighbours(3, 16)), len(Complete().neighbours(3, 16))] == [2, 15]
    assert Exponential().neighbours(3, 16) == [1, 2, 4, 5, 7, 11, 15]
    assert [len(Exponential().neighbours(0, 2**power)) for power in (1, 2, 4, 8)] == [1, 3, 7, 15]


def test_the_complete_graph_averages_at_once() -> None:
    assert matrix(Complete(), 7) == pytest.approx(np.full((7, 7), 1 / 7))


def test_the_exponential_graph_mixes_faster_than_the_ring() -> None:
    gaps = [1 - np.sort(np.abs(np.linalg.eigvalsh(matrix(each, 64))))[-2] for each in (Ring(), Exponential())]
    assert gaps[1] > 50 * gaps[0]


def test_there_must_be_a_worker() -> None:
    with pytest.raises(UserError, match="topology ring needs at least one worker, not 0"):
        Ring().check(0)
