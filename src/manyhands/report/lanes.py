"""A picture of what the nodes did in their first steps: one lane for each, as in its run's trace."""

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from manyhands.report import numbers
from manyhands.report.figure import Figure, to_spec
from manyhands.runs.files import Json
from manyhands.runs.reading import RunView
from manyhands.runs.trace import Kind, Span

STEPS = 4  # that are drawn
FURTHEST = 40  # steps that are drawn until the first communication is seen
MOST_LANES = 10
MOST_SPANS = 240
NARROWEST = 1 / 1500  # of the picture: what is shorter cannot be seen
WRITTEN = 0.1  # of the picture: a name has room in what is longer
LANE = 38  # height of a node's two lanes, in pixels
COMPUTING = ("gradient", "local steps")
WORDS: dict[Kind, str] = {
    "compute": "compute",
    "compression": "compression",
    "exposed": "exposed communication",
    "hidden": "hidden communication",
    "waiting": "waiting",
    "evaluation": "evaluation",
}
# Communication has one hue, hidden or not; what is no work is grey, on a light page and on a dark one.
COLOURS: dict[Kind, str] = {
    "compute": "#3295f6",
    "compression": "#7f51c1",
    "exposed": "#d9541e",
    "hidden": "#f2a07e",
    "waiting": "rgba(127,136,148,0.42)",
    "evaluation": "rgba(127,136,148,0.18)",
}
PALE = 0.55  # opacity of computing: the optimiser's step and other vector arithmetic beside a gradient
UNITS = ((1e9, "seconds"), (1e6, "milliseconds"), (1e3, "microseconds"), (1.0, "nanoseconds"))


@dataclass(frozen=True)
class _Lane:
    """One node's part of the picture."""

    rank: int
    name: str
    spans: list[Span]

    @property
    def steps(self) -> list[Span]:
        return [span for span in self.spans if span.name in COMPUTING]


def lanes_figure(run: RunView, key: str) -> list[Figure]:
    """The first steps of the run's trace; none without a trace."""
    lanes = _choose(run)
    if not any(lane.steps for lane in lanes):
        return []
    # A real run's very first step is slower than all others.
    start, end = _window(lanes, skipped=1 if run.clock == "real" else 0)
    shown = [_Lane(lane.rank, lane.name, _between(lane.spans, start, end)) for lane in lanes]
    kinds: list[Kind] = [kind for kind in WORDS if any(span.kind == kind for lane in shown for span in lane.spans)]
    rows = [[lane.name, *(_duration(lane, kind) for kind in kinds)] for lane in shown]
    said = "; ".join(f"{row[0]} " + ", ".join(map(" ".join, zip(kinds, row[1:], strict=True))) for row in rows)
    nodes = len(run.spans)
    caption = (
        f"The first steps{', but for the very first,' if run.clock == 'real' else ''} of "
        f"{'every node' if nodes == len(shown) else f'{len(shown)} of {nodes:,} nodes'}. Pale: vector arithmetic, such "
        "as the optimiser’s step. "
    )
    if "hidden" in kinds:
        caption += "The thin lane below a node: communication hidden behind its work. "
    caption += "All of it is in trace.json, which ui.perfetto.dev opens."
    overlap = _overlap(shown)
    if overlap is not None:
        caption += f" Here overlap = 1 − exposed / (exposed + hidden) = {numbers.percent(overlap, 0)}."
    return [
        Figure(
            key=f"{key}-lanes",
            title="What the nodes did",
            caption=caption,
            alt=f"Lanes on a time axis of {numbers.duration((end - start) / 1e9)}: {said}.",
            spec=_draw(shown, start, end, kinds),
            header=("Node", *(WORDS[kind].capitalize() for kind in kinds)),
            rows=rows,
            broad=True,
        )
    ]


def _choose(run: RunView) -> list[_Lane]:
    """The first workers, and the first servers beside them."""
    known = [(rank, run.spans[rank]) for rank in sorted(run.spans)]
    workers = [_Lane(rank, f"worker {rank}", spans) for rank, spans in known if rank < run.workers]
    servers = [_Lane(rank, f"server {rank}", spans) for rank, spans in known if rank >= run.workers]
    beside = servers[: max(MOST_LANES // 3, MOST_LANES - len(workers))]
    return workers[: MOST_LANES - len(beside)] + beside


def _window(lanes: Sequence[_Lane], skipped: int) -> tuple[int, int]:
    """From when to when: until each has done some steps, and longer, until some communication is seen."""
    steps = [lane.steps for lane in lanes if lane.steps]
    skipped = min(skipped, min(map(len, steps)) - 1)
    start = min(own[skipped].start for own in steps)
    pauses = [span.start for lane in lanes for span in lane.spans if span.kind == "evaluation" and span.start > start]
    last = max(span.end for lane in lanes for span in lane.spans)
    stop = min([*pauses, last])
    end = stop
    talks = [span for lane in lanes for span in lane.spans if span.kind in ("exposed", "hidden")]
    for count in range(STEPS, FURTHEST + 1):
        end = max([own[skipped + count].start if skipped + count < len(own) else stop for own in steps])
        if _between(talks, start, end):
            break
    return start, max(start + 1, min(end, stop))


def _between(spans: Sequence[Span], start: int, end: int) -> list[Span]:
    """What can be seen of the spans in this time."""
    narrowest = (end - start) * NARROWEST
    cut = [span._replace(start=max(span.start, start), end=min(span.end, end)) for span in spans]
    return [span for span in cut if span.end - span.start >= max(1.0, narrowest)]


def _duration(lane: _Lane, kind: Kind) -> str:
    return numbers.duration(sum(span.end - span.start for span in lane.spans if span.kind == kind) / 1e9)


def _overlap(lanes: Sequence[_Lane]) -> float | None:
    """The share of the communication that was hidden; None where none was, or could be."""
    time = dict.fromkeys(WORDS, 0)
    for lane in lanes:
        for span in lane.spans:
            time[span.kind] += span.end - span.start
    return time["hidden"] / (time["hidden"] + time["exposed"]) if time["hidden"] else None


def _draw(lanes: Sequence[_Lane], start: int, end: int, kinds: Sequence[Kind]) -> Json:
    """A rectangle for each span. The vertical axis counts nodes; a node's own lane lies above its hidden one."""
    scale, unit = next(one for one in UNITS if end - start >= one[0])
    longest = sorted(
        ((span, place) for place, lane in enumerate(lanes) for span in lane.spans),
        key=lambda pair: pair[0].start - pair[0].end,
    )
    above = -0.36 if "hidden" in kinds else -0.28
    rows = [
        {
            "kind": WORDS[span.kind],
            "name": span.name,
            "from": round((span.start - start) / scale, 4),
            "to": round((span.end - start) / scale, 4),
            "top": place + (0.24 if span.kind == "hidden" else above),
            "end": place + (0.4 if span.kind == "hidden" else above + 0.56),
            "solid": PALE if span.name == "vector arithmetic" else 1,
            "text": span.name if _has_room(span, end - start) else "",
        }
        for span, place in longest[:MOST_SPANS]
    ]
    names = [lane.name for lane in lanes]
    domain = [WORDS[kind] for kind in kinds]
    x = alt.X("from:Q", title=f"{unit} since the first step drawn", axis=alt.Axis(tickCount=6, grid=False)).scale(
        domain=[0, (end - start) / scale], nice=False
    )
    y_axis = alt.Axis(
        title=None, values=list(range(len(names))), labelExpr=f"{names}[datum.value]", grid=False, ticks=False,
        domain=False,
    )  # fmt: skip
    y_scale = alt.Scale(domain=[len(names) - 0.5, above - 0.08], nice=False, zero=False)
    y = alt.Y("top:Q", axis=y_axis, scale=y_scale)
    legend = alt.Legend(title=None, columns=3, symbolType="square", symbolSize=110)
    colour = alt.Color("kind:N", sort=None, legend=legend).scale(domain=domain, range=[COLOURS[kind] for kind in kinds])
    base = alt.Chart(alt.NamedData("spans")).encode(x=x, y=y)
    bars = base.mark_rect().encode(
        x2=alt.X2("to:Q"),
        y2=alt.Y2("end:Q"),
        color=colour,
        opacity=alt.Opacity("solid:Q", scale=None, legend=None),
        tooltip=[
            alt.Tooltip("name:N"),
            alt.Tooltip("kind:N"),
            alt.Tooltip("from:Q", title=f"from, {unit}"),
            alt.Tooltip("to:Q", title="to"),
        ],
    )
    texts = base.mark_text(color="white", fontSize=10, align="left", dx=4, clip=True).encode(
        y=alt.Y("middle:Q", axis=y_axis, scale=y_scale), text=alt.Text("text:N")
    )
    texts = texts.transform_filter("datum.text != ''").transform_calculate(middle="(datum.top + datum.end) / 2")
    whole = alt.layer(bars, texts).properties(width="container", height=LANE * len(names))
    return to_spec(whole, spans=rows)


def _has_room(span: Span, whole: int) -> bool:
    """For its name, in white on a colour."""
    solid = span.kind in ("compute", "compression", "exposed") and span.name != "vector arithmetic"
    return solid and span.end - span.start >= WRITTEN * whole
