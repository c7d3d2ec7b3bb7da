"""Pictures of classes, what is taken for what and how well each is known, and of the staleness of updates.

Counts are the opacity of one colour, so that none looks like none on a light page and on a dark one.
"""

from collections.abc import Sequence
from functools import lru_cache

import altair as alt

from manyhands.report import numbers
from manyhands.report.figure import Figure, to_spec
from manyhands.report.series import INK
from manyhands.runs.files import Json
from manyhands.runs.reading import RunView, staleness

HEAT = "#2f6db3"  # legible under white text
WIDTH = 270  # of a picture in pixels: fits a phone together with its labels
MOST_CLASSES = 30  # a confusion matrix of more has cells too small to see
MOST_WRITTEN = 12  # classes across that leave room for numbers in the cells
MOST_BARS = 40  # of a histogram


def confusion_figure(run: RunView, key: str) -> list[Figure]:
    """True class down, predicted class across, as shares of the true class; for 30 classes or fewer."""
    if run.evaluation is None or len(run.evaluation["classes"]) > MOST_CLASSES:
        return []
    classes, confusion = list(map(str, run.evaluation["classes"])), run.evaluation["confusion"]
    wrong = [
        (confusion[true][guess], classes[true], classes[guess])
        for true in range(len(classes))
        for guess in range(len(classes))
        if true != guess
    ]
    most = max(wrong, default=(0, "", ""))
    said = f"most often wrong: {most[1]} taken for {most[2]}, {most[0]:,} times" if most[0] else "no mistake"
    return [
        Figure(
            key=f"{key}-confusion",
            title="Confusion matrix",
            caption="True class down, predicted class across; the colour is the share of the true class.",
            alt=f"Confusion matrix of {len(classes)} classes; {said}.",
            spec=heat_map(
                confusion, ("true", classes), ("predicted", classes), tall=WIDTH // len(classes), by_row=True
            ),
            header=("True \\ predicted", *classes),
            rows=[[name, *(f"{count:,}" for count in row)] for name, row in zip(classes, confusion, strict=True)],
        )
    ]


def class_figure(run: RunView, key: str) -> list[Figure]:
    """Accuracy of each class as bars; of very many classes the 30 least accurate."""
    if run.evaluation is None:
        return []
    classes, report = list(map(str, run.evaluation["classes"])), run.evaluation.get("report")
    accuracies = run.evaluation["per_class_accuracy"]
    known = [(name, value) for name, value in zip(classes, accuracies, strict=True) if value is not None]
    drawn, caption = known, "Share of each class's test samples that were classified rightly (recall)."
    if len(known) > MOST_CLASSES:
        drawn = sorted(known, key=lambda pair: pair[1])[:MOST_CLASSES]
        caption += f" Drawn: the {MOST_CLASSES} least accurate of {len(known)}."
    if not drawn:
        return []
    worst, best = min(known, key=lambda pair: pair[1]), max(known, key=lambda pair: pair[1])
    return [
        Figure(
            key=f"{key}-classes",
            title="Accuracy of each class",
            caption=caption,
            alt=f"Bars of accuracy for each class, from {worst[0]} with {numbers.percent(worst[1], 1)} "
            f"to {best[0]} with {numbers.percent(best[1], 1)}.",
            spec=_class_bars(drawn),
            header=("Class", "Accuracy", "Precision", "Recall", "F1", "Samples"),
            rows=[
                [name, numbers.percent(accuracy, 1), *_reported(report, name)]
                for name, accuracy in zip(classes, accuracies, strict=True)
            ],
        )
    ]


def staleness_figure(run: RunView, key: str) -> list[Figure]:
    """How many updates were computed at weights how many versions old; where the ledger has counted it."""
    counts = staleness(run)
    total = sum(counts.values())
    if not total:
        return []
    wide = 1 + max(counts) // MOST_BARS
    bars: dict[int, int] = {}
    for versions, count in counts.items():
        bars[versions // wide] = bars.get(versions // wide, 0) + count
    mean = sum(versions * count for versions, count in counts.items()) / total
    data = [
        {
            "from": wide * place - 0.45 * (wide == 1),
            "to": wide * (place + 1) - (0.55 if wide == 1 else 0.1 * wide),
            "versions": str(place) if wide == 1 else f"{wide * place} to {wide * (place + 1) - 1}",
            "n": count,
        }
        for place, count in bars.items()
    ]
    caption = "Updates by how many versions older their weights were, when they were computed, than when they arrived."
    return [
        Figure(
            key=f"{key}-staleness",
            title="Staleness of the updates",
            caption=f"{caption} Mean {mean:.3g}.",
            alt=f"Histogram of the staleness of {total:,} updates: mean {mean:.3g}, at most {max(counts)} versions.",
            spec={**_staleness_chart(), "datasets": {"bars": data}},
            header=("Versions", "Updates", "Share"),
            rows=[
                [f"{versions:,}", f"{count:,}", numbers.percent(count / total, 1)] for versions, count in counts.items()
            ],
        )
    ]


@lru_cache
def _staleness_chart() -> Json:
    x = alt.X("from:Q", title="versions", axis=alt.Axis(tickMinStep=1, tickCount=8, grid=False)).scale(nice=False)
    y = alt.Y("n:Q", title="updates", axis=alt.Axis(tickCount=5, tickMinStep=1, format=",d"))
    tooltip = [alt.Tooltip("versions:N"), alt.Tooltip("n:Q", title="updates", format=",")]
    bars = (
        alt.Chart(alt.NamedData("bars"))
        .mark_rect(color=HEAT)
        .encode(x=x, x2=alt.X2("to:Q"), y=y, y2=alt.Y2Datum(0), tooltip=tooltip)
    )
    return to_spec(bars.properties(width="container", height=200))


def heat_map(
    counts: Sequence[Sequence[int]],
    down: tuple[str, list[str]],
    across: tuple[str, list[str]],
    *,
    tall: int,
    by_row: bool = False,
) -> Json:
    """Cells as solid as their count is large, against the largest of all or (``by_row``) their row's sum.

    ``down`` and ``across`` are an axis' title and its names; a cell is ``tall`` pixels high.
    """
    largest = max((count for row in counts for count in row), default=0) or 1
    cells = [
        {
            "down": name,
            "across": other,
            "n": count,
            "heat": round(count / ((sum(row) or 1) if by_row else largest), 3),
        }
        for name, row in zip(down[1], counts, strict=True)
        for other, count in zip(across[1], row, strict=True)
        if count
    ]
    return {
        **_heat_chart(down[0], tuple(down[1]), across[0], tuple(across[1]), tall),
        "datasets": {"cells": cells},
    }


@lru_cache
def _heat_chart(down: str, rows: tuple[str, ...], across: str, columns: tuple[str, ...], tall: int) -> Json:
    """The chart without its data: the same for all runs of a task."""
    turned = -90 if sum(map(len, columns)) > 40 else 0
    x_axis = alt.Axis(title=across, domain=False, ticks=False, labelAngle=turned, labelLimit=90, labelOverlap=True)
    y_axis = alt.Axis(title=down, domain=False, ticks=False, labelLimit=90, labelOverlap=True)
    base = alt.Chart(alt.NamedData("cells")).encode(
        x=alt.X("across:N", axis=x_axis).scale(domain=columns, paddingInner=0.06),
        y=alt.Y("down:N", axis=y_axis).scale(domain=rows, paddingInner=0.06),
    )
    cells = base.mark_rect(color=HEAT, cornerRadius=2).encode(
        opacity=alt.Opacity("heat:Q", legend=None).scale(domain=[0, 1], range=[0.06, 1]),
        tooltip=[
            alt.Tooltip("down:N", title=down),
            alt.Tooltip("across:N", title=across),
            alt.Tooltip("n:Q", title="samples", format=","),
        ],
    )
    layers: list[alt.Chart] = [cells]
    if len(columns) <= MOST_WRITTEN and tall >= 14:
        for condition, colour in (("datum.heat <= 0.7", INK), ("datum.heat > 0.7", "white")):
            written = base.mark_text(fontSize=10, color=colour).encode(text=alt.Text("n:Q", format=","))
            layers.append(written.transform_filter(condition))
    return to_spec(alt.layer(*layers).properties(width=WIDTH, height=tall * len(rows)))


def _class_bars(known: list[tuple[str, float]]) -> Json:
    bars = [{"series": name, "value": value, "text": numbers.percent(value, 1)} for name, value in known]
    return {**_class_chart(tuple(name for name, _ in known)), "datasets": {"bars": bars}}


@lru_cache
def _class_chart(names: tuple[str, ...]) -> Json:
    x = alt.X("value:Q", title=None, axis=alt.Axis(format=".0%", tickCount=4)).scale(domain=[0, 1])
    base = alt.Chart(alt.NamedData("bars")).encode(y=names_axis(names), x=x)
    bars = base.mark_bar(color=HEAT)
    texts = base.mark_text(align="left", dx=5).encode(text=alt.Text("text:N"))
    return to_spec(alt.layer(bars, texts).properties(width="container", height=22 * len(names)))


def names_axis(names: Sequence[str]) -> alt.Y:
    """The names of bars, in this order."""
    axis = alt.Axis(title=None, domain=False, ticks=False, labelLimit=190, labelOpacity=1)
    return alt.Y("series:N", sort=list(names), axis=axis)


def _reported(report: object, name: str) -> list[str]:
    """Precision, recall, F1 and support of a class, as far as the classification report has them."""
    row = report.get(name) if isinstance(report, dict) else None
    row = row if isinstance(row, dict) else {}
    known = {key: value for key, value in row.items() if isinstance(value, int | float)}
    scores = [numbers.percent(known.get(key), 1) for key in ("precision", "recall", "f1")]
    return [*scores, f"{known['support']:,.0f}" if "support" in known else numbers.NONE]
