"""The kinds of chart that benchmarks are drawn with: lines with their spread, stacked bars, intervals."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import altair as alt

from manyhands.report import numbers
from manyhands.report.curves import DASHES, log_ticks
from manyhands.report.figure import Figure, to_spec
from manyhands.report.pictures import names_axis
from manyhands.report.series import INK, strategy_colours
from manyhands.runs.files import Json
from manyhands.statistics import Estimate

HEIGHT = 240  # of a plot, in pixels
BAR, STEP = 14, 28  # height of a bar, and of a bar with the space around it

_SCALED = "(datum.value >= {0} ? format(datum.value / {0}, '~g') + '\u00a0{1}' : {2})"


def _prefixed(units: Sequence[tuple[float, str]]) -> str:
    """A Vega expression that writes a number in the largest unit below it."""
    text = f"format(datum.value / {units[-1][0]}, '~g') + '\u00a0{units[-1][1]}'"
    for scale, unit in reversed(units[:-1]):
        text = _SCALED.format(scale, unit, text)
    return f"datum.value == 0 ? '0' : {text}"


SECONDS_LABEL = _prefixed([(60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs")])
_LABELS = {
    "share": "format(datum.value, '.0%')",
    "×": "datum.label + '×'",
    "s": SECONDS_LABEL,
    "B": _prefixed([(1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")]),
    "KiB": _prefixed([(2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")]),
    "B/s": _prefixed([(1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1.0, "B/s")]),
    "1/s": "format(datum.value, ',')",
    "FLOP/s": _prefixed([(1e12, "TFLOP/s"), (1e9, "GFLOP/s"), (1e6, "MFLOP/s")]),
}


def cell_text(cell: Any, unit: str) -> str:
    """A cell as people read it; one with a spread as ``12.3 ± 0.4 ms``, ± half the distance of its ends."""
    if isinstance(cell, str):
        return cell
    value: float | Estimate | None
    if isinstance(cell, dict):
        value = Estimate(cell["value"], (cell["high"] - cell["low"]) / 2 if cell["n"] > 1 else None, cell["n"])
    else:
        value = cell
    if unit in ("B/s", "FLOP/s"):
        return numbers.NONE if value is None else f"{numbers.size(value)}/s".replace("B/s", unit)
    writers: dict[str, Callable[[Any], str]] = {
        "s": numbers.duration,
        "B": numbers.size,
        "×": numbers.times,
        "share": lambda share: numbers.percent(share, 1),
        "1/s": lambda rate: numbers.NONE if rate is None else f"{numbers.plain(rate)}/s",
    }
    if unit in writers:
        return writers[unit](value)
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}"
    return numbers.plain(value) if isinstance(value, Estimate) else numbers.general(value)


def value_of(cell: Any) -> float | None:
    """The number in a cell, without its spread."""
    number = cell["value"] if isinstance(cell, dict) else cell
    return None if number is None or isinstance(number, str) else float(number)


def columns_of(table: Json) -> dict[str, Json]:
    return {column["key"]: column for column in table["columns"]}


def line_figure(
    table: Json,
    x: str,
    y: str,
    *,
    by: str | None,
    key: str,
    title: str,
    caption: str,
    rows: Iterable[Json] | None = None,
    log_x: bool = False,
    log_y: bool = False,
    binary: bool = False,
    line: str | None = None,
    mark: str | None = None,
    ideal: Callable[[float], float] | None = None,
) -> list[Figure]:
    """A line for each value of ``by``, dots where it was measured, bars for the spread; none without any number.

    ``ideal`` is drawn as a thin line. ``line`` names the column that lines are drawn of, if it is not ``y``, and
    ``mark`` one for hollow marks beside the dots. The axis has the measured places for its ticks.
    """
    shown = [row for row in (table["rows"] if rows is None else rows) if value_of(row.get(y)) is not None]
    if not shown:
        return []
    columns = columns_of(table)
    names = list(dict.fromkeys(str(row[by]) if by else columns[y]["heading"] for row in shown))
    data = [
        {
            "series": str(row[by]) if by else columns[y]["heading"],
            "x": value_of(row[x]),
            "y": value_of(row[y]),
            "text": cell_text(row[y], columns[y]["unit"]),
            "line": value_of(row.get(line or y)),
            "mark": value_of(row.get(mark or y)),
            **({"low": row[y]["low"], "high": row[y]["high"]} if isinstance(row[y], dict) else {}),
        }
        for row in shown
    ]
    places = sorted({row["x"] for row in data})
    best = [{"x": place, "y": ideal(place)} for place in places] if ideal else []
    values = [row["y"] for row in data] + [row["y"] for row in best]
    unit = columns[y]["unit"]
    across: Json = {"title": columns[x]["heading"].lower(), "grid": False, "values": places, "labelOverlap": True}
    across |= {"labelExpr": _LABELS["KiB"]} if binary else {"format": ","}
    ends = [*values, *(row[end] for row in data for end in ("low", "high") if row.get(end))]
    least, most = min(ends) / 1.15, max(ends) * 1.15
    upwards: Json = {"values": log_ticks(least, most)} if log_y else {"tickCount": 5}
    upwards |= {"labelExpr": _LABELS[unit]} if unit in _LABELS else {}
    scale_y = (
        alt.Scale(type="log", domain=[least, most], nice=False)
        if log_y
        else alt.Scale(domain=_domain(data, best, unit), nice=True)
    )
    colour_of = strategy_colours(names)
    legend = alt.Legend(title=None, columns=3, symbolType="circle", symbolOpacity=1) if len(names) > 1 else None
    base = alt.Chart(alt.NamedData("rows")).encode(
        x=alt.X(
            "x:Q",
            axis=alt.Axis(**across),
            scale=alt.Scale(type="log", base=2, nice=False, padding=10) if log_x else alt.Scale(zero=True),
        ),
        y=alt.Y("y:Q", axis=alt.Axis(title=None, **upwards), scale=scale_y),
        color=alt.Color("series:N", legend=legend).scale(domain=names, range=list(colour_of.values())),
    )
    layers = []
    if best:
        thin = base.mark_line(color=INK, opacity=0.5, strokeWidth=1).properties(data=alt.NamedData("ideal"))
        layers.append(thin.encode(color=alt.ColorValue(INK)))
    if any(row.get("low") != row.get("high") for row in data):
        layers.append(
            base.mark_rule(opacity=0.45, strokeWidth=1.5, clip=True).encode(y=alt.Y("low:Q"), y2=alt.Y2("high:Q"))
        )
    tooltip = [
        alt.Tooltip("series:N"),
        alt.Tooltip("x:Q", title=columns[x]["heading"]),
        alt.Tooltip("text:N", title="value"),
    ]
    seen = [list(colour_of.values())[:place].count(colour) for place, colour in enumerate(colour_of.values())]
    lines = base.mark_line().encode(y=alt.Y("line:Q", scale=scale_y))
    if any(seen):  # kindred strategies share a colour
        dashes = [DASHES[number % len(DASHES)] for number in seen]
        lines = lines.encode(strokeDash=alt.StrokeDash("series:N", legend=legend).scale(domain=names, range=dashes))
    layers += [lines, base.mark_point(filled=True, size=45, opacity=1).encode(tooltip=tooltip)]
    if mark:
        layers.append(base.mark_point(shape="diamond", size=110, opacity=1).encode(y=alt.Y("mark:Q", scale=scale_y)))
    spec = to_spec(
        alt.layer(*layers).properties(width="container", height=HEIGHT), rows=data, **({"ideal": best} if best else {})
    )
    said = "; ".join(f"{row['series']} at {row['x']:g}: {row['text']}" for row in data)
    heading = columns[by]["heading"] if by else "Series"
    return [
        Figure(
            key=key, title=title, caption=caption, alt=f"{title}: {said}.", spec=spec,
            header=(heading, columns[x]["heading"], columns[y]["heading"]),
            rows=[[row["series"], f"{row['x']:,.10g}", row["text"]] for row in data],
        )
    ]  # fmt: skip


def _domain(data: Sequence[Json], best: Sequence[Json], unit: str) -> list[float]:
    """Decided by the values, so that a wide spread does not flatten the lines; shares of something end at one."""
    lows = [min(row["y"], row.get("low", 0.0) if row["y"] < 0 else 0.0) for row in data]
    high = max([1.08 * row["y"] for row in data] + [row["y"] for row in best])
    most = max([row["y"] for row in [*data, *best]])
    return [min(lows), 1.0 if unit == "share" and most <= 1.0 < high else high or 1.0]


def stacked_figure(
    table: Json, parts: dict[str, str], *, label: Callable[[Json], str], key: str, title: str, caption: str
) -> list[Figure]:
    """A bar for each row, of the columns in ``parts`` one after another; parts are named by the dictionary's values.

    The bars' colours are those of the first words of their labels, the parts are told apart by how solid they are.
    """
    columns = columns_of(table)
    rows = [row for row in table["rows"] if all(value_of(row.get(part)) is not None for part in parts)]
    if not rows:
        return []
    unit = columns[next(iter(parts))]["unit"]
    data = [
        {
            "series": label(row),
            "subject": label(row).split()[0],
            "part": name,
            "value": max(0.0, value_of(row[part]) or 0.0),
            "order": order,
            "text": cell_text(row[part], unit),
        }
        for row in rows
        for order, (part, name) in enumerate(parts.items())
    ]
    labels = [label(row) for row in rows]
    subjects = list(dict.fromkeys(name.split()[0] for name in labels))
    colour_of = strategy_colours(subjects)
    names = list(parts.values())
    solid = [1.0, 0.55, 0.25, 0.12][: len(names)]
    chart = (
        alt.Chart(alt.NamedData("rows"))
        .mark_bar(height=BAR)
        .encode(
            y=names_axis(labels),
            x=alt.X("value:Q", title=None, axis=alt.Axis(tickCount=5, labelExpr=_LABELS[unit])).scale(nice=False),
            color=alt.Color("subject:N", legend=None).scale(domain=subjects, range=list(colour_of.values())),
            opacity=alt.Opacity(
                "part:O", sort=names, legend=alt.Legend(title=None, symbolFillColor=INK, symbolType="square", columns=4)
            ).scale(domain=names, range=solid),
            order=alt.Order("order:Q"),
            tooltip=[alt.Tooltip("series:N"), alt.Tooltip("part:N"), alt.Tooltip("text:N")],
        )
    )
    return [
        Figure(
            key=key, title=title, caption=caption,
            alt=f"Stacked bars of {', '.join(names)}: "
            + "; ".join(f"{label(row)} " + ", ".join(cell_text(row[part], unit) for part in parts) for row in rows),
            spec=to_spec(chart.properties(width="container", height=STEP * len(rows)), rows=data),
            header=("Configuration", *names),
            rows=[[label(row), *(cell_text(row[part], unit) for part in parts)] for row in rows],
        )
    ]  # fmt: skip


def interval_figure(
    table: Json, column: str, *, margin: float, label: Callable[[Json], str], key: str, title: str, caption: str
) -> list[Figure]:
    """A mark with its interval for each row, on a ground that shows the margin around zero."""
    rows = [row for row in table["rows"] if isinstance(row.get(column), dict)]
    if not rows:
        return []
    unit = columns_of(table)[column]["unit"]
    data = [{"series": label(row), "text": cell_text(row[column], unit), **row[column]} for row in rows]
    names = [row["series"] for row in data]
    subjects = [name.split()[0] for name in names]
    colour_of = strategy_colours(list(dict.fromkeys(subjects)))
    reach = 1.15 * max([margin, *(abs(row[end]) for row in data for end in ("low", "high"))])
    scale = alt.Scale(domain=[-reach, reach], nice=False)
    axis = alt.Axis(title=None, tickCount=7, format="+.1%")
    ground = (
        alt.Chart(alt.NamedData("margin")).mark_rect(color=INK, opacity=0.08)
        .encode(x=alt.X("from:Q", scale=scale, axis=axis), x2=alt.X2("to:Q"), y=alt.YValue(0), y2=alt.Y2Value("height"))
    )  # fmt: skip
    zero = alt.Chart(alt.NamedData("margin")).mark_rule(color=INK, opacity=0.5).encode(x=alt.X("zero:Q", scale=scale))
    base = alt.Chart(alt.NamedData("rows")).encode(
        y=names_axis(names),
        color=alt.Color("series:N", legend=None).scale(domain=names, range=[colour_of[name] for name in subjects]),
    )
    lines = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", scale=scale, axis=axis), x2=alt.X2("high:Q"))
    marks = base.mark_point(filled=True, size=80, opacity=1).encode(
        x=alt.X("value:Q", scale=scale, axis=axis), tooltip=[alt.Tooltip("series:N"), alt.Tooltip("text:N")]
    )
    chart = alt.layer(ground, zero, lines, marks).properties(width="container", height=max(2 * STEP, STEP * len(rows)))
    return [
        Figure(
            key=key, title=title, caption=caption,
            alt=f"{title}: " + "; ".join(f"{row['series']} {row['text']}" for row in data) + ".",
            spec=to_spec(chart, rows=data, margin=[{"from": -margin, "to": margin, "zero": 0}]),
            header=("Configuration", "Low", columns_of(table)[column]["heading"], "High"),
            rows=[[row["series"], *(cell_text(row[end], unit) for end in ("low", "value", "high"))] for row in data],
        )
    ]  # fmt: skip
