"""Charts of what sharing the work costs and gives: where the time goes, speedup, efficiency."""

from collections.abc import Callable, Sequence

import altair as alt

from manyhands.report import numbers
from manyhands.report.curves import log_ticks
from manyhands.report.figure import Figure, to_spec
from manyhands.report.numbers import Number
from manyhands.report.pictures import names_axis
from manyhands.report.series import INK, Series, colours
from manyhands.report.tables import Row
from manyhands.report.times import Times
from manyhands.runs.files import Json
from manyhands.runs.reading import TimeShares, time_shares
from manyhands.statistics import Estimate

HEIGHT = 240  # of a line chart's plot, in pixels
BAR, STEP = 14, 28  # height of a bar, and of a bar with the space around it
SHAPES = ("circle", "triangle-up", "square", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
PARTS = {"compute": 1.0, "compression": 0.75, "communication": 0.5, "waiting": 0.25}  # and how solid each is drawn
NAMED = {"communication": "exposed communication"}


def time_figures(series: Sequence[Series]) -> list[Figure]:
    """One chart of the shares of compute, exposed communication and waiting; none without any ledger.

    Compression is shown where there is some.
    """
    known = {one: share for one in series if (share := _mean_shares(one)) is not None}
    if not known:
        return []
    parts = [part for part in PARTS if part != "compression" or any(share.compression for share in known.values())]
    texts = {one: [numbers.percent(getattr(share, part), 1) for part in parts] for one, share in known.items()}
    said = "; ".join(
        f"{one.label} " + ", ".join(f"{part} {text}" for part, text in zip(parts, texts[one], strict=True))
        for one in known
    )
    names = [NAMED.get(part, part) for part in parts]
    return [
        Figure(
            key="time-shares",
            title="Where the workers' time goes",
            caption=f"Shares of {' + '.join(names)}, each summed over the workers.",
            alt=f"Stacked bars: {said}.",
            spec=_share_bars(known, parts),
            header=("Series", *(name.capitalize() for name in names)),
            rows=[[one.label, *texts[one]] for one in known],
        )
    ]


def _mean_shares(series: Series) -> TimeShares | None:
    """The mean over the seeds; None where a run has no ledger."""
    shares = [share for run in series.runs if (share := time_shares(run)) is not None]
    if len(shares) < len(series.runs):
        return None
    return TimeShares(**{part: sum(getattr(share, part) for share in shares) / len(shares) for part in PARTS})


def _share_bars(shares: dict[Series, TimeShares], parts: Sequence[str]) -> Json:
    data = [
        {
            "series": one.label,
            "strategy": one.strategy,
            "part": part,
            "share": getattr(share, part),
            "order": order,
        }
        for one, share in shares.items()
        for order, part in enumerate(parts)
    ]
    legend = alt.Legend(title=None, symbolFillColor=INK, symbolType="square")
    chart = (
        alt.Chart(alt.NamedData("rows"))
        .mark_bar(height=BAR)
        .encode(
            y=names_axis([one.label for one in shares]),
            x=alt.X("share:Q", title=None, axis=alt.Axis(format=".0%", tickCount=5)).scale(domain=[0, 1]),
            color=_strategy_colour(list(shares)),
            opacity=alt.Opacity("part:O", sort=list(parts), legend=legend).scale(
                domain=list(parts), range=[PARTS[part] for part in parts]
            ),
            order=alt.Order("order:Q"),
            tooltip=[alt.Tooltip("series:N"), alt.Tooltip("part:N"), alt.Tooltip("share:Q", format=".1%")],
        )
    )
    return to_spec(chart.properties(width="container", height=STEP * len(shares)), rows=data)


def speedup_figures(rows: Sequence[Row]) -> list[Figure]:
    """Speedup as bars; or where numbers of workers differ, speedup and efficiency as lines over them."""
    known = [row for row in rows if row.speedup is not None and row.series.finished and not row.series.is_baseline]
    if not known:
        return []
    families = {row.series.family for row in known}
    caption = "T₁ / Tₙ, each on its own clock, at an equal number of epochs. "
    if len(families) == len(known):
        caption += "The grey track is the ideal: n for n workers."
        return [_figure(known, "speedup", "Speedup over one worker", caption, numbers.times, _speedup_bars(known))]
    lines = _scaling_lines(known, lambda row: row.speedup, lambda n: float(n), "datum.label + '×'")
    rates = _scaling_lines(known, lambda row: row.efficiency, lambda n: 1.0, "format(datum.value, '.0%')")
    caption += "The thin line is the ideal: n for n workers."
    shares = "T₁ / (n · Tₙ), the speedup divided by the number of workers."
    return [
        _figure(known, "speedup", "Speedup over one worker", caption, numbers.times, lines),
        _figure(known, "efficiency", "Efficiency", shares, numbers.percent, rates),
    ]


def _figure(
    rows: Sequence[Row], key: str, title: str, caption: str, write: Callable[[Number], str], spec: Json
) -> Figure:
    return Figure(
        key=key,
        title=title,
        caption=caption,
        alt=f"{title}: " + "; ".join(f"{row.series.label} {write(getattr(row, key))}" for row in rows) + ".",
        spec=spec,
        header=("Series", "Clock", "Workers", "Speedup", "Efficiency"),
        rows=[
            [
                row.series.label,
                row.series.clock,
                f"{row.series.workers:,}",
                numbers.times(row.speedup),
                numbers.percent(row.efficiency, 1),
            ]
            for row in rows
        ],
    )


def _speedup_bars(rows: Sequence[Row]) -> Json:
    """Bars in a track that is as long as the ideal."""
    data = [
        {
            "series": row.series.label,
            "strategy": row.series.strategy,
            "speedup": _mean(row.speedup),
            "ideal": row.series.workers,
            "end": max(_mean(row.speedup), row.series.workers),
            "text": f"{numbers.times(_mean(row.speedup))} of {row.series.workers}",
        }
        for row in rows
    ]
    x = alt.X("speedup:Q", title=None, axis=alt.Axis(tickCount=5, labelExpr="datum.label + '×'")).scale(nice=False)
    base = alt.Chart(alt.NamedData("rows")).encode(y=names_axis([row.series.label for row in rows]), x=x)
    track = base.mark_bar(color=INK, opacity=0.08, height=BAR).encode(x=alt.X("ideal:Q"))
    bars = base.mark_bar(height=BAR).encode(
        color=_strategy_colour([row.series for row in rows]), tooltip=[alt.Tooltip("series:N"), alt.Tooltip("text:N")]
    )
    texts = base.mark_text(align="left", dx=6).encode(x=alt.X("end:Q"), text=alt.Text("text:N"))
    return to_spec(alt.layer(track, bars, texts).properties(width="container", height=STEP * len(rows)), rows=data)


def _scaling_lines(
    rows: Sequence[Row],
    quantity: Callable[[Row], Estimate | None],
    ideal: Callable[[int], float],
    label: str,
) -> Json:
    """One line for each family of series against the number of workers (logarithmic), and the ideal."""
    data = [{"family": row.series.family, "x": row.series.workers, "y": _mean(quantity(row))} for row in rows]
    families = {row.series.family: row.series for row in rows}
    colour_of = colours(list(families.values()))
    counts = sorted({row.series.workers for row in rows})
    colour = alt.Color("family:N", legend=alt.Legend(title=None, columns=3, symbolType="circle"))
    colour = colour.scale(domain=list(families), range=[colour_of[one.strategy] for one in families.values()])
    base = alt.Chart(alt.NamedData("rows")).encode(
        x=alt.X("x:Q", title="workers", axis=alt.Axis(values=counts, grid=False)).scale(type="log", base=2),
        y=alt.Y("y:Q", title=None, axis=alt.Axis(labelExpr=label, tickCount=5)),
    )
    lines = base.mark_line().encode(color=colour)
    dots = base.mark_point(filled=True, size=50, opacity=1).encode(
        color=colour,
        tooltip=[
            "family:N",
            alt.Tooltip("x:Q", title="workers"),
            alt.Tooltip("y:Q", title="value", format=".3~g"),
        ],
    )
    best = base.mark_line(color=INK, opacity=0.5, strokeWidth=1).properties(data=alt.NamedData("ideal"))
    whole = alt.layer(best, lines, dots).properties(width="container", height=HEIGHT)
    return to_spec(whole, rows=data, ideal=[{"x": n, "y": ideal(n)} for n in counts])


def target_figures(table: Times) -> list[Figure]:
    """A line for each strategy, from its least to its greatest time to the target, with a mark for each condition.

    None where there is one condition, or the target was hardly reached.
    """
    points = [
        (line, name, cell)
        for line in table.lines
        for name, cell in zip(table.conditions, line.cells, strict=True)
        if cell is not None
    ]
    reached = [(line, name, cell.seconds) for line, name, cell in points if cell.seconds is not None]
    if not table.crossed or len(reached) < 2:
        return []
    said = "; ".join(f"{line.series.subject}, {name}: {cell.text}" for line, name, cell in points)
    missing = "" if len(reached) == len(points) else " Where a mark is missing, the target was not reached."
    return [
        Figure(
            key="time-to-accuracy",
            title=f"Time to {table.goal}, {table.clock} clock",
            caption=f"Each line is a strategy, each mark a condition: seconds to {table.goal} test accuracy.{missing}",
            alt=f"Marks on a time axis: {said}.",
            spec=_target_marks(table, [(line.series, name, seconds.mean) for line, name, seconds in reached]),
            header=("Strategy", "Condition", "Seconds", "Factor"),
            rows=[[line.series.subject, name, cell.text, numbers.times(cell.factor)] for line, name, cell in points],
        )
    ]


def _target_marks(table: Times, reached: Sequence[tuple[Series, str, float]]) -> Json:
    marks = [
        {
            "series": one.subject,
            "strategy": one.strategy,
            "condition": name,
            "x": seconds,
            "text": numbers.duration(seconds),
        }
        for one, name, seconds in reached
    ]
    times = [seconds for _, _, seconds in reached]
    scale, axis = alt.Scale(domain=[0, 1.05 * max(times)], nice=False), alt.Axis(title="seconds", tickCount=6)
    if max(times) > 20 * min(times):
        low, high = min(times) / 1.2, max(times) * 1.2
        scale = alt.Scale(type="log", domain=[low, high], nice=False)
        axis = alt.Axis(title="seconds", values=log_ticks(low, high))
    names = [line.series.subject for line in table.lines]
    base = alt.Chart(alt.NamedData("marks")).encode(
        y=names_axis(names).scale(domain=names), color=_strategy_colour([line.series for line in table.lines])
    )
    track = base.mark_rule(strokeWidth=2, opacity=0.3).encode(
        x=alt.X("min(x):Q", scale=scale, axis=axis), x2="max(x):Q", detail=alt.Detail("series:N")
    )
    points = base.mark_point(filled=True, size=80, opacity=0.9).encode(
        x=alt.X("x:Q", scale=scale, axis=axis),
        shape=alt.Shape("condition:N", sort=None, legend=alt.Legend(title=None, columns=2, symbolFillColor=INK)).scale(
            domain=list(table.conditions), range=[SHAPES[place % len(SHAPES)] for place in range(len(table.conditions))]
        ),
        tooltip=[
            alt.Tooltip("series:N", title="strategy"),
            alt.Tooltip("condition:N"),
            alt.Tooltip("text:N", title="time"),
        ],
    )
    chart = alt.layer(track, points).properties(width="container", height=STEP * len(names))
    return to_spec(chart, marks=marks)


def _strategy_colour(series: Sequence[Series]) -> alt.Color:
    colour_of = colours(series)
    return alt.Color("strategy:N", legend=None).scale(domain=list(colour_of), range=list(colour_of.values()))


def _mean(value: Estimate | None) -> float:
    return 0.0 if value is None else value.mean
