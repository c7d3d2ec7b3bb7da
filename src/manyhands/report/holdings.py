"""Pictures of who holds which samples: how many of each class, how many in all, and what they look like."""

import json
import math
from collections.abc import Sequence

import altair as alt

from manyhands.report import numbers
from manyhands.report.figure import Figure, to_spec
from manyhands.report.pictures import HEAT, WIDTH, heat_map
from manyhands.report.series import Series
from manyhands.runs.files import Json
from manyhands.runs.reading import RunView

MOST_CELLS = 3000  # of the picture of the classes
MOST_BARS = 100  # workers with a bar each; more are drawn as a curve
MOST_POINTS = 200  # of that curve
COLUMNS = 5  # of the pictures of samples
TILE = 44  # pixels of such a picture, with a name below it and a gap beside it


def partition_figures(series: Sequence[Series]) -> list[Figure]:
    """Pictures of each different partition among several workers: classes, sizes if they differ, looks if they do.

    Series that share a partition share its pictures; the first seed's stands for all seeds.
    """
    shown: dict[str, tuple[RunView, list[str]]] = {}
    for one in series:
        run = one.runs[0]
        if run.partition is not None and len(run.partition["counts"]) > 1:
            same = json.dumps([run.partition["counts"], run.partition.get("portraits")])
            _, labels = shown.setdefault(same, (run, []))
            labels.append(one.label)
    figures = []
    for number, (run, labels) in enumerate(shown.values()):
        figures += [
            _classes(run, labels, f"partition-{number}"),
            *_sizes(run, f"sizes-{number}"),
            *_portraits(run, f"portraits-{number}"),
        ]
    return figures


def _classes(run: RunView, labels: list[str], key: str) -> Figure:
    assert run.partition is not None
    classes, counts = list(map(str, run.partition["classes"])), run.partition["counts"]
    totals = [sum(row) for row in counts]
    rows = counts[: min(100, max(10, MOST_CELLS // len(classes)))]
    names = [str(worker) for worker in range(len(rows))]
    caption = f"Samples of each class (across) at each worker (down); seed {run.seed}. Used by {', '.join(labels)}."
    if about := run.partition.get("about"):
        caption = f"{about} {caption}"
    if len(rows) < len(counts):
        caption += f" The first {len(rows)} workers are drawn."
    return Figure(
        key=key,
        title=_title(run),
        caption=caption,
        alt=f"Heat map of samples: {numbers.count(len(counts), 'worker')} by {len(classes)} classes; "
        f"the smallest worker has {min(totals):,} samples, the largest {max(totals):,}.",
        spec=heat_map(rows, ("worker", names), ("class", classes), tall=max(4, min(24, 960 // len(rows)))),
        header=("Worker", *classes, "All"),
        rows=[
            [str(worker), *(f"{count:,}" for count in row), f"{total:,}"]
            for worker, (row, total) in enumerate(zip(rows, totals, strict=False))
        ],
    )


def _sizes(run: RunView, key: str) -> list[Figure]:
    """Samples of each worker: as bars, or of very many as a curve from the largest; nothing if all have as many."""
    assert run.partition is not None
    totals = [sum(row) for row in run.partition["counts"]]
    if max(totals) - min(totals) < 2:
        return []
    many = len(totals) > MOST_BARS
    places = list(enumerate(sorted(totals, reverse=True) if many else totals))
    drawn = places[:: math.ceil(len(places) / MOST_POINTS)] if many else places
    ordered = sorted(totals)
    middle = ordered[len(ordered) // 2]
    caption = f"Training samples of each worker: {ordered[0]:,} to {ordered[-1]:,}, half have {middle:,} or more."
    return [
        Figure(
            key=key,
            title=f"Sizes: {_title(run)}",
            caption=caption + (" The largest first." if many else ""),
            alt=f"{'Curve' if many else 'Bars'} of the samples of {numbers.count(len(totals), 'worker')}: "
            f"{ordered[0]:,} to {ordered[-1]:,}, median {middle:,}.",
            spec=_size_chart([{"x": place, "n": total} for place, total in drawn], many),
            header=("Place" if many else "Worker", "Samples"),
            rows=[[f"{place:,}", f"{total:,}"] for place, total in drawn],
        )
    ]


def _size_chart(rows: list[Json], many: bool) -> Json:
    base = alt.Chart(alt.NamedData("rows"))
    axis = alt.Axis(tickCount=5, tickMinStep=1, grid=False, format=",d")
    y = alt.Y("n:Q", title="samples", axis=alt.Axis(tickCount=4, format=",d"))
    tooltip = [alt.Tooltip("x:Q", title="place" if many else "worker"), alt.Tooltip("n:Q", title="samples", format=",")]
    if many:
        x = alt.X("x:Q", title="workers, the largest first", axis=axis).scale(nice=False)
        drawn = base.mark_area(color=HEAT, opacity=0.6, line=True).encode(x=x, y=y, tooltip=tooltip)
    else:
        x = alt.X("left:Q", title="worker", axis=axis).scale(nice=False)
        drawn = base.mark_rect(color=HEAT).encode(x=x, x2=alt.X2("right:Q"), y=y, y2=alt.Y2Datum(0), tooltip=tooltip)
        rows = [{**row, "left": row["x"] - 0.4, "right": row["x"] + 0.4} for row in rows]
    return to_spec(drawn.properties(width="container", height=140), rows=rows)


def _portraits(run: RunView, key: str) -> list[Figure]:
    """One sample of each of some workers, where the partition changes what samples look like."""
    assert run.partition is not None
    shown = run.partition.get("portraits") or []
    if not shown:
        return []
    counts = run.partition["counts"]
    few = "" if len(shown) == len(counts) else f" of {len(shown)} of {len(counts):,} workers"
    tiles = [
        {
            "across": place % COLUMNS,
            "down": place // COLUMNS,
            "worker": f"{portrait['worker']:,}",
            "url": f"data:image/png;base64,{portrait['png']}",
        }
        for place, portrait in enumerate(shown)
    ]
    return [
        Figure(
            key=key,
            title=f"Looks: {_title(run)}",
            caption=f"A training sample{few or ' of each worker'}, its number below: as the partition changed it, and "
            "of one class where they hold it.",
            alt=f"Pictures of one sample each of {numbers.count(len(shown), 'worker')}, as {_title(run)} changes them.",
            spec=_tiles(tiles),
            header=("Worker", "Samples"),
            rows=[[str(portrait["worker"]), f"{sum(counts[portrait['worker']]):,}"] for portrait in shown],
        )
    ]


def _tiles(tiles: list[Json]) -> Json:
    rows = 1 + max(tile["down"] for tile in tiles)
    base = alt.Chart(alt.NamedData("tiles")).encode(
        x=alt.X("across:Q", axis=None).scale(domain=[-0.5, COLUMNS - 0.5], nice=False, zero=False),
        y=alt.Y("down:Q", axis=None).scale(domain=[rows - 0.5, -0.5], nice=False, zero=False),
    )
    pictures = base.mark_image(width=TILE, height=TILE).encode(url=alt.Url("url:N"), tooltip=alt.Tooltip("worker:N"))
    names = base.mark_text(dy=TILE / 2 + 8, fontSize=10).encode(text=alt.Text("worker:N"))
    whole = alt.layer(pictures, names).properties(width=WIDTH, height=(TILE + 24) * rows)
    return to_spec(whole, tiles=tiles)


def _title(run: RunView) -> str:
    assert run.partition is not None
    return f"{run.partition.get('partition', 'partition')}, {numbers.count(len(run.partition['counts']), 'worker')}"
