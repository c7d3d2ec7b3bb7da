"""Charts that only the live page has: how fast a run goes, what it sends, and what each node spends."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import ceil

import altair as alt

from manyhands.report import numbers
from manyhands.report.curves import BYTES, EPOCH, Point, Quantity, curve, line_figure
from manyhands.report.figure import Figure, to_spec
from manyhands.report.lanes import COLOURS, WORDS
from manyhands.report.series import Series
from manyhands.runs.files import Json
from manyhands.runs.reading import RunView
from manyhands.runs.trace import Kind
from manyhands.statistics import estimate

MOST_POINTS = 250  # of a line
MOST_NODES = 24  # with a bar each
BAR, STEP = 14, 24  # height of a bar, and of a bar with the space around it, in pixels
PARTS: dict[Kind, str] = {
    "compute": "compute",
    "compression": "compression",
    "exposed": "exposed_communication",
    "waiting": "waiting",
}
"""the accounts that add up to a node's time on the run's own clock, and their names in the ledger"""

RATE = Quantity(
    field="rate",
    title="Samples per second",
    write=numbers.general,
    tooltip=".4~s",
    label="format(datum.value, '~s')",
)
SENT = replace(BYTES, title="Bytes sent", log=False)


def thinned(run: RunView) -> RunView:
    """The same with at most `MOST_POINTS` rows, evenly, the last one among them: more cannot be seen, and take long."""
    step, last = max(1, ceil(len(run.history) / MOST_POINTS)), len(run.history) - 1
    return replace(run, history=[row for index, row in enumerate(run.history) if (last - index) % step == 0])


def pace_figures(series: Sequence[Series], x: Quantity = EPOCH) -> list[Figure]:
    """Samples in a second of the cluster's clock, from one evaluation to the next, and bytes sent so far."""
    rates = {one: points for one in series if (points := _rates(one))}
    sent = {one: curve(one) for one in series if one.runs[0].history}
    senders = {one: points for one, points in sent.items() if any(point.mean(SENT) for point in points)}
    figures = []
    if rates:
        caption = "Of all workers together, in a second of the cluster's clock, since the evaluation before."
        figures.append(line_figure("rate-by-epoch", "Throughput by epoch", caption, x, RATE, rates))
    if senders:
        caption = "Sent so far by all nodes, as the strategy asks for it; who sends nothing is not drawn."
        figures.append(line_figure("sent-by-epoch", "Bytes by epoch", caption, x, SENT, senders))
    return figures


def _rates(one: Series) -> list[Point]:
    points = []
    for pairs in zip(*(pairwise(run.history) for run in one.runs), strict=False):
        rates = [_rate(before, row) for before, row in pairs]
        epochs = [row["epoch"] for _, row in pairs]
        if None not in rates and None not in epochs:
            points.append(Point({"rate": estimate(rates), "epoch": estimate(epochs)}))
    return points


def _rate(before: Json, row: Json) -> float | None:
    if None in (before["samples"], row["samples"], before["seconds"], row["seconds"]):
        return None
    passed = row["seconds"] - before["seconds"]
    return (row["samples"] - before["samples"]) / passed if passed > 0 else None


def accounts_figure(nodes: Sequence[Json], *, so_far: bool) -> list[Figure]:
    """A lane for each node: what its time on the cluster's clock went to. ``nodes`` are those of a ledger."""
    shown = list(nodes[:MOST_NODES])
    if not any(_spent(node) for node in shown):
        return []
    names = [f"{node['role']} {node['rank']}" for node in shown]
    kinds = [kind for kind, key in PARTS.items() if any(node["seconds"].get(key) for node in shown)]
    cells = [[numbers.duration(node["seconds"].get(PARTS[kind], 0.0)) for kind in kinds] for node in shown]
    until = "Until the last checkpoint: t" if so_far else "T"
    caption = f"{until}ime on the cluster's clock; evaluation is left out, and communication hidden behind computing."
    if len(shown) < len(nodes):
        caption += f" The first {len(shown)} of {len(nodes):,} nodes."
    said = "; ".join(f"{name} " + ", ".join(own) for name, own in zip(names, cells, strict=True))
    return [
        Figure(
            key="accounts",
            title="Where each node's time went" if not so_far else "Where each node's time goes",
            caption=caption,
            alt=f"Stacked bars of {', '.join(WORDS[kind] for kind in kinds)}: {said}.",
            spec=_bars(shown, names, kinds),
            header=("Node", *(WORDS[kind].capitalize() for kind in kinds), "Sent", "Received"),
            rows=[
                [name, *own, numbers.size(node["bytes_sent"]), numbers.size(node["bytes_received"])]
                for name, own, node in zip(names, cells, shown, strict=True)
            ],
            broad=True,
        )
    ]


def _spent(node: Json) -> float:
    return sum(float(node["seconds"].get(key, 0.0)) for key in PARTS.values())


def _bars(nodes: Sequence[Json], names: Sequence[str], kinds: Sequence[Kind]) -> Json:
    longest = max(map(_spent, nodes))
    scale, unit = (1.0, "seconds") if longest >= 1 else (1e3, "milliseconds")
    rows = [
        {
            "node": name,
            "kind": WORDS[kind],
            "order": order,
            "time": float(f"{scale * node['seconds'].get(PARTS[kind], 0.0):.5g}"),
            "sent": numbers.size(node["bytes_sent"]),
        }
        for name, node in zip(names, nodes, strict=True)
        for order, kind in enumerate(kinds)
    ]
    legend = alt.Legend(title=None, columns=4, symbolType="square", symbolSize=110)
    colour = alt.Color("kind:N", sort=None, legend=legend).scale(
        domain=[WORDS[kind] for kind in kinds], range=[COLOURS[kind] for kind in kinds]
    )
    time = alt.X("time:Q", title=f"{unit} on the cluster's clock", axis=alt.Axis(tickCount=6, grid=False))
    chart = (
        alt.Chart(alt.NamedData("rows"))
        .mark_bar(height=BAR)
        .encode(
            y=alt.Y("node:N", sort=None, title=None, axis=alt.Axis(ticks=False, domain=False, grid=False)),
            x=time.scale(nice=False),
            color=colour,
            order=alt.Order("order:Q"),
            tooltip=[
                alt.Tooltip("node:N"),
                alt.Tooltip("kind:N"),
                alt.Tooltip("time:Q", title=unit),
                alt.Tooltip("sent:N", title="bytes sent"),
            ],
        )
    )
    return to_spec(chart.properties(width="container", height=STEP * len(names)), rows=rows)
