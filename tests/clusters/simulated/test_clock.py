import random
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.clusters.simulated.clock import Clock, Event, EventQueue


def nothing() -> None:
    pass


def test_the_clock_starts_at_zero_and_advances() -> None:
    clock = Clock()
    assert clock.now == 0
    clock.advance(5)
    clock.advance(5)
    assert clock.now == 5


def test_time_cannot_go_backwards() -> None:
    clock = Clock(10)
    with pytest.raises(AssertionError, match="backwards"):
        clock.advance(9)
    assert clock.now == 10


def test_events_come_by_time_then_priority_then_order() -> None:
    queue = EventQueue()
    times, priorities = [2, 1, 1, 2, 1], [0, 1, 0, -1, 0]
    pushed = [queue.push(time, nothing, priority=priority) for time, priority in zip(times, priorities, strict=True)]
    assert [queue.pop() for _ in pushed] == [pushed[i] for i in (2, 4, 1, 3, 0)]


def test_an_empty_queue_has_nothing_to_pop() -> None:
    queue = EventQueue()
    queue.cancel(queue.push(1, nothing))
    assert not queue
    with pytest.raises(IndexError):
        queue.pop()


def test_run_carries_out_each_event_at_its_time_until_none_is_left() -> None:
    clock, queue, times = Clock(), EventQueue(), list[int]()

    def tick() -> None:
        times.append(clock.now)
        if clock.now < 30:
            queue.push(clock.now + 10, tick)

    queue.push(5, tick)
    queue.run(clock)
    assert times == [5, 15, 25, 35]
    assert clock.now == 35


def test_cancelling_what_has_happened_changes_nothing() -> None:
    queue = EventQueue()
    first, second = queue.push(1, nothing), queue.push(2, nothing)
    assert queue.pop() is first
    queue.cancel(first)
    assert len(queue) == 1
    assert queue.pop() is second


def test_cancelled_events_do_not_pile_up() -> None:
    queue = EventQueue()
    kept = queue.push(10**9, nothing)
    for time in range(10_000):
        queue.cancel(queue.push(2 * 10**9 + time, nothing))
    assert len(queue) == 1
    assert len(queue._heap) < 100
    assert queue.pop() is kept


@settings(derandomize=True, deadline=None)
@given(st.data())
def test_the_queue_is_a_sorted_list_without_the_cancelled(data: st.DataObject) -> None:
    queue, pending = EventQueue(), list[Event]()
    for _ in range(data.draw(st.integers(0, 60))):
        match data.draw(st.sampled_from(["push", "push", "push", "cancel", "pop"])):
            case "push":
                times, priorities = st.integers(0, 5), st.integers(-1, 1)
                pending.append(queue.push(data.draw(times), nothing, priority=data.draw(priorities)))
            case "cancel" if pending:
                queue.cancel(pending.pop(data.draw(st.integers(0, len(pending) - 1))))
            case "pop" if pending:
                pending.sort(key=lambda event: (event.time, event.priority, event.sequence))
                assert queue.pop() is pending.pop(0)
        assert len(queue) == len(pending)


def test_the_same_program_gives_the_same_trace() -> None:
    def trace() -> list[tuple[int, int]]:
        rng, clock, queue, happened = random.Random(3), Clock(), EventQueue(), list[tuple[int, int]]()

        def happen(number: int) -> None:
            happened.append((clock.now, number))
            for child in range(rng.randrange(3)):
                time = clock.now + rng.randrange(3)
                event = queue.push(time, partial(happen, 10 * number + child), priority=child)
                if rng.random() < 0.3:
                    queue.cancel(event)

        for number in range(1, 30):
            queue.push(rng.randrange(4), partial(happen, number))
        queue.run(clock)
        return happened

    first = trace()
    assert len(first) > 50
    assert all(trace() == first for _ in range(9))
