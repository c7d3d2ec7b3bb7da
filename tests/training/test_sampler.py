from itertools import chain

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.training.sampler import Batch, Sampler, micro_sizes

everywhere_the_same = settings(derandomize=True, deadline=None)
sizes = st.integers(1, 40)


def sampler(samples: int, batch_size: int, seed: int = 0, rank: int = 0) -> Sampler:
    """Of samples with numbers that are not their positions."""
    return Sampler(np.arange(samples) * 10 + 5, batch_size, seed, rank)


@everywhere_the_same
@given(samples=sizes, batch_size=sizes, batches=st.integers(1, 30))
def test_the_stream_is_one_permutation_after_another(samples: int, batch_size: int, batches: int) -> None:
    stream = sampler(samples, batch_size)
    drawn = [stream.next_batch() for _ in range(batches)]
    assert {len(batch) for batch in drawn} == {min(batch_size, samples)}
    numbers = np.concatenate(drawn)
    for start in range(0, len(numbers) - samples + 1, samples):
        assert sorted(numbers[start : start + samples]) == stream.samples.tolist()


@everywhere_the_same
@given(samples=sizes, batch_size=sizes, before=st.integers(0, 5))
def test_a_pass_covers_every_sample_once_wherever_the_stream_was(samples: int, batch_size: int, before: int) -> None:
    own = sampler(samples, batch_size)
    for _ in range(before):
        own.next_batch()
    batches = own.one_pass()
    assert sorted(chain.from_iterable(batches)) == own.samples.tolist()
    assert all(len(batch) == own.batch_size for batch in batches[:-1])
    assert 1 <= len(batches[-1]) <= own.batch_size
    assert own.drawn == before + len(batches)


@everywhere_the_same
@given(
    samples=sizes, batch_size=sizes, calls=st.lists(st.booleans(), max_size=8), more=st.lists(st.booleans(), max_size=8)
)
def test_three_integers_are_its_whole_state(samples: int, batch_size: int, calls: list[bool], more: list[bool]) -> None:
    def draw(own: Sampler, calls: list[bool]) -> list[list[int]]:
        batches = [own.one_pass() if whole else [own.next_batch()] for whole in calls]
        return [batch.tolist() for batch in chain.from_iterable(batches)]

    original, copy = sampler(samples, batch_size), sampler(samples, batch_size)
    draw(original, calls)
    copy.restore(original.state())
    assert draw(copy, more) == draw(original, more)
    assert copy.state() == original.state()


def test_each_worker_seed_and_pass_has_an_order_of_its_own() -> None:
    orders = [sampler(50, 50, seed, rank).next_batch().tolist() for seed in (0, 1) for rank in (0, 1)]
    again = sampler(50, 50)
    again.next_batch()
    orders.append(again.next_batch().tolist())
    assert len({tuple(order) for order in orders}) == 5
    assert sampler(50, 50).next_batch().tolist() == orders[0]


def test_a_stream_and_passes_draw_the_same_where_batches_divide_the_samples() -> None:
    stream, passes = sampler(12, 4), sampler(12, 4)
    streamed = [stream.next_batch().tolist() for _ in range(6)]
    assert streamed == [batch.tolist() for _ in range(2) for batch in passes.one_pass()]


def test_a_batch_is_as_long_as_its_samples() -> None:
    assert len(Batch(np.arange(3), number=7)) == 3


@everywhere_the_same
@given(samples=st.integers(1, 200), most=sizes)
def test_micro_batches_are_full_but_for_the_last(samples: int, most: int) -> None:
    cut = micro_sizes(samples, most)
    assert sum(cut) == samples
    assert all(size == most for size in cut[:-1])
    assert 1 <= cut[-1] <= most
    assert micro_sizes(samples, None) == [samples]
