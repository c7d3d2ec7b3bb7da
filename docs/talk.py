"""A picture of who sends how much to whom: workers on a circle, servers in its middle, lines for what is sent."""

from math import atan2, cos, degrees, hypot, pi, sin

import altair as alt

from manyhands.report import numbers
from manyhands.report.figure import Figure, to_spec
from manyhands.runs.reading import RunView

SIDE = 260
"""pixels"""
NODE = 0.13
"""radius of a node, where that of the circle is 1"""
APART = 0.035
"""of the two lines of a pair, from their middle"""
KEY = "topology-0"
CROWD = 24
"""pairs, beyond which lines are thin"""
LINE, SERVER, WORKER = "#3295f6", "#935415", "#2e7e70"


def figure(run: RunView) -> Figure:
    """Lines are as thick as bytes are many: the thickest are those between the two that talk most."""
    places = _places(run)
    accounts = run.ledger["nodes"] if run.ledger else []
    pairs = {(node["rank"], int(to)): size for node in accounts for to, size in node["to"].items()}
    most = max(pairs.values(), default=1)
    thick = 4 if len(pairs) <= CROWD else 2
    lines = [
        {**_line(places[a], places[b], (b, a) in pairs), "wide": 1 + (thick - 1) * size / most}
        for (a, b), size in pairs.items()
    ]
    servers = {node["rank"] for node in run.nodes if node["role"] == "server"}
    nodes = [
        {"x": x, "y": y, "name": str(rank), "role": "server" if rank in servers else "worker"}
        for rank, (x, y) in places.items()
    ]
    scale = alt.Scale(domain=[-1.2, 1.2], nice=False)
    x, y = alt.X("x:Q", axis=None, scale=scale), alt.Y("y:Q", axis=None, scale=scale)
    width = alt.StrokeWidth("wide:Q", legend=None, scale=alt.Scale(domain=[0, 4], range=[0, 4]))
    base = alt.Chart(alt.NamedData("lines"))
    rules = base.mark_rule(color=LINE, opacity=0.7).encode(x=x, y=y, x2="x2:Q", y2="y2:Q", strokeWidth=width)
    heads = base.mark_point(shape="triangle", filled=True, color=LINE, opacity=1, size=45).encode(
        x=alt.X("x2:Q", axis=None, scale=scale),
        y=alt.Y("y2:Q", axis=None, scale=scale),
        angle=alt.Angle("turn:Q", scale=alt.Scale(domain=[0, 360], range=[0, 360])),
    )
    role = alt.Color("role:N", legend=None, scale=alt.Scale(domain=["server", "worker"], range=[SERVER, WORKER]))
    dots = alt.Chart(alt.NamedData("nodes")).mark_circle(size=620, opacity=1).encode(x=x, y=y, color=role)
    names = alt.Chart(alt.NamedData("nodes")).mark_text(color="white").encode(x=x, y=y, text="name:N")
    chart = alt.layer(rules, heads, dots, names).properties(width=SIDE, height=SIDE)
    return Figure(
        key=KEY,
        title="Who sends to whom",
        caption="Lines are as thick as bytes are many.",
        alt=f"{len(places)} nodes, of which {len(pairs)} pairs talk, at most {numbers.size(most)}.",
        spec=to_spec(chart, lines=lines, nodes=nodes),
        header=("From", "To", "Bytes"),
        rows=[[str(a), str(b), numbers.size(size)] for (a, b), size in pairs.items()],
    )


def _places(run: RunView) -> dict[int, tuple[float, float]]:
    """Where each node stands: workers on the circle, clockwise from the top; servers about its middle."""
    servers = [node["rank"] for node in run.nodes if node["role"] == "server"]
    workers = [node["rank"] for node in run.nodes if node["role"] == "worker"]
    inner = 0.0 if len(servers) == 1 else 0.35
    return _circle(workers, 1.0 if len(workers) > 1 else 0.0) | _circle(servers, inner)


def _circle(ranks: list[int], radius: float) -> dict[int, tuple[float, float]]:
    turns = {rank: 2 * pi * place / len(ranks) for place, rank in enumerate(ranks)}
    return {rank: (radius * sin(turn), radius * cos(turn)) for rank, turn in turns.items()}


def _line(start: tuple[float, float], end: tuple[float, float], both: bool) -> dict[str, float]:
    """From the rim of one node to that of another; beside the way back, if there is one."""
    (x, y), (x2, y2) = start, end
    length = hypot(x2 - x, y2 - y)
    u, v = (x2 - x) / length, (y2 - y) / length
    aside = APART * both
    return {
        "x": x + NODE * u + aside * v,
        "y": y + NODE * v - aside * u,
        "x2": x2 - 1.3 * NODE * u + aside * v,
        "y2": y2 - 1.3 * NODE * v - aside * u,
        "turn": degrees(atan2(u, v)) % 360,
    }
