"""Pictures of predictions beside what was measured: each against the other, and how far off they are."""

import altair as alt

from manyhands.report.bench_charts import SECONDS_LABEL, cell_text, columns_of, value_of
from manyhands.report.curves import log_ticks
from manyhands.report.figure import Figure, to_spec
from manyhands.report.pictures import HEAT, names_axis
from manyhands.report.series import INK
from manyhands.runs.files import Json

SIZE = 300  # of the picture of both, in pixels
STEP = 20  # height of a configuration in the picture of errors
SHADE = 0.1


def agreement_figure(
    table: Json, predicted: str, measured: str, *, label: str, key: str, title: str, caption: str
) -> list[Figure]:
    """A dot for each row, measured across and predicted up, with the measurements' spread; none without both."""
    rows = [
        row
        for row in table["rows"]
        if (value_of(row.get(predicted)) or 0) > 0 and (value_of(row.get(measured)) or 0) > 0
    ]
    if not rows:
        return []
    unit = columns_of(table)[predicted]["unit"]
    texts = [(cell_text(row[predicted], unit), cell_text(row[measured], unit)) for row in rows]
    data: list[Json] = [
        {
            "name": str(row[label]),
            "x": value_of(row[measured]),
            "y": value_of(row[predicted]),
            **({"low": row[measured]["low"], "high": row[measured]["high"]} if isinstance(row[measured], dict) else {}),
            "predicted": text[0],
            "measured": text[1],
        }
        for row, text in zip(rows, texts, strict=True)
    ]
    values = [value for row in data for value in (row["x"], row["y"], row.get("low"), row.get("high")) if value]
    low, high = min(values) / 1.2, max(values) * 1.2
    ends: list[Json] = [
        {"x": end, "y": end, "least": end * (1 - SHADE), "most": end * (1 + SHADE)} for end in (low, high)
    ]
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    ticks = log_ticks(low, high)
    x = alt.X(
        "x:Q", scale=scale, axis=alt.Axis(title="measured", labelOverlap=True, values=ticks, labelExpr=SECONDS_LABEL)
    )
    y = alt.Y("y:Q", scale=scale, axis=alt.Axis(title="predicted", values=ticks, labelExpr=SECONDS_LABEL))
    line = alt.Chart(alt.NamedData("ends")).encode(x=x)
    shade = line.mark_area(color=INK, opacity=0.08, clip=True).encode(
        y=alt.Y("least:Q", scale=scale), y2=alt.Y2("most:Q")
    )
    same = line.mark_line(color=INK, opacity=0.5, strokeWidth=1, clip=True).encode(y=y)
    base = alt.Chart(alt.NamedData("rows")).encode(y=y)
    spread = base.mark_rule(color=HEAT, opacity=0.5).encode(x=alt.X("low:Q", scale=scale), x2=alt.X2("high:Q"))
    dots = base.mark_point(color=HEAT, filled=True, size=55, opacity=0.85).encode(
        x=x,
        tooltip=[alt.Tooltip("name:N", title="configuration"), alt.Tooltip("predicted:N"), alt.Tooltip("measured:N")],
    )
    said = "; ".join(f"{row['name']}: {row['predicted']} predicted, {row['measured']} measured" for row in data)
    return [
        Figure(
            key=key,
            title=title,
            caption=caption,
            alt=f"Dots near a diagonal: {said}.",
            spec=to_spec(
                alt.layer(shade, same, spread, dots).properties(width=SIZE, height=SIZE), rows=data, ends=ends
            ),
            header=("Configuration", "Predicted", "Measured"),
            rows=[[row["name"], row["predicted"], row["measured"]] for row in data],
        )
    ]


def error_figure(table: Json, error: str, *, label: str, key: str, title: str, caption: str) -> list[Figure]:
    """A mark for each row, left of zero where the prediction was too short; none without any."""
    rows = [(str(row[label]), value) for row in table["rows"] if (value := value_of(row.get(error))) is not None]
    if not rows:
        return []
    rows.sort(key=lambda pair: pair[1])
    data: list[Json] = [{"series": name, "x": value, "text": f"{value:+.1%}"} for name, value in rows]
    reach = 1.15 * max(SHADE, *(abs(value) for _, value in rows))
    scale = alt.Scale(domain=[-reach, reach], nice=False)
    axis = alt.Axis(title=None, tickCount=5, format="+.0%")
    ground = alt.Chart(alt.NamedData("shade")).mark_rect(color=INK, opacity=0.08)
    ground = ground.encode(
        x=alt.X("from:Q", scale=scale, axis=axis), x2=alt.X2("to:Q"), y=alt.YValue(0), y2=alt.Y2Value("height")
    )
    zero = alt.Chart(alt.NamedData("shade")).mark_rule(color=INK, opacity=0.5).encode(x=alt.X("zero:Q", scale=scale))
    base = alt.Chart(alt.NamedData("rows")).encode(y=names_axis([name for name, _ in rows]))
    stems = base.mark_rule(color=HEAT, strokeWidth=2).encode(
        x=alt.X("zero:Q", scale=scale, axis=axis), x2=alt.X2("x:Q")
    )
    stems = stems.transform_calculate(zero="0")
    dots = base.mark_point(color=HEAT, filled=True, size=60, opacity=1).encode(
        x=alt.X("x:Q", scale=scale, axis=axis), tooltip=[alt.Tooltip("series:N"), alt.Tooltip("text:N", title="error")]
    )
    chart = alt.layer(ground, zero, stems, dots).properties(width="container", height=max(60, STEP * len(rows)))
    return [
        Figure(
            key=key,
            title=title,
            caption=caption,
            alt=f"Marks beside zero, from {rows[0][1]:+.1%} of {rows[0][0]} to {rows[-1][1]:+.1%} of {rows[-1][0]}.",
            spec=to_spec(chart, rows=data, shade=[{"from": -SHADE, "to": SHADE, "zero": 0}]),
            header=("Configuration", "Error"),
            rows=[[row["series"], row["text"]] for row in data],
        )
    ]
