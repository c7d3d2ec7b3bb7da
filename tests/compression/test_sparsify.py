import pytest
import torch
from compressing import SIZE, Workers, vector
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

everywhere_the_same = settings(derandomize=True, deadline=None, max_examples=20)
seeds = st.integers(0, 10**6)


def through(text: str, sent: Tensor) -> Tensor:
    coder = Workers(text, 1, shapes=[(len(sent),)]).coder()
    return coder.decode(coder.encode(sent))


@everywhere_the_same
@given(seeds, st.data())
def test_top_k_keeps_the_largest_as_they_are(seed: int, data: st.DataObject) -> None:
    sent = vector(seed)
    k = data.draw(st.integers(1, SIZE))
    arrived = through(f"top-k:{k}", sent)
    kept = arrived != 0
    assert torch.equal(arrived[kept], sent[kept])
    assert kept.sum() == min(k, int((sent != 0).sum()))
    assert sent[~kept].abs().max() <= sent[kept].abs().min() if not kept.all() else True


@everywhere_the_same
@given(seeds, st.data())
def test_random_k_keeps_k_as_they_are(seed: int, data: st.DataObject) -> None:
    sent = vector(seed).abs() + 1
    k = data.draw(st.integers(1, SIZE))
    arrived = through(f"random-k:{k}", sent)
    kept = arrived != 0
    assert torch.equal(arrived[kept], sent[kept])
    assert kept.sum() == k


def test_every_place_has_its_turn() -> None:
    """Each of 83 places is drawn 200 · 20 / 83 = 48 times, give or take five standard deviations of 6."""
    workers, drawn = Workers("random-k:20", 1, shapes=[(83,)]), torch.zeros(83)
    for _ in range(200):
        drawn += workers.coder().decode(workers.coder().encode(torch.ones(83), feedback=False))
    assert drawn.sum() == 200 * 20
    assert (drawn - 48).abs().max() <= 30


@pytest.mark.parametrize(
    ("k", "size", "entries"),
    [("3", 10, 3), ("3", 2, 2), ("0.3", 10, 3), ("0.001", 10, 1), ("1.0", 10, 10), ("1", 10, 1), ("0.5", 0, 0)],
)
def test_k_is_a_number_of_entries_or_a_share(k: str, size: int, entries: int) -> None:
    """At least one is sent; of a part of the vector that has fewer than k, all are."""
    assert int((through(f"top-k:{k}", torch.ones(size)) != 0).sum()) == entries
    assert int((through(f"random-k:{k}", torch.ones(size)) != 0).sum()) == entries


def test_a_mean_of_random_places_adds_up_messages_of_the_same_places() -> None:
    workers, vectors = Workers("random-k:9", 3), [vector(seed).abs() + 1 for seed in range(3)]
    first = workers.mean(vectors)[0]
    assert [[tensor.nbytes for tensor in sent] for sent in workers.sent] == [[4 * 9]] * 3
    kept = first != 0
    assert kept.sum() == 9
    assert torch.allclose(first[kept], torch.stack(vectors).mean(0)[kept])
    second = workers.mean(vectors)[0]
    assert not torch.equal(second != 0, kept)


def test_a_mean_of_largest_numbers_gathers_all_messages() -> None:
    workers, vectors = Workers("top-k:9", 3), [vector(seed) for seed in range(3)]
    mean = workers.mean(vectors)[0]
    assert [[tensor.nbytes for tensor in sent] for sent in workers.sent] == [[8 * 9]] * 3
    assert torch.allclose(mean, torch.stack([through("top-k:9", each) for each in vectors]).mean(0))
