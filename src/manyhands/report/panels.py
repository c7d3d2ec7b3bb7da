"""The figures that have a name of their own as files, each of several charts beside each other.

``training_curves``: accuracy, test and training loss. ``speedup_analysis``: speedup, efficiency, where the time goes.
``per_class_accuracy``: each class by each series. ``confusion_matrix``: one for each series, summed over its seeds.
``baseline_vs_distributed_comparison``: accuracy, speedup and bytes of all beside the baseline. A figure for which the
runs have no numbers is left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import altair as alt

from manyhands.report import numbers
from manyhands.report.contents import Contents
from manyhands.report.figure import Figure, to_spec
from manyhands.report.mistakes import class_figures
from manyhands.report.pictures import class_figure, heat_map, names_axis
from manyhands.report.series import INK, Series, colours
from manyhands.report.tables import Row
from manyhands.runs.files import Json
from manyhands.statistics import Estimate

WIDE = 420  # of a chart in a panel that on the page is as wide as there is room, in pixels
MOST_CHARTS = 12  # in one panel
MOST_CLASSES = 30  # of a confusion matrix
STEP = 26  # height of a bar with the space around it
BY_TIME = ("accuracy-by-simulated-time", "accuracy-by-real-time")
BESIDE = "One worker, and those that share the work"
PREFIXES = ("", "task", "condition")  # of the figures' keys
CHANNELS = ("color", "opacity", "shape", "strokeDash", "strokeWidth", "angle", "size", "x", "y")


def named_figures(contents: Contents) -> list[Figure]:
    """Those of the five that can be drawn."""
    learning = _ending(contents, *(f"{name}-by-epoch" for name in ("accuracy", "loss", "train-loss")), *BY_TIME)
    time = _ending(contents, "speedup", "efficiency", "time-shares")
    series = [row.series for row in contents.rows]
    panels = [
        _panel("training_curves", "Training curves", learning, columns=2, apart=240),
        _panel("speedup_analysis", "Speedup, efficiency, and where the time goes", time, columns=2, apart=260),
        _panel("per_class_accuracy", "Accuracy of each class", _classes(series), columns=1),
        _panel("confusion_matrix", "Confusion matrices", _confusions(series), columns=3, apart=100),
        _panel("baseline_vs_distributed_comparison", BESIDE, _beside_baseline(contents.rows), columns=3, apart=300),
    ]
    return [figure for panel in panels for figure in panel]


def _ending(contents: Contents, *names: str) -> list[Figure]:
    """The figures of the runs together with these names, in this order, under each condition, then in their titles."""
    found = []
    for heading, figures in contents.sections.items():
        where = heading.partition(": ")[2]
        for name in names:
            for figure in figures:
                prefix = figure.key.removesuffix(name)
                if figure.key.endswith(name) and all(
                    part in "0123456789" or part in PREFIXES for part in prefix.split("-")
                ):
                    found.append(replace(figure, title=f"{figure.title}: {where}") if where else figure)
    return found


def _panel(key: str, title: str, figures: Sequence[Figure], *, columns: int, apart: int = 0) -> list[Figure]:
    """The charts beside each other, ``apart`` pixels for names between them, as one specification; nothing of none."""
    if len(figures) < 2:
        return [replace(figure, key=key) for figure in figures]
    figures = figures[:MOST_CHARTS]
    datasets: Json = {}
    charts = []
    for place, figure in enumerate(figures):
        names = {name: f"{place}-{name}" for name in figure.spec["datasets"]}
        datasets |= {names[name]: rows for name, rows in figure.spec["datasets"].items()}
        chart = _renamed({key: value for key, value in figure.spec.items() if key != "datasets"}, names)
        words = {"text": figure.title, "anchor": "start", "frame": "group", "fontSize": 12, "offset": 10}
        charts.append(chart | {"title": words} | ({"width": WIDE} if figure.wide else {}))
    spec = {
        "concat": charts,
        "columns": columns,
        "bounds": "flush",  # so that plots stand in line, whatever their names and ticks
        "spacing": {"row": 96, "column": apart},
        "datasets": datasets,
        "resolve": {"scale": dict.fromkeys(CHANNELS, "independent")},
    }
    return [
        Figure(
            key=key,
            title=title,
            caption="",
            alt=" ".join(figure.alt for figure in figures),
            spec=spec,
            header=("Chart", "Numbers"),
            rows=[[figure.title, figure.alt] for figure in figures],
        )
    ]


def _renamed(spec: Any, names: dict[str, str]) -> Any:
    """The specification with its data named anew: those of several charts must not be taken for each other."""
    if isinstance(spec, list):
        return [_renamed(item, names) for item in spec]
    if not isinstance(spec, dict):
        return spec
    if spec.keys() == {"name"} and spec["name"] in names:
        return {"name": names[spec["name"]]}
    return {key: _renamed(value, names) for key, value in spec.items()}


def _classes(series: Sequence[Series]) -> list[Figure]:
    """For each task the map of all series; or the bars of the only one."""
    found = []
    for task in dict.fromkeys(one.task for one in series):
        of_task = [one for one in series if one.task == task]
        figures = class_figures(of_task) or [
            replace(figure, title=one.label) for one in of_task for figure in class_figure(one.runs[0], "classes")
        ]
        found += [replace(figure, title=f"{figure.title}: {task}") for figure in figures]
    return found


def _confusions(series: Sequence[Series]) -> list[Figure]:
    """The counts of all seeds together, for each series whose seeds have them."""
    found = []
    for one in series:
        known = [run.evaluation for run in one.runs if run.evaluation is not None]
        classes = list(map(str, known[0]["classes"])) if known else []
        if not known or len(classes) > MOST_CLASSES or any(len(other["classes"]) != len(classes) for other in known):
            continue
        places = range(len(classes))
        counts = [[sum(other["confusion"][true][guess] for other in known) for guess in places] for true in places]
        tall = max(8, 270 // len(classes))
        found.append(
            Figure(
                key=one.label,
                title=one.label,
                caption="",
                alt=f"Confusion matrix of {one.label}.",
                spec=heat_map(counts, ("true", classes), ("predicted", classes), tall=tall, by_row=True),
                header=("True \\ predicted", *classes),
                rows=[[name, *map(str, row)] for name, row in zip(classes, counts, strict=True)],
            )
        )
    return found


def _beside_baseline(rows: Sequence[Row]) -> list[Figure]:
    """Accuracy, speedup and bytes as bars with their intervals, for each task; a line marks the baseline."""
    found = []
    for task in dict.fromkeys(row.series.task for row in rows):
        of_task = [row for row in rows if row.series.task == task and row.series.finished]
        where = f": {task}" if len({row.series.task for row in rows}) > 1 else ""
        alone = [row.accuracy.mean for row in of_task if row.series.is_baseline and row.accuracy]
        found += _bars("Test accuracy" + where, [(row, row.accuracy) for row in of_task], "%", alone[:1])
        found += _bars("Speedup over one worker" + where, [(row, row.speedup) for row in of_task], "×", [1.0])
        found += _bars("Bytes per worker" + where, [(row, row.bytes_per_worker) for row in of_task], "B", [])
    return found


_WRITTEN = {"%": numbers.percent, "×": numbers.times, "B": numbers.size}
_LABELS = {
    "%": "format(datum.value, '.0%')",
    "×": "datum.label + '×'",
    "B": "replace(format(datum.value, '~s'), /[kMGTPE]?$/, '\u00a0$&B')",
}


def _bars(
    title: str, pairs: Iterable[tuple[Row, Estimate | None]], unit: str, baseline: Sequence[float]
) -> list[Figure]:
    known = [(row.series, value) for row, value in pairs if value is not None]
    if not known:
        return []
    colour_of = colours([one for one, _ in known])
    data: list[Json] = [
        {
            "series": one.label,
            "strategy": one.strategy,
            "value": value.mean,
            "low": max(0.0, value.mean - (value.half or 0.0)),
            "high": value.mean + (value.half or 0.0),
            "text": _WRITTEN[unit](value),
        }
        for one, value in known
    ]
    top = 1.0 if unit == "%" else 1.05 * max([*(value.mean for _, value in known), *baseline]) or 1.0
    x = alt.X("value:Q", title=None, axis=alt.Axis(tickCount=4, labelExpr=_LABELS[unit]))
    x = x.scale(domain=[0, top], nice=False)
    base = alt.Chart(alt.NamedData("rows")).encode(y=names_axis([one.label for one, _ in known]))
    bars = base.mark_bar(height=13, clip=True).encode(
        x=x, color=alt.Color("strategy:N", legend=None).scale(domain=list(colour_of), range=list(colour_of.values()))
    )
    spans = base.mark_rule(color=INK, strokeWidth=1.5, opacity=0.7, clip=True).encode(
        x=alt.X("low:Q"), x2=alt.X2("high:Q")
    )
    texts = base.mark_text(align="left", dx=6).encode(x=alt.XValue(230), text=alt.Text("text:N"))
    layers = [bars, spans, texts]
    datasets = {"rows": data}
    if baseline:
        rule = alt.Chart(alt.NamedData("baseline")).mark_rule(color=INK, strokeDash=[4, 3], opacity=0.6)
        layers.append(rule.encode(x=alt.X("value:Q")))
        datasets["baseline"] = [{"value": value} for value in baseline]
    said = "; ".join(f"{row['series']} {row['text']}" for row in data)
    return [
        Figure(
            key=title,
            title=title,
            caption="",
            alt=f"Bars of {title.lower()}: {said}.",
            spec=to_spec(alt.layer(*layers).properties(width=230, height=STEP * len(known)), **datasets),
            header=("Series", title),
            rows=[[row["series"], row["text"]] for row in data],
        )
    ]
