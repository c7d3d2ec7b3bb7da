"""The table and the pictures of a prediction: of its ``prediction.json`` and nothing else."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import altair as alt

from manyhands import terminal
from manyhands.report import numbers
from manyhands.report.bench_charts import SECONDS_LABEL
from manyhands.report.curves import DASHES, log_ticks
from manyhands.report.figure import Figure, to_spec
from manyhands.report.figures import write_charts
from manyhands.report.pictures import names_axis
from manyhands.report.series import INK, strategy_colours
from manyhands.runs.files import Json
from manyhands.statistics import Estimate

if TYPE_CHECKING:
    from rich.table import Table

WIDTH, HEIGHT, STEP = 250, 210, 24  # of a panel, and of a bar with the space around it, in pixels
PANELS = 3  # beside each other
NAME = 24  # characters of a strategy in the table

Column = tuple[str, Callable[[Json], str]]
COLUMNS: tuple[Column, ...] = (
    ("work-\ners", lambda row: f"{row['workers']:,}"),
    ("step\ntime", lambda row: numbers.duration(estimate_of(row["step_seconds"]))),
    ("epoch\ntime", lambda row: numbers.duration(estimate_of(row["epoch_seconds"]))),
    ("speedup", lambda row: numbers.times(estimate_of(row["speedup"]))),
    ("effi-\nciency", lambda row: numbers.percent(estimate_of(row["efficiency"]), 0)),
    ("comm.\ntime", lambda row: numbers.percent(estimate_of(row["communication"]), 0)),
    ("bytes/\nstep", lambda row: numbers.size(row["bytes_per_step"])),
)
NOTES = (
    "Per epoch: speedup T₁/Tₙ and efficiency T₁/(n·Tₙ) against one worker of the same batch size and profile.",
    "comm. time: (exposed + waiting) / (compute + exposed + waiting + compression), over all workers.",
    "bytes/step: sent by each worker, without headers.",
)


def estimate_of(quantity: Json) -> Estimate:
    """± is half a 95 % interval; there is none where the profile states no spread."""
    half = None if quantity["low"] is None else (quantity["high"] - quantity["low"]) / 2
    return Estimate(quantity["value"], half, 2)


def panels(content: Json) -> dict[str, list[Json]]:
    """The predictions by what is not in a table's rows: the network and the batch size."""
    groups: dict[str, list[Json]] = {}
    for row in content["predictions"]:
        groups.setdefault(f"{row['network']}, batch {row['batch_size']}", []).append(row)
    return groups


def terminal_prediction(content: Json) -> None:
    """Print a table for each network and batch size, with the formulas, and what could not be predicted."""
    console, profile = terminal.console(), content["profile"]
    for title, rows in panels(content).items():
        link, network = (rows[0]["bandwidth"], rows[0]["latency"]), rows[0]["network"]
        named = "" if network in (link[0], ",".join(link)) else f" ({', '.join(link)})"
        console.print(_table(rows, f"{title.replace(', batch', f'{named}, batch')} per worker"))
    about = f"{content['task']}, profile {profile['name']} ({profile['digest']})"
    known = any(content["spreads"].values())
    spread = "± half a 95 % interval, of the profile's spread." if known else "The profile states no spread: no ±."
    rough = "~ steps do not repeat exactly: extrapolated." if _rough(content["predictions"]) else ""
    for line in (f"Predicted, not measured: {about}.", spread, rough, *NOTES):
        if line:
            console.print(line, style="dim", highlight=False, markup=False)
    for row in content["not_predicted"]:
        console.print(refusal(row), markup=False, highlight=False)


def refusal(row: Json) -> str:
    """What could not be predicted, and why."""
    return f"not predicted: {row['strategy']} ×{row['workers']}: {row['why']}"


def _rough(rows: Sequence[Json]) -> bool:
    return not all(row["exact"] for row in rows)


def _table(rows: Sequence[Json], title: str) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("strategy", overflow="fold", max_width=NAME)
    for heading, _ in COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        name = strategy_text(row["strategy"], "" if row["exact"] else " ~")
        table.add_row(name, *(Text(text(row).replace(" ±", "\n±")) for _, text in COLUMNS))
    return table


def strategy_text(strategy: str, mark: str = "") -> str:
    """A strategy in a narrow column: what is long goes on in a second line."""
    written = strategy if len(strategy) + len(mark) <= NAME else strategy.replace(":", ":\n ", 1)
    return f"{written}{mark}".replace("[", "\\[")


def write_prediction(content: Json, folder: Path) -> list[Path]:
    """Write the pictures as PNG and SVG into a folder; returns them."""
    return write_charts(prediction_figures(content), folder)


def prediction_figures(content: Json) -> list[Figure]:
    """Speedup and the time of an epoch, over the workers, a panel for each network and batch size."""
    rows = content["predictions"]
    if not rows:
        return []
    caption = f"Predicted for {content['task']} on profile {content['profile']['name']}. "
    speedup = caption + "T₁ / Tₙ; the thin line is the ideal: n for n workers."
    return [
        _figure(content, "predicted-speedup", "Predicted speedup over one worker", "speedup", numbers.times, speedup),
        _figure(
            content, "predicted-epoch-time", "Predicted time of an epoch", "epoch_seconds", numbers.duration, caption
        ),
    ]


def _figure(
    content: Json, key: str, title: str, quantity: str, write: Callable[[numbers.Number], str], caption: str
) -> Figure:
    groups = panels(content)
    rows = [(panel, row) for panel, group in groups.items() for row in group]
    many = len({row["workers"] for _, row in rows if row["name"] != "single"}) > 1
    said = "; ".join(
        f"{row['strategy']} ×{row['workers']} {panel}: {write(row[quantity]['value'])}" for panel, row in rows
    )
    return Figure(
        key=key,
        title=title,
        caption=caption,
        alt=f"{title}: {said}.",
        spec=_lines(groups, quantity) if many else _marks(groups, quantity),
        header=("Strategy", "Workers", "Network and batch", title),
        rows=[
            [row["strategy"], f"{row['workers']:,}", panel, write(estimate_of(row[quantity]))] for panel, row in rows
        ],
    )


def _data(groups: dict[str, list[Json]], quantity: str) -> list[Json]:
    return [
        {
            "panel": panel,
            "series": row["strategy"],
            "x": row["workers"],
            "y": row[quantity]["value"],
            "low": row[quantity]["value"] if row[quantity]["low"] is None else row[quantity]["low"],
            "high": row[quantity]["value"] if row[quantity]["high"] is None else row[quantity]["high"],
        }
        for panel, rows in groups.items()
        for row in rows
    ]


def _styles(groups: dict[str, list[Json]]) -> tuple[list[str], list[str], list[list[int]]]:
    """The names in all panels, their colours, and the dashes that tell apart those of one colour."""
    kinds = {row["strategy"]: row["name"] for rows in groups.values() for row in rows}
    colour_of = strategy_colours(list(kinds.values()))
    colours = [colour_of[kind] for kind in kinds.values()]
    dashes = [DASHES[colours[:place].count(colour) % len(DASHES)] for place, colour in enumerate(colours)]
    return list(kinds), colours, dashes


def _axis(data: Sequence[Json], quantity: str) -> tuple[alt.Axis, alt.Scale]:
    """Logarithmic, as times and speedups are ratios."""
    values = [row[end] for row in data for end in ("low", "high") if row[end] > 0]
    low, high = min(values) / 1.15, max(values) * 1.15
    label = "datum.label + '×'" if quantity == "speedup" else SECONDS_LABEL
    return (
        alt.Axis(title=None, values=log_ticks(low, high), labelExpr=label, format="~g"),
        alt.Scale(type="log", domain=[low, high], nice=False),
    )


def _facets(chart: Any, groups: dict[str, list[Json]], rows: list[Json]) -> Json:
    header = alt.Header(title=None, labelFontSize=12, labelFontWeight="bold", labelColor=INK)
    faceted = chart.facet(
        data=alt.NamedData("rows"), facet=alt.Facet("panel:N", sort=list(groups), header=header), columns=PANELS
    )
    return to_spec(faceted, rows=rows)


def _lines(groups: dict[str, list[Json]], quantity: str) -> Json:
    data = _data(groups, quantity)
    names, colours, dashes = _styles(groups)
    counts = sorted({row["x"] for row in data})
    axis, scale = _axis(data, quantity)
    legend = alt.Legend(title=None, columns=3, symbolType="stroke", symbolOpacity=1, symbolStrokeWidth=2)
    base = alt.Chart().encode(
        x=alt.X("x:Q", title="workers", axis=alt.Axis(values=counts, grid=False, format=",", labelOverlap=True)).scale(
            type="log", base=2, nice=False
        ),
        y=alt.Y("y:Q", axis=axis, scale=scale),
        color=alt.Color("series:N", legend=legend).scale(domain=names, range=colours),
    )
    layers = []
    if quantity == "speedup":
        ideal = base.mark_line(color=INK, opacity=0.4, strokeWidth=1, clip=True).encode(
            y=alt.Y("x:Q"), color=alt.ColorValue(INK)
        )
        layers.append(ideal)
    dash = alt.StrokeDash("series:N").scale(domain=names, range=dashes)
    layers += [
        base.mark_area(opacity=0.15, clip=True).encode(y=alt.Y("low:Q", axis=axis, scale=scale), y2=alt.Y2("high:Q")),
        base.mark_line(clip=True).encode(strokeDash=dash),
        base.mark_point(filled=True, size=36, opacity=1).encode(
            tooltip=[alt.Tooltip("series:N"), alt.Tooltip("x:Q", title="workers"), alt.Tooltip("y:Q", format=".3~g")]
        ),
    ]
    return _facets(alt.layer(*layers).properties(width=WIDTH, height=HEIGHT), groups, data)


def _marks(groups: dict[str, list[Json]], quantity: str) -> Json:
    """One number of workers: a mark for each strategy, with its interval."""
    data = _data(groups, quantity)
    names, colours, _ = _styles(groups)
    axis, scale = _axis(data, quantity)
    base = alt.Chart().encode(
        y=names_axis(names), color=alt.Color("series:N", legend=None).scale(domain=names, range=colours)
    )
    spread = base.mark_rule(strokeWidth=2, opacity=0.5).encode(
        x=alt.X("low:Q", axis=axis, scale=scale), x2=alt.X2("high:Q")
    )
    points = base.mark_point(filled=True, size=70, opacity=1).encode(x=alt.X("y:Q", axis=axis, scale=scale))
    chart = alt.layer(spread, points).properties(width=WIDTH, height=STEP * len(names))
    return _facets(chart, groups, data)
