"""Pictures of who talked to whom: nodes on a circle, servers in the middle, lines as thick as their bytes.

It is drawn from the ledger's ``to``: the algorithmic bytes that each node sent to each other.
"""

import math
from collections.abc import Sequence

import altair as alt

from manyhands.report import numbers
from manyhands.report.figure import Figure, to_spec
from manyhands.report.pictures import HEAT, WIDTH
from manyhands.report.series import Series
from manyhands.runs.files import Json
from manyhands.runs.reading import RunView

MOST_NODES = 32  # on a circle; more are drawn as a map of senders and receivers
MOST_CELLS = 50  # of that map, in a row
MOST_ROWS = 200  # of the table
SIZE = 300  # of the picture, in pixels
NEARLY = 0.05  # share by which two directions may differ and be drawn as one line

Edges = dict[tuple[int, int], float]
"""bytes by sender and receiver"""


def topology_figures(series: Sequence[Series]) -> list[Figure]:
    """One for each strategy and number of workers, whatever it was put under; the first seed stands for all."""
    shown: dict[str, Series] = {}
    for one in series:
        if edges(one.runs[0]):
            shown.setdefault(f"{one.subject} {one.workers}", one)
    several = [one.subject for one in shown.values()]
    return [
        _figure(one.runs[0], f"topology-{number}", one.subject if several.count(one.subject) == 1 else one.label)
        for number, one in enumerate(shown.values())
    ]


def edges(run: RunView) -> Edges:
    """Who sent how much to whom; empty where the ledger does not tell, or nobody sent anything."""
    nodes = run.ledger["nodes"] if run.ledger is not None else []
    known = {int(node["rank"]) for node in nodes}
    sent = {
        (int(node["rank"]), int(to)): float(count) for node in nodes for to, count in (node.get("to") or {}).items()
    }
    return {(rank, to): count for (rank, to), count in sent.items() if count > 0 and to in known and to != rank}


def _figure(run: RunView, key: str, name: str) -> Figure:
    assert run.ledger is not None
    sent = edges(run)
    nodes = [(int(node["rank"]), str(node["role"])) for node in run.ledger["nodes"]]
    many = len(nodes) > MOST_NODES
    heaviest = sorted(sent.items(), key=lambda pair: (-pair[1], pair[0]))
    (rank, to), most = heaviest[0]
    servers = sum(role == "server" for _, role in nodes)
    one_way = any(not _both_ways(sent, pair) for pair in sent)
    if many:
        caption = "Sender down, receiver across; the more solid, the more bytes."
    else:
        caption = "Lines are as thick as the bytes sent, both ways together."
        caption += " Arrows: one way only, or more than the other way." if one_way else ""
        caption += " Squares: servers." if servers else ""
    return Figure(
        key=key,
        title=name,
        caption=f"{caption} {numbers.size(sum(sent.values()))} in all.",
        alt=f"{'Map' if many else 'Drawing'} of who sent to whom among {numbers.count(len(nodes), 'node')}"
        f"{f', {servers:,} of them servers' if servers else ''}: {len(sent):,} of {len(nodes) * (len(nodes) - 1):,} "
        f"directed pairs; most from {rank} to {to}, {numbers.size(most)}.",
        spec=_map(nodes, sent) if many else _circle(nodes, sent),
        header=("From", "To", "Bytes"),
        rows=[[f"{rank:,}", f"{to:,}", numbers.size(count)] for (rank, to), count in heaviest[:MOST_ROWS]],
    )


def _both_ways(sent: Edges, pair: tuple[int, int]) -> bool:
    there, back = sent[pair], sent.get((pair[1], pair[0]), 0.0)
    return abs(there - back) <= NEARLY * max(there, back)


# ---- few nodes


def _circle(nodes: Sequence[tuple[int, str]], sent: Edges) -> Json:
    at = places(nodes)
    lines: list[Json] = []
    heads: list[Json] = []
    for (rank, to), count in sent.items():
        back = sent.get((to, rank), 0.0)
        both = _both_ways(sent, (rank, to))
        (left, bottom), (right, top) = at[rank], at[to]
        if rank < to or not back:  # a line for each pair
            way = f"{rank} and {to}" if both else f"{rank} to {to}"
            text = f"{way}: {numbers.size(count + back)}"
            lines.append({"x": left, "y": bottom, "x2": right, "y2": top, "bytes": count + back, "text": text})
        if not both and count > back:
            angle = math.degrees(math.atan2(right - left, top - bottom)) % 360
            x, y = left + 0.6 * (right - left), bottom + 0.6 * (top - bottom)
            heads.append({"x": x, "y": y, "angle": round(angle, 1)})
    dots = [{"x": at[rank][0], "y": at[rank][1], "node": str(rank), "role": role} for rank, role in nodes]
    small = len(nodes) > 16
    scale = alt.Scale(domain=[-1.15, 1.15], nice=False)
    across, up = alt.X("x:Q", axis=None, scale=scale), alt.Y("y:Q", axis=None, scale=scale)
    rules = alt.Chart(alt.NamedData("lines")).mark_rule(color=HEAT, strokeCap="round")
    rules = rules.encode(
        x=across,
        y=up,
        x2="x2:Q",
        y2="y2:Q",
        opacity=alt.OpacityValue(0.3 if len(lines) > 60 else 0.55),
        strokeWidth=alt.StrokeWidth("bytes:Q", legend=None).scale(
            domain=[0, max(line["bytes"] for line in lines)], range=[0.5, 2.5 if len(lines) > 60 else 6]
        ),
        tooltip=alt.Tooltip("text:N", title="between"),
    )
    layers: list[alt.Chart] = [rules]
    if heads:
        arrows = alt.Chart(alt.NamedData("heads")).mark_point(shape="triangle-up", filled=True, size=90, color=HEAT)
        layers.append(
            arrows.encode(x=across, y=up, angle=alt.Angle("angle:Q", scale=None), opacity=alt.OpacityValue(0.9))
        )
    points = alt.Chart(alt.NamedData("dots")).encode(x=across, y=up)
    marks = points.mark_point(filled=True, opacity=1, size=230 if small else 480, color=HEAT).encode(
        shape=alt.Shape("role:N", legend=None).scale(domain=["worker", "server"], range=["circle", "square"]),
        tooltip=[alt.Tooltip("node:N"), alt.Tooltip("role:N")],
    )
    texts = points.mark_text(color="white", fontSize=9 if small else 12).encode(text=alt.Text("node:N"))
    whole = alt.layer(*layers, marks, texts).properties(width=SIZE, height=SIZE)
    return to_spec(whole, lines=lines, dots=dots, **({"heads": heads} if heads else {}))


def places(nodes: Sequence[tuple[int, str]]) -> dict[int, tuple[float, float]]:
    """Where each node, given with its role, is drawn, from -1 to 1: workers on a circle clockwise from the top."""
    servers = [rank for rank, role in nodes if role == "server"]
    others = [rank for rank, role in nodes if role != "server"]
    inner = 0.0 if len(servers) == 1 else 0.3
    return _ring(others, 1.0 if len(others) > 1 else 0.8) | _ring(servers, inner if others else 1.0)


def _ring(ranks: Sequence[int], radius: float) -> dict[int, tuple[float, float]]:
    turns = [2 * math.pi * place / len(ranks) for place in range(len(ranks))]
    return {
        rank: (round(radius * math.sin(turn), 4), round(radius * math.cos(turn), 4))
        for rank, turn in zip(ranks, turns, strict=True)
    }


# ---- many nodes


def _map(nodes: Sequence[tuple[int, str]], sent: Edges) -> Json:
    wide = math.ceil(len(nodes) / MOST_CELLS)
    order = {rank: place for place, (rank, _) in enumerate(sorted(nodes))}
    cells: dict[tuple[int, int], float] = {}
    for (rank, to), count in sent.items():
        place = order[rank] // wide, order[to] // wide
        cells[place] = cells.get(place, 0.0) + count
    most = max(cells.values())
    rows = [
        {
            "y": down * wide,
            "y2": (down + 1) * wide,
            "x": across * wide,
            "x2": (across + 1) * wide,
            "heat": round(count / most, 3),
            "text": numbers.size(count),
        }
        for (down, across), count in cells.items()
    ]
    scale = [0, math.ceil(len(nodes) / wide) * wide]
    axis = alt.Axis(tickCount=5, tickMinStep=1, grid=False, format=",d")
    x = alt.X("x:Q", title="to node", axis=axis).scale(domain=scale, nice=False)
    y = alt.Y("y:Q", title="from node", axis=axis).scale(domain=scale[::-1], nice=False)
    chart = alt.Chart(alt.NamedData("cells")).mark_rect(color=HEAT)
    chart = chart.encode(
        x=x,
        x2="x2:Q",
        y=y,
        y2="y2:Q",
        opacity=alt.Opacity("heat:Q", legend=None).scale(domain=[0, 1], range=[0.15, 1]),
        tooltip=[
            alt.Tooltip("y:Q", title="from"),
            alt.Tooltip("x:Q", title="to"),
            alt.Tooltip("text:N", title="bytes"),
        ],
    )
    return to_spec(chart.properties(width=WIDTH, height=WIDTH), cells=rows)
