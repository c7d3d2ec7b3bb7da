"""One quantity at each of many, over the training: a line for each, or where they are very many, bands of quantiles."""

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from manyhands.report.curves import ACCURACY, LOSS, TRAIN_LOSS, Quantity
from manyhands.report.figure import to_spec
from manyhands.report.pictures import HEAT
from manyhands.report.series import INK
from manyhands.runs.files import Json

WORSE = "#d9541e"
MOST_LINES = 100  # with a line each; more are drawn as bands
MOST_VALUES = 1500  # in one picture of lines
HEIGHT = 200
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)  # quantiles that the bands show
BANDS = "From the outside in: between 5 % and 95 % and between 25 % and 75 % of the {}; the line is the median."
LINES = "A line for each {}; red: those that are the worst tenth at the end. The thick line is the mean."

Values = Sequence[Sequence[float | None]]
"""for each evaluation the value at each of them"""


def thinned(rows: Sequence[Json], field: str) -> list[Json]:
    """As many of the rows as a picture needs, the last one among them; those of another length are left out."""
    count = len(rows[-1][field])
    whole = [row for row in rows if len(row[field]) == count]
    step = max(1, math.ceil(len(whole) * min(count, MOST_LINES) / MOST_VALUES))
    return [row for place, row in enumerate(whole) if (len(whole) - 1 - place) % step == 0]


def are_many(each: Values) -> bool:
    """Whether they are drawn as bands."""
    return len(each[-1]) > MOST_LINES


def draw_each(at: list[int], each: Values, y: Quantity, *, who: str, unit: str) -> Json:
    """The chart. ``at``: the epochs or rounds (``unit``) of the values; ``who``: what each of them is called."""
    return _bands(at, each, y, unit) if are_many(each) else _lines(at, each, y, who, unit)


def quantile_rows(at: Sequence[int], each: Values, y: Quantity) -> list[list[str]]:
    """The numbers of the bands."""
    rows = []
    for completed, values in zip(at, each, strict=True):
        known = sorted(value for value in values if value is not None)
        rows.append([f"{completed:,}", *(y.write(quantile(known, level)) for level in LEVELS)])
    return rows


def quantile(ordered: Sequence[float], level: float) -> float | None:
    """Linear between the two values beside it; None of none."""
    if not ordered:
        return None
    place = level * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def mean(values: Sequence[float | None]) -> float | None:
    """Of those that are known; None of none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def short(value: float | None) -> float | None:
    """As exact as a picture can show it."""
    return None if value is None else float(f"{value:.4g}")


def y_axis(y: Quantity, field: str = "y") -> alt.Y:
    """An axis that begins at zero, but for training losses: at workers these hardly differ."""
    options: Json = {"title": None, "tickCount": 5} | ({"labelExpr": y.label} if y.label else {})
    scale = alt.Scale(domain=[0, 1]) if y is ACCURACY else alt.Scale(zero=y is not TRAIN_LOSS)
    return alt.Y(f"{field}:Q", axis=alt.Axis(**options), scale=scale)


def _lines(at: list[int], each: Values, y: Quantity, who: str, unit: str) -> Json:
    """The values of one are one row of the data, to be short, and flattened where they are drawn."""
    columns = list(zip(*each, strict=True))
    known = [place for place, values in enumerate(columns) if values[-1] is not None]
    known.sort(key=lambda place: columns[place][-1] or 0.0, reverse=y in (LOSS, TRAIN_LOSS))
    worst = set(known[: -(-len(known) // 10)])
    lines = [
        {"who": place, "worst": place in worst, "x": at, "y": [short(value) for value in columns[place]]}
        for place in reversed(known)  # the worst last, on top
    ]
    base = alt.Chart(alt.NamedData("each")).transform_flatten(["x", "y"])
    thin = base.mark_line(strokeWidth=1, clip=True).encode(
        x=_x_axis(unit),
        y=y_axis(y),
        detail=alt.Detail("who:N"),
        color=alt.ColorValue(HEAT, condition={"test": "datum.worst", "value": WORSE}),
        opacity=alt.OpacityValue(0.3 if len(lines) > 20 else 0.6, condition={"test": "datum.worst", "value": 0.8}),
        tooltip=[alt.Tooltip("who:N", title=who), alt.Tooltip("y:Q", title=y.title.lower(), format=y.tooltip)],
    )
    thick = alt.Chart(alt.NamedData("mean")).mark_line(color=INK, clip=True).encode(x=_x_axis(unit), y=y_axis(y))
    whole = alt.layer(thin, thick).properties(width="container", height=HEIGHT)
    means = [{"x": x, "y": short(mean(values))} for x, values in zip(at, each, strict=True)]
    return to_spec(whole, each=lines, mean=means)


def _bands(at: list[int], each: Values, y: Quantity, unit: str) -> Json:
    names = ("lowest", "low", "middle", "high", "highest")
    rows = []
    for x, values in zip(at, each, strict=True):
        known = sorted(value for value in values if value is not None)
        rows.append({"x": x, **{name: quantile(known, level) for name, level in zip(names, LEVELS, strict=True)}})
    base = alt.Chart(alt.NamedData("rows")).encode(x=_x_axis(unit))

    def band(low: str, high: str) -> Any:
        return base.mark_area(color=HEAT, opacity=0.22, clip=True).encode(y=y_axis(y, low), y2=alt.Y2(f"{high}:Q"))

    tooltip = [alt.Tooltip("x:Q", title=unit), *(alt.Tooltip(f"{name}:Q", format=y.tooltip) for name in names)]
    line = base.mark_line(color=INK, clip=True).encode(y=y_axis(y, "middle"))
    dots = base.mark_point(size=80, filled=True, opacity=0).encode(y=y_axis(y, "middle"), tooltip=tooltip)
    layers = (band("lowest", "highest"), band("low", "high"), line, dots)
    return to_spec(alt.layer(*layers).properties(width="container", height=HEIGHT), rows=rows)


def _x_axis(unit: str) -> alt.X:
    return alt.X("x:Q", title=unit, axis=alt.Axis(tickCount=5, tickMinStep=1, grid=False)).scale(nice=False)
