from math import ceil, exp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.errors import UserError
from manyhands.tasks.partition import PARTITIONS, Partition, class_counts

# How to draw a member that can succeed for `workers`; a partition without an entry fails the tests below.
MEMBERS = {
    "iid": lambda workers: st.just(""),
    "dirichlet": lambda workers: st.floats(1e-9, 1e9).map(lambda alpha: f":{alpha}"),
    "dirichlet-per-worker": lambda workers: st.floats(1e-9, 1e9).map(lambda alpha: f":{alpha}"),
    "shards": lambda workers: st.integers(1, 4).map(lambda shards: f":{shards}"),
    "labels": lambda workers: st.integers(1, 4).map(lambda labels: f":{labels}"),
    "portions": lambda workers: st.just(":" + ",".join([str(1 / workers)] * workers)),
    "quantity": lambda workers: st.floats(1e-9, 1e9).map(lambda alpha: f":{alpha}"),
    "linear": lambda workers: st.just(""),
    "square": lambda workers: st.just(""),
    "exponential": lambda workers: st.just(""),
    "noise": lambda workers: st.just(":0.1"),
    "rotation": lambda workers: st.just(":15"),
    "groups": lambda workers: st.just(""),
}


SIZES = ("quantity:1.0", "linear", "square", "exponential")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def balanced(samples: int, classes: int) -> np.ndarray:
    return np.arange(samples) % classes


def counts_of(text: str, targets: np.ndarray, workers: int, seed: int = 0) -> np.ndarray:
    parts = PARTITIONS.parse(text).split(targets, workers, rng(seed))
    return np.array(class_counts(parts, targets, int(targets.max()) + 1))


@pytest.mark.parametrize("name", PARTITIONS.members)
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_every_sample_goes_to_exactly_one_worker(name: str, data: st.DataObject) -> None:
    targets = np.array(data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=80)))
    workers = data.draw(st.integers(1, 12))
    partition = PARTITIONS.parse(name + data.draw(MEMBERS[name](workers)))
    groups = np.array(data.draw(st.lists(st.integers(-9, 9), min_size=len(targets), max_size=len(targets))))
    try:
        parts = partition.split(targets, workers, rng(data.draw(st.integers(0, 99))), groups)
    except UserError:
        return  # the next test says where a refusal would be wrong
    assert len(parts) == workers
    assert all(len(part) > 0 and part.dtype == np.int64 for part in parts)
    assert all((np.diff(part) > 0).all() for part in parts)
    assert np.sort(np.concatenate(parts)).tolist() == list(range(len(targets)))


@pytest.mark.parametrize("name", PARTITIONS.members)
@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_partitions_succeed_where_they_can(name: str, data: st.DataObject) -> None:
    """With samples in plenty, even classes and workers * labels to cover them there is nothing to refuse."""
    workers = data.draw(st.integers(4, 12))
    partition = PARTITIONS.parse(name + data.draw(MEMBERS[name](workers)))
    samples = ceil(exp(workers)) if name == "exponential" else 60 * workers
    groups = np.arange(samples) % (2 * workers)
    parts = partition.split(balanced(samples, 4), workers, rng(data.draw(st.integers(0, 99))), groups)
    assert len(parts) == workers


@pytest.mark.parametrize(
    "text", ["iid", "dirichlet:0.3", "dirichlet-per-worker:0.3", "shards:2", "labels:2", *SIZES, "noise:1"]
)
def test_the_seed_decides(text: str) -> None:
    targets = balanced(300, 5)

    def split(seed: int) -> list[list[int]]:
        return [part.tolist() for part in PARTITIONS.parse(text).split(targets, 6, rng(seed))]

    assert split(1) == split(1)
    assert split(1) != split(2)


@pytest.mark.parametrize("name", PARTITIONS.members)
def test_more_workers_than_samples(name: str) -> None:
    text = {"portions": ":0.5,0.5"} | dict.fromkeys(("iid", "linear", "square", "exponential", "groups"), "")
    partition = PARTITIONS.parse(name + text.get(name, ":1"))
    with pytest.raises(UserError, match="5 workers cannot share 3 samples"):
        partition.split(np.zeros(3, np.int64), 5, rng())
    with pytest.raises(UserError, match="at least 1 worker"):
        partition.split(np.zeros(3, np.int64), 0, rng())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dirichlet:0", "alpha must be positive"),
        ("dirichlet:-1", "alpha must be positive"),
        ("dirichlet:nan", "alpha must be positive"),
        ("dirichlet-per-worker:inf", "alpha must be positive"),
        ("dirichlet:1,least=0", "least must be at least 1"),
        ("dirichlet:much", "alpha must be a number, not 'much'"),
        ("dirichlet", "needs alpha"),
        ("shards:0", "per_worker must be at least 1"),
        ("labels:-2", "per_worker must be at least 1"),
        ("portions:0.5,0.4", "add up to 1, not 0.9"),
        ("portions:1.5,-0.5", "above 0 and at most 1"),
        ("portions", "needs fractions"),
        ("quantity:0", "alpha must be positive"),
        ("quantity:1,least=0", "least must be at least 1"),
        ("linear:2", "too many values; it takes none"),
        ("noise:0", "sigma must be positive and finite, not 0"),
        ("noise:inf", "sigma must be positive and finite, not inf"),
        ("rotation:nan", "degrees must be finite, not nan"),
        ("rotation:90,groups=-1", "groups must be zero or more, not -1"),
        ("groups:a,b", "too many values; it takes file"),
        ("dirichlet:0.3+linear", "both dirichlet:0.3 and linear say who holds which samples: keep one"),
        ("iid+even", "unknown partition 'even'"),
        ("iid+noise", "needs sigma"),
        ("even", "unknown partition 'even': choose from iid, dirichlet:ALPHA"),
    ],
)
def test_bad_values(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        PARTITIONS.parse(text)


@pytest.mark.parametrize(
    ("text", "workers", "message"),
    [
        ("dirichlet:1,least=40", 3, "use fewer workers or least=33"),
        ("dirichlet-per-worker:1,least=40", 3, "use fewer workers or least=33"),
        ("shards:30", 4, "use fewer workers or shards:25"),
        ("labels:1", 3, "use labels:2 to labels:4"),
        ("labels:5", 3, "use labels:2 to labels:4"),
        ("labels:4", 50, "use fewer workers"),
        ("portions:0.5,0.5", 3, "for 2 workers, not 3"),
        ("portions:0.999,0.001", 2, "leaves worker 1 of 2 without samples"),
        ("quantity:1,least=40", 3, "use fewer workers or least=33"),
        ("exponential", 9, "partition 'exponential' leaves worker 0 of 9 without samples: use fewer workers"),
        ("square", 30, "leaves worker 0 of 30 without samples"),
        ("groups", 2, "the task has no groups: write groups:FILE"),
    ],
)
def test_impossible_splits(text: str, workers: int, message: str) -> None:
    partition: Partition = PARTITIONS.parse(text)
    with pytest.raises(UserError, match=message):
        partition.split(balanced(100, 4), workers, rng())


def test_iid_is_even_and_keeps_the_mix() -> None:
    counts = counts_of("iid", balanced(10_003, 2), 4)
    assert sorted(counts.sum(1)) == [2500, 2501, 2501, 2501]
    assert abs(counts / counts.sum(1, keepdims=True) - 0.5).max() < 0.05


def test_dirichlet_approaches_even_shares_with_alpha() -> None:
    targets = balanced(8_000, 10)
    even = counts_of("dirichlet:1e6", targets, 8)
    assert abs(even - 100).max() <= 2
    assert counts_of("dirichlet:1e9", balanced(6, 2), 2).tolist() == [[1, 1], [2, 2]]  # 1.5 is cut below
    lonely = counts_of("dirichlet:1e-3", targets, 8)
    assert (lonely.max(0) > 750).sum() >= 8  # nearly all of a class at one worker


def test_dirichlet_shares_have_the_distributions_moments() -> None:
    """Dir(alpha) over n workers: mean share 1/n, variance (n-1)/(n² (n alpha + 1))."""
    workers, alpha = 5, 0.5
    shares = counts_of(f"dirichlet:{alpha}", balanced(200_000, 1_000), workers) / 200
    assert shares.mean(1) == pytest.approx(np.full(workers, 1 / workers), abs=0.03)
    assert shares.var() == pytest.approx((workers - 1) / (workers**2 * (workers * alpha + 1)), rel=0.1)


def test_dirichlet_per_worker_shares_have_the_distributions_moments() -> None:
    """Dir(alpha/classes): variance (k-1)/(k² (alpha + 1)); used-up classes blur the last workers a little."""
    workers, classes, alpha = 200, 4, 1.0
    counts = counts_of(f"dirichlet-per-worker:{alpha}", balanced(200 * workers, classes), workers)
    assert (counts.sum(1) == 200).all()
    variance = (classes - 1) / (classes**2 * (alpha + 1))
    assert (counts / 200).var() == pytest.approx(variance, rel=0.15)


def test_dirichlet_per_worker_follows_the_prior() -> None:
    counts = counts_of("dirichlet-per-worker:1e6", np.repeat([0, 1, 2], [60_000, 30_000, 10_000]), 10)
    assert abs(counts - [6_000, 3_000, 1_000]).max() < 500


@pytest.mark.parametrize("least", [1, 40, 100])
def test_least_is_kept_and_takes_from_the_largest(least: int) -> None:
    targets = balanced(3_000, 10)
    before = counts_of("dirichlet:0.3", targets, 20).sum(1)
    after = counts_of(f"dirichlet:0.3,least={least}", targets, 20).sum(1)
    assert after.min() >= least
    assert (after[before < least] == least).all()
    givers = after < before
    assert givers.any() == (before < least).any()
    assert (after[givers] >= after.max() - 1).all()


def test_shards_hold_few_classes() -> None:
    counts = counts_of("shards:2", balanced(6_000, 10), 100)
    assert (counts.sum(1) == 60).all()
    assert (counts > 0).sum(1).max() <= 2  # 20 shards to a class: none spans two


def test_labels_are_exact_and_even() -> None:
    counts = counts_of("labels:3", balanced(7_000, 10), 7)
    assert ((counts > 0).sum(1) == 3).all()
    for label in range(10):
        held = counts[:, label][counts[:, label] > 0]
        assert len(held) in (2, 3)  # 21 places for 10 classes
        assert held.max() - held.min() <= 1


def test_portions_are_kept() -> None:
    counts = counts_of("portions:0.5,0.3,0.2", balanced(1_000, 2), 3)
    assert counts.sum(1).tolist() == [500, 300, 200]


def test_class_counts() -> None:
    parts = [np.array([0, 3]), np.array([1, 2])]
    assert class_counts(parts, np.array([2, 0, 0, 2]), 4) == [[0, 0, 2, 0], [2, 0, 0, 0]]


@pytest.mark.parametrize("text", ["iid", "dirichlet:0.3", "dirichlet:0.3,least=10", "portions:0.5,0.3,0.2", *SIZES])
def test_text_reads_back(text: str) -> None:
    partition = PARTITIONS.parse(text)
    assert PARTITIONS.parse(str(partition)) == partition
