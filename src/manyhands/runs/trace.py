"""What each node did and when, as spans; and the file of them, which Perfetto and Chrome's tracing page open.

``trace.json`` is in the Trace Event Format (complete events "X", microseconds), see
https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU. Every node has two lanes, shown as two
threads by https://ui.perfetto.dev: what it did, and below that the communication that was hidden behind it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any, Literal, NamedTuple

Kind = Literal["compute", "exposed", "hidden", "waiting", "compression", "evaluation"]
"""the accounts that time is put on, see `manyhands.runs.ledger.Ledger`"""

LIMIT = 2_000
"""spans that are kept of a node: the first ones"""
MOST = 100_000
"""spans that are kept of all nodes together, about 10 MB in the file: of more than 50 nodes each keeps fewer"""

PROCESS = 1
"""of which all lanes are threads in the file; 0 would be the kernel's idle process"""
UNBROKEN = ("vector arithmetic", "compression", "evaluation")
"""names of what is booked piece by piece, though it is one thing"""


class Span(NamedTuple):
    """Something that a node did, on the cluster's clock with its pauses."""

    kind: Kind
    start: int
    """ns"""
    end: int
    """ns"""
    name: str
    """what it was, such as "gradient", "bucket 2" or "from 3" """


class Trace:
    """The spans of one node that began first, up to a limit. They may be added in any order."""

    __slots__ = ("_horizon", "_spans", "limit", "omitted")

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.omitted = 0
        """spans that began later"""
        self._spans: list[Span] = []
        self._horizon: float = inf if limit else -inf  # what begins after it is not among the first

    def add(self, kind: Kind, start: int, end: int, name: str) -> None:
        if start > self._horizon:
            self.omitted += 1
            return
        self._spans.append(Span(kind, start, end, name))
        if len(self._spans) >= 2 * self.limit:
            self._cut()

    def _cut(self) -> None:
        self._spans.sort(key=_start)
        self.omitted += max(0, len(self._spans) - self.limit)
        del self._spans[self.limit :]
        if len(self._spans) == self.limit:
            self._horizon = self._spans[-1].start if self._spans else -inf

    @property
    def spans(self) -> list[Span]:
        """In the order in which they began; what went on without a break is one."""
        self._cut()
        joined: list[Span] = []
        for span in self._spans:
            before = joined[-1] if joined else span
            if span.name in UNBROKEN and (span.name, span.start) == (before.name, before.end):
                joined[-1] = before._replace(end=span.end)
            else:
                joined.append(span)
        return joined

    def state(self) -> dict[str, Any]:
        """For JSON."""
        return {"spans": [list(span) for span in self.spans], "omitted": self.omitted}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Trace":
        trace = cls(max(1, len(state["spans"])))
        trace._spans = [Span(*span) for span in state["spans"]]
        trace.omitted = state["omitted"]
        return trace


def limit_for(nodes: int) -> int:
    """How many spans each of so many nodes keeps."""
    return min(LIMIT, MOST // nodes)


def encode(traces: Mapping[int, Trace], workers: int, *, clock: str) -> bytes:
    """The content of ``trace.json``: by rank, of which the first ``workers`` are workers; one event a line."""
    title: dict[str, Any] = {
        "ph": "M",
        "name": "process_name",
        "pid": PROCESS,
        "args": {"name": f"manyhands, {clock} clock"},
    }
    events = [title, *(event for rank, trace in traces.items() for event in _lanes(rank, rank < workers, trace))]
    omitted = sum(trace.omitted for trace in traces.values())
    limit = max((len(trace.spans) for trace in traces.values()), default=0)
    about = {
        "clock": clock,
        "omitted": omitted,
        "note": f"the first {limit:,} spans of a node; {omitted:,} later ones are left out" if omitted else "all spans",
    }
    lines = ",\n".join(json.dumps(event, separators=(",", ":")) for event in events)
    head = f'{{"displayTimeUnit":"ms","otherData":{json.dumps(about)},"traceEvents":[\n'
    return f"{head}{lines}\n]}}\n".encode()


def decode(content: Mapping[str, Any]) -> dict[int, list[Span]]:
    """The spans of every node in the content of a ``trace.json``; raises an error of any kind if it is damaged."""
    spans: dict[int, list[Span]] = {}
    for event in content["traceEvents"]:
        if event["ph"] == "X":
            start, length = round(event["ts"] * 1e3), round(event["dur"] * 1e3)
            kind: Kind = event["cat"]
            if kind not in _COLOURS or length < 0:
                raise ValueError("event")
            spans.setdefault(event["tid"] // 2, []).append(Span(kind, start, start + length, str(event["name"])))
    return spans


def _lanes(rank: int, works: bool, trace: Trace) -> Iterable[dict[str, Any]]:
    name = f"{'worker' if works else 'server'} {rank}"
    lanes: Sequence[tuple[int, str, list[Span]]] = (
        (2 * rank, name, [span for span in trace.spans if span.kind != "hidden"]),
        (2 * rank + 1, f"{name}, hidden communication", [span for span in trace.spans if span.kind == "hidden"]),
    )
    for lane, title, spans in lanes:
        if spans or lane == 2 * rank:
            place = {"pid": PROCESS, "tid": lane}
            yield {"ph": "M", "name": "thread_name", **place, "args": {"name": title}}
            yield {"ph": "M", "name": "thread_sort_index", **place, "args": {"sort_index": lane}}
            for span in spans:
                times = {"ts": span.start / 1e3, "dur": (span.end - span.start) / 1e3}
                yield {"ph": "X", "cat": span.kind, "name": span.name, **place, **times, "cname": _COLOURS[span.kind]}


_COLOURS: dict[Kind, str] = {
    "compute": "thread_state_running",
    "exposed": "thread_state_iowait",
    "hidden": "rail_load",
    "waiting": "grey",
    "compression": "rail_animation",
    "evaluation": "generic_work",
}
"""names that Chrome's tracing page has for colours"""


def _start(span: Span) -> int:
    return span.start
