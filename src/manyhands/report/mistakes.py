"""Pictures of what the models get wrong: each class's accuracy, and the pairs of classes they take for each other."""

from collections.abc import Sequence

import altair as alt

from manyhands.report import numbers
from manyhands.report.figure import Figure, to_spec
from manyhands.report.pictures import HEAT, MOST_CLASSES, names_axis
from manyhands.report.series import INK, Series
from manyhands.runs.files import Json
from manyhands.runs.reading import RunView
from manyhands.statistics import estimate

STEP = 28  # height of a series, in pixels
FEW = 3  # series that show all their pairs; more show MOST_PAIRS each
MOST_PAIRS, MOST_WRITTEN = 5, 12
TILE, GAP = 34, 6  # pixels of a picture, and between two


def class_figures(series: Sequence[Series]) -> list[Figure]:
    """How well each class is known by each series, as means over the seeds; nothing of one series alone."""
    known = [one for one in series if all(run.evaluation is not None for run in one.runs)]
    names = [_classes(one.runs[0]) for one in known]
    known = [one for one, classes in zip(known, names, strict=True) if classes == names[0]]
    if len(known) < 2:
        return []
    accuracies = {one: _accuracies(one) for one in known}
    classes = names[0]
    drawn = sorted(range(len(classes)), key=lambda place: _least(list(accuracies.values()), place))
    drawn = sorted(drawn[:MOST_CLASSES])
    caption = "Share of each class’s test samples that were classified rightly (recall)"
    caption += ", mean over the seeds." if any(len(one.runs) > 1 for one in known) else "."
    if len(drawn) < len(classes):
        caption += f" Drawn: the {len(drawn)} least accurate of {len(classes)}."
    values = [
        (value, one, place) for one, row in accuracies.items() for place, value in enumerate(row) if value is not None
    ]
    worst = min(values, key=lambda found: found[0], default=None)
    said = f"; least {numbers.percent(worst[0], 1)}, {classes[worst[2]]} by {worst[1].label}" if worst else ""
    return [
        Figure(
            key="per-class-accuracy",
            title="Accuracy of each class",
            caption=caption,
            alt=f"Heat map of the accuracy of {len(classes)} classes by {len(known)} series{said}.",
            spec=_class_map(accuracies, [(place, classes[place]) for place in drawn]),
            header=("Series", *classes),
            rows=[[one.label, *(numbers.percent(value, 1) for value in row)] for one, row in accuracies.items()],
            broad=True,
        )
    ]


def _classes(run: RunView) -> list[str]:
    return list(map(str, run.evaluation["classes"])) if run.evaluation else []


def _accuracies(series: Series) -> list[float | None]:
    columns = zip(*(run.evaluation["per_class_accuracy"] for run in series.runs if run.evaluation), strict=True)
    means = [estimate(column) for column in columns]
    return [None if value is None else value.mean for value in means]


def _least(rows: Sequence[Sequence[float | None]], place: int) -> float:
    known = [value for row in rows if (value := row[place]) is not None]
    return sum(known) / len(known) if known else 1.0


def _class_map(accuracies: dict[Series, list[float | None]], drawn: Sequence[tuple[int, str]]) -> Json:
    cells: list[Json] = [
        {
            "series": one.label,
            "class": name,
            "value": round(value, 4),
            "heat": round(1 - value, 4),
            "text": f"{100 * value:.0f}",
        }
        for one, row in accuracies.items()
        for place, name in drawn
        if (value := row[place]) is not None
    ]
    most = max([cell["heat"] for cell in cells], default=0.0) or 1.0
    names = [name for _, name in drawn]
    turned = -90 if sum(map(len, names)) > 70 else 0
    axis = alt.Axis(title=None, domain=False, ticks=False, labelAngle=turned, labelLimit=110, orient="top")
    base = alt.Chart(alt.NamedData("cells")).encode(
        x=alt.X("class:N", axis=axis).scale(domain=names, paddingInner=0.04),
        y=names_axis([one.label for one in accuracies]),
    )
    rects = base.mark_rect(color=HEAT, cornerRadius=2).encode(
        opacity=alt.Opacity("heat:Q", legend=None).scale(domain=[0, most], range=[0.06, 1]),
        tooltip=[
            alt.Tooltip("series:N"),
            alt.Tooltip("class:N"),
            alt.Tooltip("value:Q", title="accuracy", format=".1%"),
        ],
    )
    layers: list[alt.Chart] = [rects]
    if len(names) <= MOST_WRITTEN:
        for condition, colour in ((f"datum.heat <= {0.65 * most}", INK), (f"datum.heat > {0.65 * most}", "white")):
            layers.append(
                base.mark_text(fontSize=11, color=colour).encode(text=alt.Text("text:N")).transform_filter(condition)
            )
    return to_spec(alt.layer(*layers).properties(width="container", height=STEP * len(accuracies)), cells=cells)


def confused_figures(series: Sequence[Series]) -> list[Figure]:
    """The pairs that each series takes for each other most, with pictures, where its first seed's run kept some."""
    known = [one for one in series if (one.runs[0].evaluation or {}).get("confused")]
    most = None if len(known) <= FEW else MOST_PAIRS
    return [_confused(one, f"confused-{number}", most) for number, one in enumerate(known)]


def _confused(series: Series, key: str, most: int | None) -> Figure:
    run = series.runs[0]
    assert run.evaluation is not None
    classes, confusion = _classes(run), run.evaluation["confusion"]
    pairs = run.evaluation["confused"][:most]
    rows = [
        {
            "true": classes[pair["true"]],
            "predicted": classes[pair["predicted"]],
            "count": pair["count"],
            "share": pair["count"] / (sum(confusion[pair["true"]]) or 1),
            "images": pair["images"],
        }
        for pair in pairs
    ]
    said = "; ".join(f"{row['true']} taken for {row['predicted']} {row['count']:,} times" for row in rows)
    seed = f" Seed {run.seed}." if len(series.runs) > 1 else ""
    return Figure(
        key=key,
        title=f"Most confused: {series.label}",
        caption=f"Class, what it was taken for, how often, and some of these test samples.{seed}",
        alt=f"Test samples of the pairs of classes that are confused most: {said}.",
        spec=_tiles(rows),
        header=("Class", "Taken for", "Samples", "Share of the class"),
        rows=[[row["true"], row["predicted"], f"{row['count']:,}", numbers.percent(row["share"], 1)] for row in rows],
    )


def _tiles(rows: Sequence[Json]) -> Json:
    """A line for each pair: its words, and its pictures beside each other."""
    words: list[Json] = [
        {"y": place, "text": f"{_cut(row['true'])} → {_cut(row['predicted'])}", "count": f"{row['count']:,}×"}
        for place, row in enumerate(rows)
    ]
    tiles: list[Json] = [
        {"x": number, "y": place, "url": f"data:image/png;base64,{image}", "text": words[place]["text"]}
        for place, row in enumerate(rows)
        for number, image in enumerate(row["images"])
    ]
    across = max([tile["x"] for tile in tiles], default=0) + 1
    y = alt.Y("y:Q", axis=None).scale(domain=[-0.5, len(rows) - 0.5], reverse=True, nice=False, zero=False)
    base = alt.Chart(alt.NamedData("words")).encode(y=y)
    longest = max(len(word["text"]) for word in words)
    left = min(190, 8 * longest + 10)  # pixels of the words, of the counts and of the pictures, one after another
    start = left + 46
    names = base.mark_text(align="left", baseline="middle").encode(x=alt.XValue(0), text=alt.Text("text:N"))
    counts = base.mark_text(align="right", baseline="middle", opacity=0.75).encode(
        x=alt.XValue(left + 32), text=alt.Text("count:N")
    )
    width = start + across * (TILE + GAP)
    images = (
        alt.Chart(alt.NamedData("tiles"))
        .mark_image(width=TILE, height=TILE)
        .encode(
            x=alt.X("x:Q", axis=None).scale(
                domain=[0, 1], range=[start + TILE / 2, start + TILE / 2 + TILE + GAP], nice=False, zero=False
            ),
            y=y,
            url=alt.Url("url:N"),
            tooltip=alt.Tooltip("text:N", title="class → taken for"),
        )
    )
    whole = alt.layer(names, counts, images).properties(width=width, height=(TILE + GAP) * len(rows))
    return to_spec(whole, words=words, tiles=tiles)


def _cut(name: str) -> str:
    return name if len(name) <= 11 else f"{name[:10]}…"
