"""A real node's time, with a clock that the test sets: every moment is booked once."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.clusters.node import Node
from manyhands.clusters.processes import stopwatch
from manyhands.clusters.processes.account import Account, Transfer
from manyhands.clusters.processes.stopwatch import Stopwatch
from manyhands.runs.ledger import Ledger
from manyhands.runs.trace import Trace


class Hands:
    """Of the clock: they stand still until the test moves them."""

    now = 1_000

    def perf_counter_ns(self) -> int:
        return self.now


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    hands = Hands()
    monkeypatch.setattr(stopwatch, "time", hands)
    return hands


def account_of(watch: Stopwatch) -> Account:
    """An account of as much of a node as it takes."""
    node: Any = SimpleNamespace(ledger=Ledger(), trace=Trace(), arithmetic="compute")
    node.book = lambda *span: Node.book(node, *span)
    account = Account(node, watch)
    watch.start()
    account.start()
    return account


def spans(account: Account) -> list[tuple[str, int, int]]:
    return [(span.kind, span.start, span.end) for span in account.node.trace.spans]


def test_the_runs_own_time_stands_still_in_a_pause(hands: Hands) -> None:
    watch = Stopwatch()
    watch.start(now=5, wall=9)
    hands.now += 10
    assert (watch.now(), watch.wall()) == (15, 19)
    with watch.paused():
        assert watch.stopped
        hands.now += 100
        assert (watch.now(), watch.wall()) == (15, 119)
    hands.now += 1
    assert not watch.stopped
    assert (watch.now(), watch.wall()) == (16, 120)


def test_laps_and_pauses_add_up_to_the_wall_clock(hands: Hands) -> None:
    watch = Stopwatch()
    account = account_of(watch)
    hands.now += 3
    account.arithmetic()
    with account.timed("waiting", "for 1"):
        hands.now += 5
    with account.paused():
        hands.now += 70
    account.node.arithmetic = "compression"
    hands.now += 2
    account.arithmetic()
    ledger = account.node.ledger
    assert (ledger.compute, ledger.waiting, ledger.compression, ledger.evaluation) == (3, 5, 2, 70)
    assert ledger.wall == watch.wall() == watch.now() + 70
    assert spans(account) == [("compute", 0, 3), ("waiting", 3, 8), ("evaluation", 8, 78), ("compression", 78, 80)]


def test_what_travels_behind_computing_is_hidden_and_the_rest_exposed(hands: Hands) -> None:
    account = account_of(Stopwatch())
    hands.now += 100
    # Three buckets: the first is done long before the last gradient is there, two go on together after that.
    transfers = [Transfer("bucket 0", 20, 40), Transfer("bucket 1", 50, 70), Transfer("bucket 2", 60, 90)]
    account.meet(60, transfers, end=95)
    account.settle(None, 1)
    assert spans(account) == [
        ("compute", 0, 60), ("hidden", 20, 40), ("hidden", 50, 60), ("exposed", 60, 70), ("exposed", 70, 90),
        ("compute", 90, 95),
    ]  # fmt: skip
    assert account.node.ledger.wall == 95


def test_standing_still_until_the_last_is_ready_is_waiting(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two meetings; the other node was 25 later at the first, and earlier at the second."""
    account = account_of(Stopwatch())
    hands.now += 300
    account.meet(60, [Transfer("bucket 0", 40, 70), Transfer("bucket 1", 60, 90)], end=95)
    account.meet(200, [Transfer("all-reduce", 200, 240)], end=240)

    def gather(everybody: list[Any], own: Any, group: object) -> None:
        everybody[0].copy_(own)
        everybody[1].copy_(own)
        everybody[1][1:] += everybody[1].new_tensor([25, -50])

    monkeypatch.setattr("torch.distributed.all_gather", gather)
    group: Any = object()
    account.settle(group, 2)
    assert spans(account) == [
        ("compute", 0, 60), ("hidden", 40, 60), ("waiting", 60, 85), ("exposed", 85, 90), ("compute", 90, 95),
        ("compute", 95, 200), ("exposed", 200, 240),
    ]  # fmt: skip
    assert account.meetings == []


def test_clocks_of_several_machines_are_not_compared(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    account = account_of(Stopwatch())
    hands.now += 100
    account.meet(60, [Transfer("all-reduce", 60, 90)], end=90)

    def gather(everybody: list[Any], own: Any, group: object) -> None:
        everybody[0].copy_(own)
        everybody[1].copy_(own + 7)  # another machine's number, and a later time

    monkeypatch.setattr("torch.distributed.all_gather", gather)
    group: Any = object()
    account.settle(group, 2)
    assert spans(account) == [("compute", 0, 60), ("exposed", 60, 90)]


@given(
    starts=st.lists(st.integers(0, 100), min_size=1, max_size=6).map(sorted),
    lengths=st.lists(st.integers(0, 80), min_size=6, max_size=6),
    rest=st.integers(0, 20),
)
def test_a_meeting_is_booked_without_gap_or_overlap(starts: list[int], lengths: list[int], rest: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopwatch, "time", Hands())
        account = account_of(Stopwatch())
    transfers = [Transfer(f"bucket {n}", start, start + lengths[n]) for n, start in enumerate(starts)]
    ready = starts[-1]
    end = max(transfer.end for transfer in transfers) + rest
    account.meet(ready, transfers, end)
    account.settle(None, 1)
    ledger = account.node.ledger
    assert ledger.wall == end
    assert ledger.waiting == 0
    busy = {moment for transfer in transfers for moment in range(transfer.start, transfer.end)}
    assert ledger.hidden == len([moment for moment in busy if moment < ready])
    assert ledger.exposed == len([moment for moment in busy if moment >= ready])
    for lane in (True, False):
        own = [span for span in account.node.trace.spans if (span.kind == "hidden") == lane]
        assert all(earlier.end <= later.start for earlier, later in pairwise(own))
