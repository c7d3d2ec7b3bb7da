"""How much of what each worker gets: against samplers and formulas written anew."""

from math import e, floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from manyhands.tasks.partition import PARTITIONS, class_counts, share_test_set
from manyhands.tasks.partition.base import largest_remainders


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def sizes_of(text: str, samples: int, workers: int, seed: int = 0) -> np.ndarray:
    parts = PARTITIONS.parse(text).split(np.zeros(samples, np.int64), workers, rng(seed))
    return np.array([len(part) for part in parts])


def gamma_shares(alpha: float, workers: int, draws: int, seed: int) -> np.ndarray:
    """Dirichlet shares [draws, workers] by their definition: independent gamma variables over their sum."""
    gammas = rng(seed).gamma(alpha, size=(draws, workers))
    return gammas / gammas.sum(1, keepdims=True)


def alike(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The least p-value, over the columns, of Kolmogorov's and Smirnov's test of two samples."""
    return min(stats.ks_2samp(our, their).pvalue for our, their in zip(ours.T, theirs.T, strict=True))


def test_dirichlet_label_histograms_are_those_of_an_independent_sampler() -> None:
    """Each of 2,000 classes is a draw of its own; a share is cut to whole samples in the same way on both sides."""
    workers, draws, each = 5, 2_000, 200
    targets = np.repeat(np.arange(draws), each)
    parts = PARTITIONS.parse("dirichlet:0.5").split(targets, workers, rng(1))
    ours = np.array(class_counts(parts, targets, draws)).T

    def histograms(alpha: float) -> np.ndarray:
        ends = np.floor(np.cumsum(gamma_shares(alpha, workers, draws, seed=2), axis=1)[:, :-1] * each)
        return np.diff(ends, axis=1, prepend=0, append=each)

    assert alike(ours, histograms(0.5)) > 0.01
    assert alike(ours, histograms(0.8)) < 1e-3  # the test can tell them apart


def test_dirichlet_per_worker_histograms_are_near_those_of_an_independent_sampler() -> None:
    """Near: the last workers find some classes used up."""
    workers, classes, each = 400, 4, 200
    targets = np.arange(workers * each) % classes
    parts = PARTITIONS.parse("dirichlet-per-worker:4").split(targets, workers, rng(1))
    ours = np.array(class_counts(parts, targets, classes)).ravel()

    def histograms(alpha: float) -> np.ndarray:
        shares = gamma_shares(alpha / classes, classes, workers, seed=3)
        return np.array([rng(number).multinomial(each, share) for number, share in enumerate(shares)]).ravel()

    assert stats.ks_2samp(ours, histograms(4)).statistic < 0.06
    assert stats.ks_2samp(ours, histograms(1.5)).statistic > 0.12


def test_quantity_sizes_are_those_of_an_independent_sampler() -> None:
    workers, samples = 4, 10_000
    ours = np.array([sizes_of("quantity:0.7", samples, workers, seed) for seed in range(1_500)]) / samples
    assert alike(ours, gamma_shares(0.7, workers, 1_500, seed=9)) > 0.01
    assert alike(ours, gamma_shares(1.2, workers, 1_500, seed=9)) < 1e-3


@pytest.mark.parametrize("text", ["quantity:0.5", "linear", "square", "exponential", "noise:1", "rotation:5"])
def test_whatever_their_sizes_all_have_the_same_mix_of_classes(text: str) -> None:
    targets = np.repeat(np.arange(5), [8_000, 4_000, 2_000, 1_000, 5_000])
    parts = PARTITIONS.parse(text).split(targets, 5, rng(4))
    counts = np.array(class_counts(parts, targets, 5))
    assert stats.chi2_contingency(counts[counts.sum(1) > 50]).pvalue > 0.001


def test_quantity_keeps_the_least() -> None:
    few = sizes_of("quantity:0.05,least=40", 1_000, 20)
    assert few.min() == 40
    assert few.sum() == 1_000
    assert sizes_of("quantity:1e9", 1_000, 20).tolist() == [50] * 20


def test_sizes_go_by_the_workers_numbers() -> None:
    assert sizes_of("linear", 550, 10).tolist() == [10 * number for number in range(1, 11)]
    assert sizes_of("square", 300, 4).tolist() == [10, 40, 90, 160]
    exponential, whole = sizes_of("exponential", 60_000, 8), sum(e**number for number in range(1, 9))
    assert abs(exponential - [60_000 * e**number / whole for number in range(1, 9)]).max() < 1
    assert len(sizes_of("exponential", 1_000_000, 13)) == 13


@given(weights=st.lists(st.integers(0, 10**4), min_size=1, max_size=30).filter(any), total=st.integers(0, 10**5))
def test_largest_remainders_are_hamiltons(weights: list[int], total: int) -> None:
    shares = largest_remainders(np.array(weights), total)
    quotas = [total * weight / sum(weights) for weight in weights]
    assert shares.sum() == total
    assert all(floor(quota) <= share <= floor(quota) + 1 for share, quota in zip(shares, quotas, strict=True))
    cut = [total * weight % sum(weights) for weight in weights]
    more = [share > total * weight // sum(weights) for share, weight in zip(shares, weights, strict=True)]
    least = min((rest for rest, got in zip(cut, more, strict=True) if got), default=sum(weights))
    assert least >= max((rest for rest, got in zip(cut, more, strict=True) if not got), default=0)


def test_balanced_dirichlet_gives_no_more_to_who_has_its_share() -> None:
    """The rule of NIID-Bench's code: who holds an even share gets none of the classes that follow."""
    targets = np.repeat(np.arange(10), 600)
    held = np.zeros(8)
    parts = PARTITIONS.parse("dirichlet:0.5,balanced=true").split(targets, 8, rng(5))
    counts = np.array(class_counts(parts, targets, 10))
    for label in range(10):
        assert not counts[held >= 6_000 / 8, label].any()
        held += counts[:, label]
    plain = np.array([len(part) for part in PARTITIONS.parse("dirichlet:0.5").split(targets, 8, rng(5))])
    assert held.std() < plain.std()


# ---- the test set


@given(data=st.data())
def test_the_test_set_is_shared_out_as_the_training_set_is(data: st.DataObject) -> None:
    targets = np.array(data.draw(st.lists(st.integers(0, 3), min_size=8, max_size=120)))
    test = np.array(data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=60)))  # of 4 there is no training sample
    workers = data.draw(st.integers(1, 8))
    parts = PARTITIONS.parse("dirichlet:0.5").split(targets, workers, rng(data.draw(st.integers(0, 9))))
    shared = share_test_set(targets, parts, test, rng(3))
    assert len(shared) == workers
    assert sorted(np.concatenate(shared).tolist()) == list(range(len(test)))
    assert all((np.diff(part) > 0).all() for part in shared)
    for label in range(5):
        held = np.array([(targets[part] == label).sum() for part in parts])
        weights = held if held.any() else np.array([len(part) for part in parts])
        got = np.array([(test[part] == label).sum() for part in shared])
        assert (abs(got - weights / weights.sum() * (test == label).sum()) < 1).all()


def test_which_test_samples_a_worker_gets_is_chance_and_the_seed_decides() -> None:
    targets = test = np.arange(400) % 4
    parts = PARTITIONS.parse("iid").split(targets, 7, rng())
    shares = [[part.tolist() for part in share_test_set(targets, parts, test, rng(seed))] for seed in (1, 1, 2)]
    assert shares[0] == shares[1] != shares[2]


def test_among_many_workers_a_few_test_samples_go_to_any() -> None:
    """Equal quotas below one: it must not always be the first workers that are tested."""
    targets, test = np.zeros(1_000, np.int64), np.zeros(100, np.int64)
    parts = PARTITIONS.parse("iid").split(targets, 1_000, rng())
    tested = [rank for rank, part in enumerate(share_test_set(targets, parts, test, rng(8))) if len(part)]
    assert len(tested) == 100
    assert max(tested) > 900
