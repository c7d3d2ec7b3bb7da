"""Learning curves: accuracy and loss against epochs, seconds and bytes.

A line is the mean over a series' seeds at each evaluation, a band the 95 % interval of that mean. Names stand
at the ends of the lines; where there are too many series for that, in a legend.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from manyhands.report import numbers
from manyhands.report.fairness import GAIN_WORDS, TESTED
from manyhands.report.figure import Figure, to_spec
from manyhands.report.numbers import Number
from manyhands.report.series import INK, Series, colours
from manyhands.runs.files import Json
from manyhands.statistics import Estimate, estimate

HEIGHT = 240  # of the plot, in pixels
MOST_LABELS = 14  # as many lines of text as HEIGHT holds
ROUNDING = 1e-4  # a distance of weights that can be due to the order of sums
MOST_POINTS = 500  # in one chart, to keep the page small
DASHES = ([1, 0], [6, 4], [2, 3], [8, 3, 2, 3], [14, 4])  # one for each series of the same strategy


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """What an axis shows: the field of a history row, its words, and how its values are written."""

    field: str
    title: str
    write: Callable[[Number], str]
    tooltip: str  # d3 format
    label: str | None = None  # Vega expression for the axis
    log: bool = False


ACCURACY = Quantity(
    field="test_accuracy",
    title="Test accuracy",
    write=numbers.percent,
    tooltip=".2%",
    label="format(datum.value, '.0%')",
)
LOSS = Quantity(field="test_loss", title="Test loss", write=numbers.plain, tooltip=".4~g", log=True)
TRAIN_LOSS = Quantity(field="train_loss", title="Training loss", write=numbers.plain, tooltip=".4~g", log=True)
EPOCH = Quantity(field="epoch", title="epoch", write=numbers.general, tooltip=".4~g")
CONSENSUS = Quantity(
    field="consensus",
    title="Consensus distance",
    write=numbers.plain,
    tooltip=".3~g",
    label="format(datum.value, '~g')",
)
ROUND = Quantity(field="round", title="round", write=numbers.general, tooltip=".4~g")
WORST = Quantity(
    field="worst_decile",
    title="Accuracy at the worst tenth of the clients",
    write=numbers.percent,
    tooltip=".2%",
    label="format(datum.value, '.0%')",
)
GAIN = Quantity(
    field="personalisation_gain",
    title="Personalisation gain",
    write=numbers.percent,
    tooltip=".2%",
    label="format(datum.value, '.1~%')",
)
SECONDS = Quantity(field="seconds", title="seconds", write=numbers.duration, tooltip=".4~g")
BYTES = Quantity(
    field="bytes",
    title="bytes sent by all nodes",
    write=numbers.size,
    tooltip=".4~s",
    label="replace(format(datum.value, '~s'), /[kMGTPE]?$/, '\u00a0$&B')",
    log=True,
)


@dataclass(frozen=True)
class Point:
    """One evaluation of a series, over its seeds; a quantity that any seed lacks is None."""

    values: dict[str, Estimate | None]

    def mean(self, quantity: Quantity) -> float | None:
        value = self.values[quantity.field]
        drawn = None if value is None else value.mean
        return None if drawn is not None and quantity.log and drawn <= 0 else drawn


def curve_figures(series: Sequence[Series]) -> list[Figure]:
    """Accuracy and loss by epoch, by time (a chart for each clock) and by bytes, as far as they were evaluated.

    Beside those by epoch the training loss and, where workers had weights of their own, how far these were apart.
    """
    curves = {one.label: curve(one) for one in series}
    most = max(20, MOST_POINTS // max(1, len(series)))
    curves = {label: _thin(points, most) for label, points in curves.items() if points}
    known = [one for one in series if one.label in curves]
    panels = [("epoch", EPOCH, known, "by epoch", "One epoch is as many samples as the training set has.")]
    for clock in dict.fromkeys(one.clock for one in known):
        of_clock = [one for one in known if one.clock == clock]
        panels.append(
            (f"{clock}-time", SECONDS, of_clock, f"by time, {clock} clock", "Seconds on the cluster's clock.")
        )
    senders = [one for one in known if any(point.mean(BYTES) for point in curves[one.label])]
    panels.append(("bytes", BYTES, senders, "by bytes", "Sent by all nodes; who sends nothing is not drawn."))
    drawn = [(y, *panel) for panel in panels for y in (ACCURACY, LOSS)]
    trained = "Mean over the samples that were trained on since the evaluation before; no test sample is among them."
    drawn.append((TRAIN_LOSS, "epoch", EPOCH, known, "by epoch", trained))
    loose = [one for one in known if any((point.mean(CONSENSUS) or 0.0) > ROUNDING for point in curves[one.label])]
    apart = "Root mean square of how far the nodes' weights are from their mean; who always agrees is not drawn."
    drawn.append((CONSENSUS, "epoch", EPOCH, loose, "by epoch", apart))
    return [
        line_figure(
            f"{y.field.removeprefix('test_').replace('_', '-')}-by-{key}",
            f"{y.title} {words}",
            caption,
            x,
            y,
            with_values,
        )
        for y, key, x, shown, words, caption in drawn
        if (with_values := {one: curves[one.label] for one in shown if _any(y, curves[one.label])})
    ]


def client_curves(series: Sequence[Series]) -> list[Figure]:
    """By round, how the worst tenth of the clients fares, and what the clients gain by their local steps."""
    curves = {one.label: curve(one) for one in series}
    most = max(20, MOST_POINTS // max(1, len(series)))
    curves = {label: _thin(points, most) for label, points in curves.items() if points}
    panels = ((WORST, "worst-clients", f"Mean over them. {TESTED}"), (GAIN, "personalisation-gain", GAIN_WORDS))
    return [
        line_figure(f"{key}-by-round", f"{y.title} by round", caption, ROUND, y, drawn)
        for y, key, caption in panels
        if (drawn := {one: curves[one.label] for one in series if _any(y, curves.get(one.label, []))})
    ]


def _any(quantity: Quantity, points: Sequence[Point]) -> bool:
    return any(point.mean(quantity) is not None for point in points)


def curve(series: Series) -> list[Point]:
    """The evaluations that all of the series' runs have, the first with the first: they share one schedule.

    Their epochs need not be equal: cohorts drawn by other seeds hold other numbers of samples.
    """
    points = []
    for rows in zip(*(run.history for run in series.runs), strict=False):
        columns = {
            quantity.field: [row[quantity.field] for row in rows]
            for quantity in (EPOCH, SECONDS, BYTES, ROUND, ACCURACY, LOSS, TRAIN_LOSS, CONSENSUS, WORST, GAIN)
        }
        points.append(Point({name: None if None in column else estimate(column) for name, column in columns.items()}))
    return points


def _thin(points: list[Point], most: int) -> list[Point]:
    """About ``most`` of the points, evenly, the last one among them."""
    step = math.ceil(len(points) / most)
    return [point for index, point in enumerate(points) if (len(points) - 1 - index) % step == 0]


def line_figure(
    key: str, title: str, caption: str, x: Quantity, y: Quantity, curves: dict[Series, list[Point]]
) -> Figure:
    """A line for each series; its points hold both quantities."""
    if any(len(one.runs) > 1 for one in curves):
        caption += " Bands: 95 % interval over the seeds."
    ends = ", ".join(f"{one.label} {y.write(points[-1].values[y.field])}" for one, points in curves.items())
    return Figure(
        key=key,
        title=title,
        caption=caption,
        alt=f"Line chart of {y.title.lower()} against {x.title}; at the end: {ends}.",
        spec=_spec(x, y, curves),
        header=("Series", x.title.capitalize(), y.title),
        rows=[
            [one.label, x.write(point.mean(x)), y.write(point.values[y.field])]
            for one, points in curves.items()
            for point in points
            if point.mean(x) is not None
        ],
    )


def _spec(x: Quantity, y: Quantity, curves: dict[Series, list[Point]]) -> Json:
    data = _data(x, y, curves)
    domain = _domain([row["y"] for row in data if row["y"] is not None], y)
    labels = [one.label for one in curves]
    direct = len(labels) <= MOST_LABELS
    colour_of = colours(list(curves))
    x_axis = _axis(x, _extent([row["x"] for row in data]), grid=False)
    x_scale = alt.Scale(type="log", nice=False) if x.log else alt.Scale(zero=True, nice=False)
    y_scale = alt.Scale(type="log" if y.log else "linear", domain=domain, nice=False)
    base = alt.Chart(alt.NamedData("points")).encode(
        x=alt.X("x:Q", scale=x_scale, axis=x_axis),
        y=alt.Y("y:Q", scale=y_scale, axis=_axis(y, domain, title=None)),
        color=alt.Color("series:N", legend=None if direct else alt.Legend(title=None, columns=2)).scale(
            domain=labels, range=[colour_of[one.strategy] for one in curves]
        ),
    )
    dash = alt.StrokeDash("series:N", legend=None).scale(
        domain=labels, range=[DASHES[one.variation % len(DASHES)] for one in curves]
    )
    tooltip = [
        alt.Tooltip("series:N", title="series"),
        alt.Tooltip("x:Q", title=x.title, format=x.tooltip),
        alt.Tooltip("y:Q", title=y.title.lower(), format=y.tooltip),
    ]
    layers: list[Any] = []
    datasets = {"points": data}
    if domain[0] < 0:
        zero = alt.Chart(alt.NamedData("zero")).mark_rule(color=INK, opacity=0.5)
        layers.append(zero.encode(y=alt.Y("y:Q", scale=y_scale)))
        datasets["zero"] = [{"y": 0}]
    if any("low" in row for row in data):
        layers.append(
            base.mark_area(opacity=0.14, clip=True).encode(y=alt.Y("low:Q", scale=y_scale), y2=alt.Y2("high:Q"))
        )
    layers += [
        base.mark_line(clip=True).encode(strokeDash=dash),
        base.mark_point(size=80, filled=True, opacity=0).encode(tooltip=tooltip),  # to point at
    ]
    if direct:
        datasets["ends"] = _ends(data, labels, domain, y)
        layers += _names(base, dash)
    return to_spec(alt.layer(*layers).properties(width="container", height=HEIGHT), **datasets)


def _data(x: Quantity, y: Quantity, curves: dict[Series, list[Point]]) -> list[Json]:
    data = []
    for one, points in curves.items():
        first = next((place for place, point in enumerate(points) if point.mean(y) is not None), 0)
        for point in points[first:]:  # what is not known later leaves a gap
            at, value = point.mean(x), point.mean(y)
            if at is None:
                continue
            row: Json = {"series": one.label, "x": _short(at), "y": None if value is None else _short(value)}
            spread_ = point.values[y.field]
            if value is not None and spread_ is not None and spread_.half is not None:
                low, high = value - spread_.half, value + spread_.half
                # A logarithmic axis has no place for zero: the band then runs far out of the picture instead.
                row |= {"low": _short(max(low, value / 1e3) if y.log else low), "high": _short(high)}
            data.append(row)
    return data


def _axis(quantity: Quantity, extent: list[float], **options: Any) -> alt.Axis:
    if quantity.label is not None:
        options["labelExpr"] = quantity.label
    options |= {"values": log_ticks(*extent)} if quantity.log else {"tickCount": 5}
    return alt.Axis(**{"title": quantity.title, **options})


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers within ``low`` and ``high`` for a logarithmic axis: 1, 2, 5 of a decade or fewer."""
    decades = math.log10(high / low)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if decades < 2 else (1, 3) if decades < 3 else (1,)
    ticks = [float(f"{step}e{power}") for power in range(first, last + 1) for step in steps]
    return [tick for tick in ticks if low <= tick <= high][:: 1 + int(decades / 7)]


def _extent(values: list[float]) -> list[float]:
    return [min(values), max(values)] if values else [0.1, 1.0]


def _domain(values: list[float], y: Quantity) -> list[float]:
    """The means decide it, so that a wide band (few seeds) does not flatten the lines."""
    low, high = _extent(values)
    if y.log:
        return [low / 1.15, high * 1.15]
    top = max(0.0, min(1.0, 1.1 * high) if y in (ACCURACY, WORST) else 1.1 * high)
    return [min(0.0, 1.1 * low), top or (0.0 if low < 0 else 1.0)]


def _names(base: alt.Chart, dash: alt.StrokeDash) -> list[Any]:
    """The series' names at the right edge, each behind a piece of its line."""
    at_end = base.properties(data=alt.NamedData("ends")).encode(x=alt.XValue("width"))
    piece = at_end.mark_rule(strokeWidth=2, xOffset=6, x2Offset=22).encode(x2=alt.X2Value("width"), strokeDash=dash)
    name = at_end.mark_text(align="left", dx=27, limit=170).encode(text=alt.Text("series:N"), color=alt.ColorValue(INK))
    return [piece, name]


def _ends(data: list[Json], labels: list[str], domain: list[float], y: Quantity) -> list[Json]:
    """For each name the height at which its line ends, moved apart from the others."""
    forth, back = (math.log, math.exp) if y.log else (float, float)
    low, high = forth(domain[0]), forth(domain[1])
    last = {row["series"]: forth(row["y"]) for row in data if row["y"] is not None}
    named = sorted((HEIGHT * (high - last[label]) / (high - low), label) for label in labels if label in last)
    pixels = spread([pixel for pixel, _ in named], gap=15, limit=HEIGHT)
    return [
        {"series": label, "y": back(high - pixel / HEIGHT * (high - low))}
        for pixel, (_, label) in zip(pixels, named, strict=True)
    ]


def spread(positions: Sequence[float], gap: float, limit: float) -> list[float]:
    """Sorted positions moved as little as can be (least squares) to stand ``gap`` apart from 0 to ``limit``.

    Less ``gap`` times its index, no position may fall below the one before: isotonic regression, solved by
    pooling adjacent violators (Barlow et al. 1972).
    """
    pools: list[tuple[float, int]] = []
    for index, position in enumerate(positions):
        total, members = position - index * gap, 1
        while pools and pools[-1][0] / pools[-1][1] > total / members:
            before, more = pools.pop()
            total, members = total + before, members + more
        pools.append((total, members))
    levels = [total / members for total, members in pools for _ in range(members)]
    most = limit - gap * (len(levels) - 1)
    return [max(0.0, min(level, most)) + index * gap for index, level in enumerate(levels)]


def _short(value: float) -> float:
    return float(f"{value:.5g}")
