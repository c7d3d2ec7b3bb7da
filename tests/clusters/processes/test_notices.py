"""What nodes tell each other in the store."""

from collections.abc import Iterator

import pytest
import torch.distributed as dist

from manyhands.clusters.effects import NOTHING
from manyhands.clusters.processes.notices import Notices
from manyhands.training.sampler import Batch


@pytest.fixture
def pair() -> tuple[Notices, Notices]:
    store = dist.PrefixStore("job", dist.HashStore())
    return Notices(store, 0), Notices(store, 1)


def batches(count: int) -> list[Batch]:
    return [Batch(None, number) for number in range(count)]  # type: ignore[arg-type]


def test_a_message_is_announced_to_its_receiver_alone(pair: tuple[Notices, Notices]) -> None:
    one, other = pair
    assert one.announced() == other.announced() == 0
    one.announce(1)
    one.announce(1)
    assert (one.announced(), other.announced()) == (0, 2)


def test_a_wait_ends_with_an_announcement_or_its_time(pair: tuple[Notices, Notices]) -> None:
    one, other = pair
    assert not other.wait(0, lambda: 0.0)
    one.announce(1)
    assert other.wait(0, lambda: 0.0)
    assert not other.wait(1, lambda: -1.0)
    left: Iterator[float] = iter([3.0, 2.0, 1.0])

    def later() -> float:
        if (seconds := next(left)) == 1.0:
            one.announce(1)
        return seconds

    assert other.wait(1, later)
    assert not list(left)


def test_batches_end_with_the_word(pair: tuple[Notices, Notices]) -> None:
    one, other = pair
    seen = []
    for batch in other.until_halted(batches(5), job=7):
        seen.append(batch.number)
        if batch.number == 1:
            one.halt([0, 2], job=7)
            one.halt([1], job=6)
        if batch.number == 2:
            one.halt([0, 1], job=7)
    assert seen == [0, 1, 2]
    assert not list(other.until_halted(batches(5), job=7))
    assert len(list(other.until_halted(batches(5), job=8))) == 5


def test_what_has_no_number_is_never_left(pair: tuple[Notices, Notices]) -> None:
    one, other = pair
    one.halt([1], job=NOTHING)
    assert len(list(other.until_halted(batches(3), NOTHING))) == 3
