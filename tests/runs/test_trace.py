"""Spans of time: which are kept, and the file of them."""

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.runs import trace
from manyhands.runs.trace import Kind, Span, Trace, limit_for

KINDS = st.sampled_from(get_args(Kind))


@st.composite
def lanes(draw: st.DrawFn) -> list[Span]:
    """Spans one after another, as a node books them."""
    spans, now = [], 0
    for number in range(draw(st.integers(0, 30))):
        start = now + draw(st.integers(0, 3))
        now = start + draw(st.integers(1, 5_000))
        spans.append(Span(draw(KINDS), start, now, f"span {number}"))
    return spans


def filled(spans: list[Span], limit: int) -> Trace:
    kept = Trace(limit)
    for span in spans:
        kept.add(*span)
    return kept


@given(lanes(), st.integers(0, 12), st.randoms(use_true_random=False))
def test_the_first_spans_are_kept_whatever_their_order(spans: list[Span], limit: int, random: object) -> None:
    shuffled = list(spans)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    kept = filled(shuffled, limit)
    assert kept.spans == spans[:limit]
    assert kept.omitted == max(0, len(spans) - limit)
    assert kept.omitted + len(kept.spans) == len(spans)


def test_a_trace_holds_no_more_than_twice_its_limit() -> None:
    kept = Trace(10)
    for number in reversed(range(1_000)):
        kept.add("compute", number, number + 1, "gradient")
        assert len(kept._spans) < 20
    assert [span.start for span in kept.spans] == list(range(10))


def test_what_is_booked_piece_by_piece_is_one_span() -> None:
    kept = Trace()
    for name, start, end in [
        ("gradient", 0, 3),
        ("gradient", 3, 5),
        *[("vector arithmetic", n, n + 1) for n in (5, 6)],
    ]:
        kept.add("compute", start, end, name)
    kept.add("compute", 8, 9, "vector arithmetic")  # after a break
    assert [(span.name, span.start, span.end) for span in kept.spans] == [
        ("gradient", 0, 3), ("gradient", 3, 5), ("vector arithmetic", 5, 7), ("vector arithmetic", 8, 9)
    ]  # fmt: skip


def test_the_spans_of_very_many_nodes_are_bounded() -> None:
    assert limit_for(1) == limit_for(50) == trace.LIMIT
    for nodes in (51, 1_000, 10_000, 1_000_000):
        assert limit_for(nodes) * nodes <= trace.MOST


@given(st.lists(lanes(), min_size=1, max_size=4), st.integers(0, 4))
def test_the_file_is_chrome_trace_events(nodes: list[list[Span]], workers: int) -> None:
    content = json.loads(
        trace.encode({rank: filled(own, 2_000) for rank, own in enumerate(nodes)}, workers, clock="real")
    )
    assert content["otherData"]["clock"] == "real"
    ends: dict[int, float] = {}
    for event in content["traceEvents"]:
        assert event["ph"] in ("X", "M")
        assert event["pid"] == 1
        if event["ph"] == "X":
            assert event["dur"] > 0
            assert event["ts"] >= ends.get(event["tid"], 0.0) - 1e-6  # microseconds: no two overlap in a lane
            assert (event["cat"] == "hidden") == event["tid"] % 2
            ends[event["tid"]] = event["ts"] + event["dur"]
    titles = {event["tid"]: event["args"]["name"] for event in content["traceEvents"] if event["name"] == "thread_name"}
    assert set(ends) <= set(titles)
    for rank in range(len(nodes)):
        assert titles[2 * rank] == f"{'worker' if rank < workers else 'server'} {rank}"
    read = trace.decode(content)
    for rank, own in enumerate(nodes):
        assert sorted(read.get(rank, []), key=lambda span: span.start) == own


def test_the_file_says_what_is_left_out() -> None:
    spans = [Span("compute", number, number + 1, "gradient") for number in range(9)]
    about = json.loads(trace.encode({0: filled(spans, 5)}, 1, clock="simulated"))["otherData"]
    assert about["omitted"] == 4
    assert about["note"] == "the first 5 spans of a node; 4 later ones are left out"
    assert json.loads(trace.encode({0: filled(spans, 9)}, 1, clock="simulated"))["otherData"]["note"] == "all spans"


@given(lanes(), st.integers(1, 12))
def test_a_trace_travels_as_json(spans: list[Span], limit: int) -> None:
    kept = filled(spans, limit)
    read = Trace.from_state(json.loads(json.dumps(kept.state())))
    assert read.spans == kept.spans
    assert read.omitted == kept.omitted


@pytest.mark.parametrize(
    "change", [{"cat": "sleep"}, {"dur": -1.0}, {"ts": "soon"}, {"tid": None}], ids=lambda change: next(iter(change))
)
def test_a_damaged_file_is_refused(change: dict[str, object]) -> None:
    content = json.loads(trace.encode({0: filled([Span("compute", 0, 5, "gradient")], 9)}, 1, clock="real"))
    assert trace.decode(content)
    content["traceEvents"][-1] |= change
    with pytest.raises((ValueError, TypeError, KeyError)):
        trace.decode(content)
