"""A node's account: sums, bytes on the wire, and old accounts."""

import json
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.runs.ledger import ACKNOWLEDGED, HEADERS, SEGMENT, Ledger, segments
from manyhands.runs.trace import Kind


def test_all_but_hidden_communication_is_the_nodes_time() -> None:
    ledger = Ledger()
    kinds: list[Kind] = ["compute", "exposed", "hidden", "waiting", "compression", "evaluation"]
    for power, kind in enumerate(kinds):
        ledger.add(kind, 10**power)
        ledger.add(kind, 10**power)
    assert ledger.wall == 222_222 - 200
    assert ledger.to_json()["seconds"] == {
        "compute": 2e-9,
        "exposed_communication": 2e-8,
        "hidden_communication": 2e-7,
        "waiting": 2e-6,
        "compression": 2e-5,
        "evaluation": 2e-4,
    }


@given(st.integers(0, 10**7), st.integers(1, 50))
def test_equal_messages_fill_whole_segments_each(size: int, messages: int) -> None:
    assert segments(size * messages, messages) == messages * len(range(0, size, SEGMENT))


def test_a_segment_is_what_the_mtu_leaves() -> None:
    assert SEGMENT == 1_500 - 20 - 20 - 12
    assert HEADERS == 14 + 20 + 20 + 12


@given(st.lists(st.integers(0, 10**6), max_size=6), st.lists(st.integers(0, 10**6), max_size=6))
def test_bytes_on_the_wire(sent: list[int], received: list[int]) -> None:
    ledger = Ledger()
    for size in sent:
        ledger.note_sent(size, to=1)
    for size in received:
        ledger.note_received(size)
    assert (ledger.bytes_sent, ledger.bytes_received, ledger.messages_sent) == (sum(sent), sum(received), len(sent))
    out, back = (sum(size + 66 * ceil(size / 1448) for size in sizes) for sizes in (sent, received))
    assert ledger.wire == (out + 66 * ceil(sum(received) / 65_536), back + 66 * ceil(sum(sent) / 65_536))
    content = ledger.to_json()["bytes"]
    assert content["algorithmic"] == {"sent": sum(sent), "received": sum(received)}
    assert content["wire"] == {"sent": ledger.wire[0], "received": ledger.wire[1]}
    assert content["measured"] is None
    assert content["measured_why"]


def test_long_messages_grow_by_less_than_five_percent() -> None:
    ledger = Ledger()
    ledger.note_sent(10**9, to=1)
    ledger.note_received(10**9)
    share = (HEADERS / SEGMENT) + HEADERS / ACKNOWLEDGED
    assert ledger.wire[0] / 10**9 == pytest.approx(1 + share, abs=1e-6)
    assert 0.046 < share < 0.05


def test_it_knows_to_whom_the_bytes_went() -> None:
    ledger = Ledger()
    ledger.note_sent(5, to=10)
    ledger.note_sent(0, to=3)
    ledger.note_sent(7, to=2)
    ledger.note_collective({10: 6, 1: 0}, received=4, messages=2)
    assert (ledger.bytes_sent, ledger.bytes_received, ledger.messages_sent) == (18, 4, 5)
    assert list(ledger.to_json()["to"].items()) == [("2", 7), ("10", 11)]
    assert (ledger.segments_sent, ledger.segments_received) == (4, 2)


def test_measured_bytes_stand_in_place_of_a_reason() -> None:
    content = Ledger(measured=(5, 7)).to_json()["bytes"]
    assert content["measured"] == {"sent": 5, "received": 7}
    assert "measured_why" not in content


def test_the_state_is_read_back_and_that_of_earlier_versions_too() -> None:
    ledger = Ledger(compute=1, compression=2, measured=(3, 4), to={1: 5}, staleness={2: 1})
    assert Ledger(**json.loads(json.dumps(ledger.state()))) == ledger
    old: dict[str, Any] = {"compute": 1, "exposed": 2, "hidden": 3, "waiting": 4, "bytes_sent": 5, "bytes_received": 6}
    assert Ledger(**old, messages_sent=7, staleness={}).wall == 7
