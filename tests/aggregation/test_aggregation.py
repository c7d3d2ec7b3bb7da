"""What all aggregations have in common, one table over all of them, and what each is by its definition."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from manyhands.aggregation import AGGREGATIONS, Aggregation, GeometricMedian, TrimmedMean
from manyhands.aggregation import coordinates as coordinates_module
from manyhands.clusters.node import Node
from manyhands.clusters.simulated.blank import blank
from manyhands.errors import UserError

repeatable = settings(derandomize=True, deadline=None, max_examples=50)

WITHSTANDING = ("median", "trimmed-mean:0.25", "krum:2", "multi-krum:2,5", "geometric-median")
"""with up to two attackers among nine"""
ALL = ("mean", "uniform", *WITHSTANDING, "clipped:1e9", "clipped:3")
EQUIVARIANT = [text for text in ALL if text != "clipped:3"]
"""those that move along if all clients' vectors are moved"""


class Server:
    """As much of a node as an aggregation needs."""

    vector_bytes = 0
    average = Node.average


def combine(text: str | Aggregation, vectors: Sequence[Tensor], samples: Sequence[float] | None = None) -> Tensor:
    aggregation = AGGREGATIONS.parse(text) if isinstance(text, str) else text
    return aggregation.combine(vectors, samples or [1.0] * len(vectors), Server())


def drawn(seed: int, count: int = 9, size: int = 7) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return list((3 + torch.randn(count, size, generator=generator)).unbind())


def close(one: Tensor, other: Tensor, tolerance: float = 1e-5) -> bool:
    return bool((one - other).norm() <= tolerance * (1 + other.norm()))


seeds = st.integers(0, 10**6)
samples_of = st.lists(st.integers(1, 20).map(float), min_size=9, max_size=9)


def test_the_table_has_every_aggregation() -> None:
    assert {text.partition(":")[0] for text in ALL} == set(AGGREGATIONS.members)


@pytest.mark.parametrize("name", AGGREGATIONS.members)
def test_every_aggregation_names_its_paper(name: str) -> None:
    member = AGGREGATIONS.members[name]
    assert member.paper
    assert member.url.startswith("https://arxiv.org/abs/")
    assert member.__doc__
    assert not member.__doc__.startswith(member.__name__)


@pytest.mark.parametrize("text", ALL)
def test_text_reads_back(text: str) -> None:
    aggregation = AGGREGATIONS.parse(text)
    assert AGGREGATIONS.parse(str(aggregation)) == aggregation


@pytest.mark.parametrize("text", [text for text in ALL if text != "clipped:3"])
@repeatable
@given(seed=seeds, samples=samples_of)
def test_of_identical_updates_it_is_the_mean(text: str, seed: int, samples: list[float]) -> None:
    (vector,) = drawn(seed, 1)
    assert close(combine(text, [vector.clone() for _ in range(9)], samples), vector, 1e-6)


@pytest.mark.parametrize("text", [text for text in ALL if AGGREGATIONS.parse(text).least == 1])
def test_of_one_update_it_is_that(text: str) -> None:
    (vector,) = drawn(1, 1)
    factor = min(1.0, 3 / float(vector.norm())) if text == "clipped:3" else 1.0
    assert close(combine(text, [vector], [5.0]), vector * factor, 1e-6)


@pytest.mark.parametrize("text", ALL)
@repeatable
@given(seed=seeds, samples=samples_of, order=st.permutations(range(9)))
def test_the_order_of_clients_does_not_matter(text: str, seed: int, samples: list[float], order: list[int]) -> None:
    vectors = drawn(seed)
    shuffled = combine(text, [vectors[place] for place in order], [samples[place] for place in order])
    assert close(shuffled, combine(text, vectors, samples))


@pytest.mark.parametrize("text", EQUIVARIANT)
@repeatable
@given(seed=seeds, samples=samples_of)
def test_each_coordinate_lies_within_the_clients_range(text: str, seed: int, samples: list[float]) -> None:
    vectors = torch.stack(drawn(seed))
    combined = combine(text, vectors.unbind(), samples)
    assert (combined >= vectors.min(0).values - 1e-5).all()
    assert (combined <= vectors.max(0).values + 1e-5).all()


@pytest.mark.parametrize("text", EQUIVARIANT)
@repeatable
@given(seed=seeds, samples=samples_of, length=st.floats(0.125, 8))
def test_it_moves_and_grows_along(text: str, seed: int, samples: list[float], length: float) -> None:
    vectors, step = drawn(seed), drawn(seed + 1, 1)[0]
    moved = combine(text, [length * vector + step for vector in vectors], samples)
    assert close(moved, length * combine(text, vectors, samples) + step)


@pytest.mark.parametrize("attack", [1e4, -1e4, 1e12, "same", "opposite"])
@pytest.mark.parametrize("text", WITHSTANDING)
@repeatable
@given(seed=seeds)
def test_two_of_nine_cannot_carry_it_off(text: str, attack: Any, seed: int) -> None:
    """It stays as near to the honest mean as the honest clients themselves are; the mean does not."""
    honest, wild = drawn(seed, 7), drawn(seed + 1, 2)
    centre, spread = torch.stack(honest).mean(0), max(float((v - torch.stack(honest).mean(0)).norm()) for v in honest)
    match attack:
        case "same":  # both say the same, far from all others
            lies = [centre + 100 * wild[0]] * 2
        case "opposite":
            lies = [centre + 100 * wild[0], centre - 100 * wild[0]]
        case _:
            lies = [attack * vector for vector in wild]
    vectors = [*honest[:3], lies[0], *honest[3:], lies[1]]
    assert float((combine(text, vectors) - centre).norm()) <= 1.1 * spread
    if attack != "opposite":
        assert float((combine("uniform", vectors) - centre).norm()) > 5 * spread


@pytest.mark.parametrize("text", ["median", "trimmed-mean:0.25", "krum:2", "multi-krum:2,5"])
@pytest.mark.parametrize("lie", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_outvoted(text: str, lie: float) -> None:
    honest = drawn(3, 7)
    combined = combine(text, [torch.full_like(honest[0], lie), *honest, torch.full_like(honest[0], lie)])
    assert combined.isfinite().all()
    assert float((combined - torch.stack(honest).mean(0)).norm()) < 5


def test_clipping_bounds_what_one_client_can_do() -> None:
    honest, lie = drawn(2, 8), 1e6 * drawn(3, 1)[0]
    without, with_lie = combine("clipped:3", honest), combine("clipped:3", [*honest, lie])
    assert float((9 * with_lie - 8 * without).norm()) == pytest.approx(3, rel=1e-4)


# ---- by definition


@repeatable
@given(seed=seeds, count=st.integers(1, 12))
def test_the_median_is_numpys(seed: int, count: int) -> None:
    vectors = drawn(seed, count)
    assert combine("median", vectors).numpy() == pytest.approx(np.median(torch.stack(vectors).numpy(), 0), rel=1e-5)


@repeatable
@given(seed=seeds, count=st.integers(1, 12), fraction=st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.49]))
def test_the_trimmed_mean_is_scipys(seed: int, count: int, fraction: float) -> None:
    vectors = drawn(seed, count)
    expected = scipy.stats.trim_mean(torch.stack(vectors).double().numpy(), fraction + 1e-12, axis=0)
    assert combine(TrimmedMean(fraction), vectors).numpy() == pytest.approx(expected, rel=1e-5)


@repeatable
@given(seed=seeds, count=st.integers(9, 12), taken=st.integers(1, 6))
def test_krum_takes_those_with_the_nearest_company(seed: int, count: int, taken: int) -> None:
    """The paper's definition, with F = 3."""
    vectors = torch.stack(drawn(seed, count)).double().numpy()
    scores = [
        min(
            sum(float(np.sum((vectors[one] - vectors[other]) ** 2)) for other in company)
            for company in combinations([other for other in range(count) if other != one], count - 3 - 2)
        )
        for one in range(count)
    ]
    best = np.argsort(scores, kind="stable")[:taken]
    tensors = [torch.from_numpy(vector).float() for vector in vectors]
    assert combine(f"multi-krum:3,{taken}", tensors).numpy() == pytest.approx(vectors[best].mean(0), rel=1e-5)
    assert combine("krum:3", tensors).numpy() == pytest.approx(vectors[best[0]], rel=1e-6)


@settings(derandomize=True, deadline=None, max_examples=10)
@given(seed=seeds, samples=samples_of)
def test_the_geometric_median_has_the_least_sum_of_distances(seed: int, samples: list[float]) -> None:
    vectors = torch.stack(drawn(seed)).double().numpy()

    def total(point: np.ndarray) -> float:
        return float(np.dot(samples, np.linalg.norm(vectors - point, axis=1)))

    least = minimize(total, vectors.mean(0), method="Nelder-Mead", options={"maxiter": 20_000, "fatol": 1e-10})
    found = combine("geometric-median", [torch.from_numpy(vector).float() for vector in vectors], samples)
    assert total(found.double().numpy()) <= least.fun * (1 + 1e-3)
    assert total(found.double().numpy()) <= total(vectors.mean(0))


def test_the_geometric_median_takes_the_steps_that_are_written() -> None:
    """Weiszfeld over the vectors themselves, as in the paper, with shares of samples and the smoothing."""
    vectors, samples = torch.stack(drawn(4)).double(), torch.arange(1.0, 10).double()
    vectors[3] *= 1000
    shares = samples / samples.sum()
    point = shares @ vectors
    for _ in range(3):
        weights = shares / (vectors - point).norm(dim=1).clamp(min=0.5)
        point = weights @ vectors / weights.sum()
    given_ = GeometricMedian(iterations=3, smoothing=0.5)
    assert close(combine(given_, list(vectors.float().unbind()), samples.tolist()).double(), point)


def test_clipped_vectors_are_averaged_by_samples() -> None:
    long, short = torch.tensor([30.0, 40.0]), torch.tensor([0.3, 0.4])
    expected = (3 * torch.tensor([0.6, 0.8]) + 1 * short) / 4
    assert close(combine("clipped:1", [long, short], [3.0, 1.0]), expected)


def test_mean_and_uniform_differ_in_their_weights() -> None:
    vectors = [torch.tensor([0.0]), torch.tensor([4.0])]
    assert combine("mean", vectors, [3.0, 1.0]).tolist() == [1]
    assert combine("uniform", vectors, [3.0, 1.0]).tolist() == [2]
    assert [AGGREGATIONS.parse(text).weight(3) for text in ("mean", "uniform")] == [3, 1]


SAME = {
    "who trims nothing averages": ("trimmed-mean:0", "uniform"),
    "who trims all but one takes the median": ("trimmed-mean:0.49", "median"),
    "of one best there is one": ("multi-krum:2,1", "krum:2"),
    "who clips at a great length does not clip": ("clipped:1e9", "mean"),
    "with nobody to fear all are taken": ("multi-krum:0,9", "uniform"),
}


@pytest.mark.parametrize("case", SAME)
def test_one_aggregation_is_another(case: str) -> None:
    one, other = SAME[case]
    samples = [float(count) for count in range(1, 10)]
    assert close(combine(one, drawn(5), samples), combine(other, drawn(5), samples), 1e-6)


# ---- long vectors, several vectors, and vectors without values


@pytest.mark.parametrize("text", WITHSTANDING)
def test_long_vectors_are_looked_at_in_parts(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = combine(text, drawn(6, size=101))
    monkeypatch.setattr(coordinates_module, "PART", 9 * 13)
    assert close(combine(text, drawn(6, size=101)), whole, 1e-6)


@pytest.mark.parametrize("text", ALL)
def test_the_clients_vectors_are_left_as_they_are(text: str) -> None:
    vectors, before = drawn(7), torch.stack(drawn(7))
    combine(text, vectors)
    assert torch.equal(torch.stack(vectors), before)


@pytest.mark.parametrize("text", ALL)
def test_a_reply_of_several_vectors_is_one_vector_cut(text: str) -> None:
    aggregation, samples = AGGREGATIONS.parse(text), [float(count) for count in range(1, 10)]
    whole = aggregation.combine(drawn(8, size=10), samples, Server())
    cut = aggregation.combine_replies([vector.split([6, 1, 3]) for vector in drawn(8, size=10)], samples, Server())
    assert [len(part) for part in cut] == [6, 1, 3]
    assert close(torch.cat(list(cut)), whole, 1e-6)


@pytest.mark.parametrize("text", ALL)
@pytest.mark.parametrize("valueless", [lambda like: like.to("meta"), blank], ids=["meta", "blank"])
def test_vectors_without_values_take_the_same_time(text: str, valueless: Any) -> None:
    aggregation, real, rehearsed = AGGREGATIONS.parse(text), Server(), Server()
    expected = aggregation.combine_replies([vector.split([4, 3]) for vector in drawn(9)], [2.0] * 9, real)
    empty = [tuple(map(valueless, vector.split([4, 3]))) for vector in drawn(9)]
    combined = aggregation.combine_replies(empty, [2.0] * 9, rehearsed)
    assert all(vector.is_meta for vector in combined)
    assert [(part.shape, part.dtype) for part in combined] == [(part.shape, part.dtype) for part in expected]
    assert rehearsed.vector_bytes == real.vector_bytes > 0


def test_judging_takes_longer_than_averaging() -> None:
    def traffic(text: str) -> int:
        server = Server()
        AGGREGATIONS.parse(text).combine(drawn(1, 20), [1.0] * 20, server)
        return server.vector_bytes

    assert traffic("mean") == traffic("uniform") == 20 * 3 * 28
    judging = ("median", "multi-krum:2,5", "geometric-median", "clipped:3")
    assert all(traffic(text) > traffic("mean") for text in judging)


# ---- what is refused


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("trimmed-mean:0.5", "trimmed-mean:0.5': the fraction left out at each end must be at least 0 and below 0.5"),
        ("trimmed-mean:-0.1", "must be at least 0 and below 0.5, not -0.1"),
        ("trimmed-mean:nan", "must be at least 0 and below 0.5, not nan"),
        ("trimmed-mean", "needs fraction"),
        ("krum:-1", "the number of attackers must be zero or more, not -1"),
        ("krum", "needs attackers"),
        ("multi-krum:1", "needs taken"),
        ("multi-krum:1,0", "must take at least 1 vector, not 0"),
        ("geometric-median:0", "at least 1 iteration, not 0"),
        ("geometric-median:smoothing=0", "the smoothing must be positive, not 0"),
        ("clipped:0", "the norm to clip to must be positive, not 0"),
        ("clipped:nan", "the norm to clip to must be positive, not nan"),
        ("majority", "unknown aggregation 'majority': choose from mean, uniform, median, trimmed-mean:FRACTION, krum:"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UserError) as refusal:
        AGGREGATIONS.parse(text)
    assert complaint in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "enough", "too_few", "complaint"),
    [
        ("krum:2", 7, 6, "aggregation krum:2 needs the updates of at least 7 clients, and gets those of 6"),
        ("multi-krum:2,8", 10, 9, "needs the updates of at least 10 clients"),
        ("multi-krum:2,3", 7, 6, "needs the updates of at least 7 clients"),
        ("trimmed-mean:0.2", 5, 4, "trimmed-mean:0.2 leaves out nobody of 4 clients: use a fraction of at least 0.25"),
        ("trimmed-mean:0.3", 4, 3, "use a fraction of at least 0.334, or uniform"),
    ],
)
def test_too_few_clients_are_refused(text: str, enough: int, too_few: int, complaint: str) -> None:
    aggregation = AGGREGATIONS.parse(text)
    aggregation.check(enough)
    with pytest.raises(UserError) as refusal:
        aggregation.check(too_few)
    assert complaint in str(refusal.value)
