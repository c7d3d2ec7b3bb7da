"""The picture of what became of the replies that a federated run's server asked for."""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil

import altair as alt

from manyhands.report.each import HEIGHT, WORSE
from manyhands.report.figure import Figure, to_spec
from manyhands.report.pictures import HEAT
from manyhands.report.replies import KINDS, SKIPPED, counted, in_words
from manyhands.runs.files import Json
from manyhands.runs.reading import RunView

GREY = "#7d828a"  # a contrast of 3:1 or more on a light page and on a dark one
COLOURS = (HEAT, WORSE, GREY)
MOST_BARS = 60


def replies_figure(run: RunView, key: str) -> list[Figure]:
    """Replies by round, as they came; nothing where all counted, or no server counted any."""
    rows = _by_round(run.history)
    said = in_words(run.history[-1:]) if rows else ""
    if not said:
        return []
    return [
        Figure(
            key=f"{key}-replies",
            title="Replies of the clients",
            caption=f"By round: {said}. Late is who had not replied at the deadline, or when enough others had. "
            "Pale: rounds that were skipped because too few replied.",
            alt=f"Stacked bars of replies against rounds: {said}.",
            spec=_bars(rows),
            header=("Rounds", "In time", "Late", "Dropped out", "Rounds skipped"),
            rows=[
                [
                    f"{row['from'] + 1:,}" if row["to"] - row["from"] == 1 else f"{row['from'] + 1:,}–{row['to']:,}",
                    *(f"{row[name]:,}" for name in (*KINDS, SKIPPED)),
                ]
                for row in rows
            ],
        )
    ]


def _by_round(history: Sequence[Json]) -> list[Json]:
    """What was counted from one row of the history to another, of at most so many: rounds ``from`` … ``to`` - 1."""
    known = [row for row in history if row["round"] is not None and (row["round"] == 0 or counted(row))]
    step = max(1, ceil((len(known) - 1) / MOST_BARS))
    kept = [row for place, row in enumerate(known) if (len(known) - 1 - place) % step == 0 or not place]
    spans = []
    for before, after in pairwise(kept):
        earlier, later = counted(before), counted(after)
        change = {name: value - earlier.get(name, 0) for name, value in later.items()}
        if before["round"] < after["round"]:  # else the file is damaged
            spans.append({"from": int(before["round"]), "to": int(after["round"]), **change})
    return spans


def _bars(spans: list[Json]) -> Json:
    rows, names = [], list(KINDS.values())
    for span in spans:
        low, rounds = 0.0, span["to"] - span["from"]
        for name, word in KINDS.items():
            high = low + span[name] / rounds
            if span[name]:
                rows.append(
                    {
                        "from": span["from"] + 0.5,
                        "to": span["to"] + 0.5,
                        "low": low,
                        "high": high,
                        "what": word,
                        "n": span[name],
                        "skipped": span["skipped"],
                        "solid": 1 - 0.65 * span["skipped"] / rounds,
                    }
                )
            low = high
    x = alt.X("from:Q", title="round", axis=alt.Axis(tickCount=8, tickMinStep=1, grid=False, format=",d"))
    y = alt.Y("low:Q", title="replies a round", axis=alt.Axis(tickCount=5, tickMinStep=1))
    legend = alt.Legend(title=None, symbolType="square")
    tooltip = [
        alt.Tooltip("what:N", title="replies"),
        alt.Tooltip("n:Q", title="how many", format=","),
        alt.Tooltip("skipped:Q", title="rounds skipped", format=","),
    ]
    chart = (
        alt.Chart(alt.NamedData("rows"))
        .mark_rect(xOffset=0.5, x2Offset=-0.5)
        .encode(
            x=x.scale(nice=False, zero=False),
            x2=alt.X2("to:Q"),
            y=y,
            y2=alt.Y2("high:Q"),
            color=alt.Color("what:N", legend=legend).scale(domain=names, range=list(COLOURS)),
            opacity=alt.Opacity("solid:Q", legend=None).scale(domain=[0, 1], range=[0, 1]),
            tooltip=tooltip,
        )
    )
    return to_spec(chart.properties(width="container", height=HEIGHT), rows=rows)
