"""Pictures of the clients of a federated run, one by one, and of how evenly it does at them."""

import math
from collections.abc import Callable, Sequence

import altair as alt

from manyhands.report import numbers
from manyhands.report.curves import ACCURACY, LOSS, Quantity, client_curves, log_ticks
from manyhands.report.each import (
    BANDS,
    HEIGHT,
    LEVELS,
    LINES,
    are_many,
    draw_each,
    mean,
    quantile,
    quantile_rows,
    thinned,
    y_axis,
)
from manyhands.report.fairness import GAIN_WORDS, WORDS, Fairness, accuracies, fairness, own_accuracies
from manyhands.report.figure import Figure, to_spec
from manyhands.report.pictures import HEAT, names_axis
from manyhands.report.series import INK, Series
from manyhands.runs.clients import best_decile, spread, worst_decile
from manyhands.runs.files import Json
from manyhands.runs.reading import RunView

MOST_DOTS = 500
BINS = 20  # of the histogram


def client_figures(series: Sequence[Series]) -> list[Figure]:
    """Of the series together: how even they are at the end, and by round; none without clients."""
    known = {one.label: found for one in series if (found := fairness(one)) is not None}
    return [_fairness_figure(known), *client_curves(series)] if known else []


def client_run_figures(run: RunView, key: str) -> list[Figure]:
    """Of one run: accuracy and loss at the clients by round, how they are distributed, and how they go by size."""
    if not accuracies(run):
        return []
    return [
        _by_round(run, f"{key}-clients-accuracy", ACCURACY, "accuracy"),
        _by_round(run, f"{key}-clients-loss", LOSS, "loss"),
        _histogram(run, f"{key}-fairness"),
        *_by_size(run, f"{key}-sizes"),
    ]


# ---- of several series


def _fairness_figure(known: dict[str, Fairness]) -> Figure:
    rows: list[Json] = [
        {
            "series": label,
            "worst": found.worst.mean,
            "mean": found.mean.mean,
            "best": found.best.mean,
            "words": f"{numbers.percent(found.worst.mean, 1)} to {numbers.percent(found.best.mean, 1)}",
        }
        for label, found in known.items()
    ]
    said = "; ".join(f"{row['series']} {row['words']}, mean {numbers.percent(row['mean'], 1)}" for row in rows)
    return Figure(
        key="fairness",
        title="Accuracy at the clients, from the worst tenth to the best",
        caption=f"The tick is the mean over the clients, each counting once. {WORDS} {GAIN_WORDS}",
        alt=f"Ranges of the final accuracy at the clients, worst tenth to best tenth: {said}.",
        spec=_ranges(rows),
        header=("Series", "Clients", "Mean", "Worst 10 %", "Best 10 %", "Spread", "Own weights", "Gain"),
        rows=[
            [
                label,
                f"{found.clients:,}",
                *(numbers.percent(value) for value in (found.mean, found.worst, found.best, found.spread)),
                *(numbers.percent(value) for value in (found.personal, found.gain)),
            ]
            for label, found in known.items()
        ],
    )


def _ranges(rows: list[Json]) -> Json:
    scale = alt.Scale(domain=[0, 1])
    axis = alt.Axis(format=".0%", tickCount=5)
    tooltip = [
        alt.Tooltip("series:N"),
        *(alt.Tooltip(f"{name}:Q", format=".2%") for name in ("worst", "mean", "best")),
    ]
    base = alt.Chart(alt.NamedData("rows")).encode(
        y=names_axis([row["series"] for row in rows]), x=alt.X("worst:Q", title=None, axis=axis, scale=scale)
    )
    bars = base.mark_bar(color=HEAT, opacity=0.45, height=10).encode(x2=alt.X2("best:Q"), tooltip=tooltip)
    ticks = base.mark_tick(color=INK, thickness=2, size=16).encode(x=alt.X("mean:Q", scale=scale), tooltip=tooltip)
    return to_spec(alt.layer(bars, ticks).properties(width="container", height=26 * len(rows)), rows=rows)


# ---- of one run


def _by_round(run: RunView, key: str, y: Quantity, field: str) -> Figure:
    rows = thinned(run.clients, field)
    rounds, each = [row["completed"] for row in rows], [row[field] for row in rows]
    final = sorted(value for value in each[-1] if value is not None)
    many = are_many(each)
    ends = [y.write(quantile(final, level)) for level in (0.0, 0.5, 1.0)]
    kind = "Bands" if many else "Lines"
    caption = BANDS.format("clients") if many else LINES.format("client")
    return Figure(
        key=key,
        title=f"{y.title} at each client",
        caption=f"{caption} Of the run’s model, on the client’s own share of the test set.",
        alt=f"{kind} of {y.title.lower()} at {len(each[-1]):,} clients against rounds; at the end {ends[0]} to "
        f"{ends[2]}, median {ends[1]}.",
        spec=draw_each(rounds, each, y, who="client", unit="round"),
        header=("Round", *(f"{100 * level:.0f} %" for level in LEVELS)) if many else _HEADER_OF_CLIENTS,
        rows=quantile_rows(rounds, each, y) if many else _client_rows(run),
    )


_HEADER_OF_CLIENTS = ("Client", "Training samples", "Test samples", "Accuracy at the end", "Loss at the end")


def _client_rows(run: RunView) -> list[list[str]]:
    """Of each client what it holds and how the run ended there."""
    held, tested = _held(run), _tested(run)
    end = run.at_clients
    return [
        [
            str(rank),
            _count(held.get(rank)),
            _count(tested.get(rank)),
            numbers.percent(accuracy, 1),
            numbers.plain(loss),
        ]
        for rank, (accuracy, loss) in enumerate(zip(end["accuracy"], end["loss"], strict=True))
    ]


def _histogram(run: RunView, key: str) -> Figure:
    values, own = accuracies(run), own_accuracies(run)
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, int(value * BINS))] += 1
    bars = [{"from": place / BINS, "to": (place + 1) / BINS, "n": count} for place, count in enumerate(counts) if count]
    measures: tuple[tuple[str, Callable[[Sequence[float]], float | None]], ...] = (
        ("Mean over the clients", mean),
        ("Worst 10 %", worst_decile),
        ("Best 10 %", best_decile),
        ("Spread", spread),
    )
    table = [[name, numbers.percent(of(values)), numbers.percent(of(own))] for name, of in measures]
    worst, best = worst_decile(values), best_decile(values)
    return Figure(
        key=key,
        title="Clients by accuracy",
        caption=f"{numbers.count(len(values), 'client')} at the end; the line is their mean. {WORDS}",
        alt=f"Histogram of the final accuracy at {len(values):,} clients: worst tenth {numbers.percent(worst, 1)}, "
        f"best tenth {numbers.percent(best, 1)}.",
        spec=_bars(bars, mean(values)),
        header=("", "The run’s model", "Own weights of the clients that trained last"),
        rows=[*table, ["Clients", f"{len(values):,}", f"{len(own):,}"]],
    )


def _bars(bars: list[Json], mean: float | None) -> Json:
    x = alt.X("from:Q", title="accuracy", axis=alt.Axis(format=".0%", tickCount=5, grid=False)).scale(domain=[0, 1])
    y = alt.Y("n:Q", title="clients", axis=alt.Axis(tickCount=5, tickMinStep=1, format=",d"))
    rects = (
        alt.Chart(alt.NamedData("bars"))
        .mark_rect(color=HEAT, xOffset=0.5, x2Offset=-0.5)
        .encode(x=x, x2=alt.X2("to:Q"), y=y, y2=alt.Y2Datum(0), tooltip=[alt.Tooltip("n:Q", title="clients")])
    )
    rule = alt.Chart(alt.NamedData("mean")).mark_rule(color=INK, strokeWidth=2).encode(x=alt.X("mean:Q"))
    whole = alt.layer(rects, rule).properties(width="container", height=HEIGHT)
    return to_spec(whole, bars=bars, mean=[{"mean": mean}])


def _by_size(run: RunView, key: str) -> list[Figure]:
    """Nothing where all clients hold equally many samples, or it is not known how many."""
    held, tested = _held(run), _tested(run)
    pairs = enumerate(run.at_clients["accuracy"])
    dots = [{"client": rank, "x": held[rank], "y": y} for rank, y in pairs if y is not None and rank in held]
    sizes = sorted({dot["x"] for dot in dots})
    if len(sizes) < 2 or sizes[-1] - sizes[0] < 2:
        return []
    dots.sort(key=lambda dot: dot["x"])
    drawn = dots[:: math.ceil(len(dots) / MOST_DOTS)]
    caption = "Final accuracy of the run’s model at each client against how many training samples it holds."
    if len(drawn) < len(dots):
        caption += f" {len(drawn):,} of {len(dots):,} clients are drawn."
    return [
        Figure(
            key=key,
            title="Size and accuracy",
            caption=caption,
            alt=f"Dots: accuracy at {len(drawn):,} clients against their training samples, {sizes[0]:,} to "
            f"{sizes[-1]:,}.",
            spec=_dots(drawn, sizes[0], sizes[-1]),
            header=("Client", "Training samples", "Test samples", "Accuracy"),
            rows=[
                [
                    str(dot["client"]),
                    _count(dot["x"]),
                    _count(tested.get(dot["client"])),
                    numbers.percent(dot["y"], 1),
                ]
                for dot in drawn
            ],
        )
    ]


def _dots(dots: list[Json], low: int, high: int) -> Json:
    log = low > 0 and high > 20 * low
    ticks = {"values": log_ticks(low, high)} if log else {"tickCount": 5}
    axis = alt.Axis(grid=False, format=",d", **ticks)
    scale = alt.Scale(type="log" if log else "linear", zero=False)
    x = alt.X("x:Q", title="training samples", axis=axis, scale=scale)
    tooltip = [
        alt.Tooltip("client:N"),
        alt.Tooltip("x:Q", title="training samples", format=","),
        alt.Tooltip("y:Q", title="accuracy", format=".1%"),
    ]
    chart = alt.Chart(alt.NamedData("dots")).mark_circle(color=HEAT, opacity=0.6, size=40)
    chart = chart.encode(x=x, y=y_axis(ACCURACY), tooltip=tooltip)
    return to_spec(chart.properties(width="container", height=HEIGHT), dots=dots)


def _held(run: RunView) -> dict[int, int]:
    """Training samples by client, as far as run.json tells."""
    return {node["rank"]: node["samples"] for node in run.nodes if isinstance(node.get("samples"), int)}


def _tested(run: RunView) -> dict[int, int]:
    """Test samples by client, as far as partition.json tells."""
    return dict(enumerate((run.partition or {}).get("test_samples") or []))


def _count(number: int | None) -> str:
    return numbers.NONE if number is None else f"{number:,}"
