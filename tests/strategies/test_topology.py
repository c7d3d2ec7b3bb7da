import subprocess
import sys
from math import cos, log2, pi

import networkx
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from manyhands.errors import UserError
from manyhands.strategies.topology import (
    TOPOLOGIES,
    Complete,
    DirectedExponential,
    DirectedRing,
    Edges,
    Exponential,
    Networkx,
    OnePeerExponential,
    RandomRegular,
    Ring,
    Star,
    Topology,
    Torus,
)

everywhere_the_same = settings(derandomize=True, deadline=None)
ALWAYS = [
    *(Ring(), Torus(), Star(), Complete(), Exponential(), OnePeerExponential(), DirectedRing(), DirectedExponential()),
    *(
        Networkx("complete_graph", ("n",)),
        Networkx("path_graph", ("n",)),
        Networkx("random_labeled_tree", ("n",), seed=3),
    ),
]
"""what fits any number of workers"""


@st.composite
def graphs(draw: st.DrawFn) -> networkx.Graph | networkx.DiGraph:
    """Connected ones over the nodes 0, 1, …, which may be directed."""
    size = draw(st.integers(2, 12))
    kind = draw(st.sampled_from([networkx.Graph, networkx.DiGraph]))
    ranks = st.integers(0, size - 1)
    graph = networkx.cycle_graph(draw(st.permutations(range(size))), create_using=kind)
    graph.add_edges_from(edge for edge in draw(st.lists(st.tuples(ranks, ranks))) if edge[0] != edge[1])
    return graph


@st.composite
def fitting(draw: st.DrawFn) -> tuple[Topology, int]:
    """A topology and a number of workers that it fits."""
    size = draw(st.integers(1, 33))
    always = st.sampled_from(ALWAYS)
    torus = st.sampled_from([rows for rows in range(1, size + 1) if size % rows == 0]).map(Torus)
    choices: list[st.SearchStrategy[Topology]] = [always, torus]
    degrees = [degree for degree in range(1 if size == 2 else 2, size) if degree * size % 2 == 0]
    if degrees:
        choices.append(st.builds(RandomRegular, st.sampled_from(degrees), st.integers(0, 9)))
    topology = draw(st.one_of(choices))
    if draw(st.integers(0, 4)) == 0:
        graph = draw(graphs())
        return Edges.of(graph), len(graph)
    return topology, size


def union(topology: Topology, size: int) -> networkx.DiGraph:
    """All that are joined in some step."""
    found = networkx.DiGraph()
    found.add_nodes_from(range(size))
    for step in range(topology.period(size)):
        found.add_edges_from((rank, to) for rank in range(size) for to in topology.neighbours(rank, size, step))
    return found


# ---- what all have in common


@everywhere_the_same
@given(fitting(), st.integers(0, 50))
def test_who_sends_is_heard(pair: tuple[Topology, int], step: int) -> None:
    topology, size = pair
    topology.check(size)
    sent = {(rank, to) for rank in range(size) for to in topology.neighbours(rank, size, step)}
    heard = {(source, rank) for rank in range(size) for source in topology.sources(rank, size, step)}
    assert sent == heard
    assert all(start != end for start, end in sent)
    assert all({start, end} <= {*range(size)} for start, end in sent)
    for rank in range(size):
        for found in (topology.neighbours(rank, size, step), topology.sources(rank, size, step)):
            assert found == sorted(set(found))
    if not topology.directed:
        assert {(end, start) for start, end in sent} == sent


@everywhere_the_same
@given(fitting())
def test_everybody_hears_of_everybody_in_the_end(pair: tuple[Topology, int]) -> None:
    assert networkx.is_strongly_connected(union(*pair))


@everywhere_the_same
@given(fitting(), st.integers(0, 50))
def test_the_graph_repeats_after_its_period(pair: tuple[Topology, int], step: int) -> None:
    topology, size = pair
    later = step + topology.period(size)
    for rank in range(size):
        assert topology.neighbours(rank, size, step) == topology.neighbours(rank, size, later)
        assert topology.mixing(rank, size, step) == topology.mixing(rank, size, later)


@everywhere_the_same
@given(fitting(), st.integers(0, 50))
def test_mixing_keeps_the_mean(pair: tuple[Topology, int], step: int) -> None:
    """Lian et al. 2017, assumption 1; of graphs that are not balanced push-sum needs the columns alone."""
    topology, size = pair
    matrix = topology.matrix(size, step)
    assert (matrix >= 0).all()
    assert (np.diag(matrix) > 0).all()
    assert matrix.sum(0) == pytest.approx(np.ones(size))
    assert topology.balanced(size) == (matrix.sum(1) == pytest.approx(np.ones(size)))
    if not topology.directed:
        assert np.array_equal(matrix, matrix.T)
        assert topology.balanced(size)


@everywhere_the_same
@given(fitting(), st.integers(0, 50))
def test_a_worker_mixes_itself_and_its_sources_in_the_order_of_ranks(pair: tuple[Topology, int], step: int) -> None:
    topology, size = pair
    for rank in range(size):
        assert [*topology.mixing(rank, size, step)] == sorted([rank, *topology.sources(rank, size, step)])


@everywhere_the_same
@given(fitting())
def test_answers_are_worked_out_once(pair: tuple[Topology, int]) -> None:
    topology, size = pair
    period = topology.period(size)
    assert topology.mixing(0, size, 1) is topology.mixing(0, size, 1 + 7 * period)
    assert topology.neighbours(0, size, 1) is topology.neighbours(0, size, 1 + 7 * period)
    assert topology.sources(0, size, 1) is topology.sources(0, size, 1 + 7 * period)


@everywhere_the_same
@given(fitting())
def test_topologies_read_back_and_are_equal_whatever_they_have_answered(pair: tuple[Topology, int]) -> None:
    topology, size = pair
    topology.mixing(0, size)
    again = TOPOLOGIES.parse(str(topology))
    assert again == topology
    assert hash(again) == hash(topology)
    assert [again.mixing(rank, size) for rank in range(size)] == [topology.mixing(rank, size) for rank in range(size)]


# ---- the spectral gap


@everywhere_the_same
@given(fitting())
def test_the_spectral_gap_is_numpys(pair: tuple[Topology, int]) -> None:
    topology, size = pair
    product = np.eye(size)
    for step in range(topology.period(size)):
        product = topology.matrix(size, step) @ product
    moduli = np.sort(np.abs(np.linalg.eigvals(product)))
    second = moduli[-2] if size > 1 else 0
    for found in (topology.spectral_gap(size), Topology.spectral_gap(topology, size)):  # the short way and the long one
        assert (1 - found) ** topology.period(size) == pytest.approx(second, abs=1e-6)


@everywhere_the_same
@given(fitting())
def test_differences_shrink_at_the_rate_that_the_gap_says(pair: tuple[Topology, int]) -> None:
    topology, size = pair
    assume(not topology.directed or topology.balanced(size))
    values = np.random.default_rng(0).standard_normal(size)
    mean, steps = values.mean(), 60 * topology.period(size)
    for step in range(steps):
        values = topology.matrix(size, step) @ values
    assert values.mean() == pytest.approx(mean)
    assert np.linalg.norm(values - mean) <= 1e-9 + 10 * size * (1 - topology.spectral_gap(size)) ** steps


@pytest.mark.parametrize("size", [4, 5, 16, 33])
def test_known_gaps(size: int) -> None:
    assert Complete().spectral_gap(size) == pytest.approx(1)
    assert Ring().spectral_gap(size) == pytest.approx(2 / 3 * (1 - cos(2 * pi / size)))
    assert DirectedRing().spectral_gap(size) == pytest.approx(1 - cos(pi / size))
    assert Star().spectral_gap(size) == pytest.approx(1 / size)
    if size % 4 == 0:
        assert Torus(4).spectral_gap(size * 4) == pytest.approx(min(2 / 5, 2 / 5 * (1 - cos(2 * pi / size))))


@pytest.mark.parametrize("power", [1, 2, 3, 6])
def test_one_peer_after_another_averages_exactly_where_workers_are_a_power_of_two(power: int) -> None:
    """Assran et al. 2019, appendix A; Ying et al. 2021, lemma 1. The static graph has the gap 2 / (1 + log N) of the
    same paper, proposition 1."""
    size, topology = 2**power, OnePeerExponential()
    product = np.eye(size)
    for step in range(topology.period(size)):
        product = topology.matrix(size, step) @ product
    assert np.array_equal(product, np.full((size, size), 1 / size))
    assert topology.spectral_gap(size) == 1
    assert topology.period(size) == log2(size)
    assert DirectedExponential().spectral_gap(size) == pytest.approx(2 / (1 + log2(size)))


@pytest.mark.parametrize("topology", ALWAYS[:8], ids=str)
def test_graphs_that_look_the_same_everywhere_need_no_matrix(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the gap of 10,000 workers is known at once."""
    expected = 1 - np.sort(np.abs(np.linalg.eigvals(topology.matrix(30))))[-2] if topology.period(30) == 1 else None
    monkeypatch.setattr(Topology, "matrix", None)
    if expected is not None:
        assert topology.spectral_gap(30) == pytest.approx(expected)
    assert 0 < topology.spectral_gap(1000) <= 1
    assert topology.spectral_gap(1) == topology.spectral_gap(2) == 1


# ---- the members


@pytest.mark.parametrize(
    ("topology", "size", "expected"),
    [
        (Ring(), 7, networkx.cycle_graph(7)),
        (Complete(), 6, networkx.complete_graph(6)),
        (Star(), 6, networkx.star_graph(5)),
        (Exponential(), 16, networkx.circulant_graph(16, [1, 2, 4, 8])),
        (Torus(), 16, networkx.grid_2d_graph(4, 4, periodic=True)),
        (Torus(), 20, networkx.grid_2d_graph(4, 5, periodic=True)),
        (Torus(2), 6, networkx.circular_ladder_graph(3)),
        (Torus(), 7, networkx.cycle_graph(7)),
        (Torus(1), 6, networkx.cycle_graph(6)),
        (Networkx("petersen_graph"), 10, networkx.petersen_graph()),
        (Networkx("watts_strogatz_graph", ("n", "4", ".3"), 7), 12, networkx.watts_strogatz_graph(12, 4, 0.3, seed=7)),
        (Networkx("grid_2d_graph", ("2", "3")), 6, networkx.grid_2d_graph(2, 3)),
        (Networkx("gn_graph", ("n",), seed=2), 9, networkx.gn_graph(9, seed=2).to_undirected()),
        (RandomRegular(3, 5), 10, networkx.random_regular_graph(3, 10, seed=5)),
        (DirectedRing(), 5, networkx.cycle_graph(5, create_using=networkx.DiGraph)),
        (Edges(("0-1", "1-2", "2>0")), 3, networkx.DiGraph([(0, 1), (1, 0), (1, 2), (2, 1), (2, 0)])),
    ],
    ids=str,
)  # fmt: skip
def test_they_are_the_graphs_of_networkx(topology: Topology, size: int, expected: networkx.Graph) -> None:
    expected = networkx.convert_node_labels_to_integers(expected, ordering="default")
    topology.check(size)
    assert set(union(topology, size).edges) == set(expected.to_directed().edges)


def test_degrees() -> None:
    """What the bytes of gossip depend on."""
    assert [len(Ring().neighbours(3, 16)), len(Complete().neighbours(3, 16))] == [2, 15]
    assert [len(Star().neighbours(rank, 16)) for rank in (0, 3)] == [15, 1]
    assert Exponential().neighbours(3, 16) == [1, 2, 4, 5, 7, 11, 15]
    assert [len(Exponential().neighbours(0, 2**power)) for power in (1, 2, 4, 8)] == [1, 3, 7, 15]
    assert DirectedExponential().neighbours(3, 16) == [4, 5, 7, 11]
    assert DirectedExponential().sources(3, 16) == [1, 2, 11, 15]
    assert Torus().neighbours(0, 16) == [1, 3, 4, 12]


def test_one_peer_after_another() -> None:
    topology = OnePeerExponential()
    assert [topology.neighbours(0, 8, step) for step in range(5)] == [[1], [2], [4], [1], [2]]
    assert [topology.sources(0, 8, step) for step in range(5)] == [[7], [6], [4], [7], [6]]
    assert topology.mixing(0, 8, 1) == {0: 0.5, 6: 0.5}
    assert topology.neighbours(0, 1, 3) == topology.sources(0, 1, 3) == []


def test_the_complete_graph_averages_at_once() -> None:
    assert Complete().matrix(7) == pytest.approx(np.full((7, 7), 1 / 7))


@everywhere_the_same
@given(st.integers(1, 40), st.integers(2, 41), st.integers(0, 9))
def test_random_graphs_are_regular_and_have_seeds(degree: int, size: int, seed: int) -> None:
    assume(degree < size and degree * size % 2 == 0 and (degree > 1 or size == 2))
    topology = RandomRegular(degree, seed)
    topology.check(size)
    assert {len(topology.neighbours(rank, size)) for rank in range(size)} == {degree}


def test_seeds_differ() -> None:
    assert len({str(RandomRegular(3, seed).matrix(20).tolist()) for seed in range(5)}) == 5
    assert (
        len({str(Networkx("gnp_random_graph", ("n", "0.5"), seed=seed).matrix(9).tolist()) for seed in range(5)}) == 5
    )


def test_a_random_graph_is_the_same_in_another_process() -> None:
    sizes = {
        "random-regular:3,4": 30,
        "networkx:watts_strogatz_graph,n,4,0.5,seed=3": 30,
        "networkx:les_miserables_graph": 77,  # its nodes have names
    }
    program = f"""
from manyhands.strategies.topology import TOPOLOGIES
for text, size in {sizes}.items():
    topology = TOPOLOGIES.parse(text)
    print([topology.neighbours(rank, size) for rank in range(size)])
"""
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) > 1000


@everywhere_the_same
@given(graphs())
def test_edges_hold_any_graph(graph: networkx.Graph | networkx.DiGraph) -> None:
    topology, size = Edges.of(graph), len(graph)
    topology.check(size)
    arcs = set(graph.to_directed().edges)
    assert set(union(topology, size).edges) == arcs
    assert topology.directed == any((end, start) not in arcs for start, end in arcs)


def test_nodes_without_numbers_are_ranked_in_their_order() -> None:
    assert Edges.of(networkx.Graph([("c", "a"), ("a", "b")])) == Edges(("0-1", "1-2"))
    assert Edges.of(networkx.Graph([(2, 1), (1, 0), (0, 0)])) == Edges(("0-1", "1-2"))
    assert Edges.of(networkx.MultiDiGraph([(0, 1), (0, 1), (1, 2), (2, 1)])) == Edges(("1-2", "0>1"))


def test_networkx_makes_directed_graphs_on_demand() -> None:
    both, one = (Networkx("random_k_out_graph", ("n", "3", "0.5"), 1, directed) for directed in (False, True))
    assert not both.balanced(9) or not both.directed
    assert [both.directed, one.directed] == [False, True]
    assert set(union(one, 9).edges) < set(union(both, 9).edges)
    assert set(union(one, 9).to_undirected().edges) == set(union(both, 9).to_undirected().edges)


# ---- what does not fit


@pytest.mark.parametrize(
    ("text", "size", "message"),
    [
        ("ring", 0, "topology ring needs at least one worker, not 0"),
        ("torus:3", 8, "topology torus:3 does not fit 8 workers: rows must be one of 1, 2, 4, 8"),
        ("torus:-2", 8, "rows must be one of 1, 2, 4, 8"),
        ("random-regular:3", 7, "topology random-regular:3 does not fit 7 workers: workers times degree must be even"),
        ("random-regular:4", 4, "topology random-regular:4 needs more than 4 workers, not 4"),
        ("random-regular:1", 4, "is disconnected: 4 workers need a degree of at least 2"),
        ("random-regular:0", 4, "degree must be at least 1, not 0"),
        ("networkx:peterson_graph", 10, "networkx has no generator 'peterson_graph'; perhaps you meant petersen_graph"),
        ("networkx:read_gml,/etc/passwd", 10, "networkx has no generator 'read_gml'"),
        ("networkx:inspect", 10, "networkx has no generator 'inspect'"),
        ("networkx:petersen_graph", 8, "topology networkx:petersen_graph has 10 nodes, which does not fit 8 workers"),
        ("networkx:watts_strogatz_graph,4,0.3", 8, "watts_strogatz_graph takes n, k, p, seed; write n for"),
        ("networkx:watts_strogatz_graph,n,4,x", 8, "cannot be made for 8 workers"),
        ("networkx:random_regular_graph,3,n", 7, "n * d must be even"),
        ("networkx:nonisomorphic_trees,n", 4, "nonisomorphic_trees does not make one graph"),
        ("networkx:empty_graph,n", 4, "is disconnected: of 4 workers, nothing gets from worker 0 to worker 1"),
        ("networkx:gn_graph,n,directed=true", 4, "is disconnected: of 4 workers, nothing gets from"),
        ("edges:0-1,2-3", 4, "topology edges:0-1,2-3 is disconnected: of 4 workers, nothing gets from worker 0 to"),
        ("edges:0-1,2>0", 3, "is disconnected: of 3 workers, nothing gets from worker 0 to worker 2"),
        ("edges:0-1,0>2", 3, "is disconnected: of 3 workers, nothing gets from worker 2 to worker 0"),
        ("edges:0-1", 3, "is disconnected: of 3 workers, nothing gets from worker 0 to worker 2"),
        ("edges:0-1,1-7", 4, "topology edges:0-1,1-7 names worker 7: 4 workers are 0 to 3"),
        ("edges:0-1,1-1", 4, "an edge joins two workers, not worker 1 with itself"),
        ("edges:0-1,1=2", 4, "has no '1'; it takes edges"),
        ("edges:0-1,1-b", 4, "an edge is written 0-1, or 0>1 where it leads one way, not '1-b'"),
        ("edges", 4, "needs edges"),
        ("edges:" + ",".join(f"{place}-{place + 1}" for place in range(500)), 9, "topology edges:0-1,1-2,2-3,3-4,"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_in_a_line(text: str, size: int, message: str) -> None:
    with pytest.raises(UserError) as caught:
        TOPOLOGIES.parse(text).check(size)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_edges_are_at_least_one() -> None:
    with pytest.raises(UserError, match="at least one edge"):
        Edges.of(networkx.empty_graph(2))
