"""What is drawn of each kind of benchmark, by the key of the table that it shows."""

from collections.abc import Sequence

from manyhands.report.agreement import agreement_figure, error_figure
from manyhands.report.bench_charts import interval_figure, line_figure, stacked_figure, value_of
from manyhands.report.figure import Figure
from manyhands.runs.files import Json

QUARTILES = " Bars: quartiles of the repeats."


def bench_figures(tables: Sequence[Json]) -> dict[str, list[Figure]]:
    """All pictures of a benchmark's tables; those without any are left out."""
    makers = {
        "batch-size": _batch_size,
        "large-batch": _large_batch,
        "communication": _communication,
        "strong": _strong,
        "weak": _weak,
        "overlap": _overlap,
        "load": _load,
        "accuracy": _accuracy,
        "configurations": _agreement,
    }
    made = {key: makers[key](table) for table in tables if (key := table["key"]) in makers}
    return {key: figures for key, figures in made.items() if figures}


def _batch_size(table: Json) -> list[Figure]:
    rate = line_figure(
        table,
        "batch",
        "rate",
        by=None,
        key="images-per-second",
        title="Images per second",
        caption="b / t of one worker." + QUARTILES,
        log_x=True,
    )
    epoch = line_figure(
        table,
        "batch",
        "epoch",
        by=None,
        key="seconds-per-epoch",
        title="Time per epoch",
        caption="⌈N / b⌉ · t of one worker." + QUARTILES,
        log_x=True,
    )
    share = line_figure(
        table,
        "batch",
        "share",
        by=None,
        key="share-of-peak",
        title="Share of peak",
        caption="Floating-point operations per second over those of a matrix product of the same precision on the same "
        "threads." + QUARTILES,
        log_x=True,
    )
    return [*rate, *epoch, *share]


def _large_batch(table: Json) -> list[Figure]:
    bands = " Bars: 95 % interval of the mean over the seeds."
    accuracy = line_figure(
        table,
        "total",
        "accuracy",
        by="rule",
        key="accuracy-by-batch",
        title="Test accuracy",
        caption="At equal numbers of epochs, by total batch and rule for the learning rate." + bands,
        log_x=True,
    )
    loss = line_figure(
        table,
        "total",
        "loss",
        by="rule",
        key="loss-by-batch",
        title="Test loss",
        caption="At equal numbers of epochs." + bands,
        log_x=True,
    )
    return [*accuracy, *loss]


def _communication(table: Json) -> list[Figure]:
    limits = [value_of(row.get("limit")) for row in table["rows"]]
    limit = next((value for value in limits if value), None)
    caption = "algbw · factor: 2 (n − 1) / n for all-reduce, (n − 1) / n for all-gather and reduce-scatter, else 1."
    line = " The thin line is the link's limit." if limit else ""
    bandwidth = line_figure(
        table,
        "bytes",
        "busbw",
        by="operation",
        key="bus-bandwidth",
        title="Bus bandwidth",
        caption=caption + line + QUARTILES,
        log_x=True,
        binary=True,
        ideal=(lambda size: limit) if limit else None,
    )
    time = line_figure(
        table,
        "bytes",
        "time",
        by="operation",
        key="time-by-size",
        title="Time of an operation",
        caption="Flat where latency decides, rising with the size where bandwidth does." + QUARTILES,
        log_x=True,
        log_y=True,
        binary=True,
    )
    return [*bandwidth, *time]


def _strong(table: Json) -> list[Figure]:
    speedup = line_figure(
        table,
        "workers",
        "speedup",
        by="strategy",
        key="strong-speedup",
        title="Strong scaling: speedup",
        caption="T₁ / Tₙ, the same work shared by n workers. The thin line is the ideal, n." + QUARTILES,
        rows=_with_first(table),
        log_x=True,
        log_y=True,
        ideal=float,
    )
    efficiency = line_figure(
        table,
        "workers",
        "efficiency",
        by="strategy",
        key="strong-efficiency",
        title="Strong scaling: efficiency",
        caption="T₁ / (n · Tₙ). The thin line is the ideal." + QUARTILES,
        rows=_with_first(table),
        log_x=True,
        ideal=lambda n: 1.0,
    )
    return [*speedup, *efficiency, *_time_parts(table, "strong"), *_bandwidth(table, "strong")]


def _weak(table: Json) -> list[Figure]:
    efficiency = line_figure(
        table,
        "workers",
        "efficiency",
        by="strategy",
        key="weak-efficiency",
        title="Weak scaling: efficiency",
        caption="T₁ / Tₙ, the same work for each of n workers. The thin line is the ideal." + QUARTILES,
        rows=_with_first(table),
        log_x=True,
        ideal=lambda n: 1.0,
    )
    rate = line_figure(
        table,
        "workers",
        "rate",
        by="strategy",
        key="weak-throughput",
        title="Weak scaling: samples per second",
        caption="n · s / Tₙ, s the samples of each worker." + QUARTILES,
        rows=_with_first(table),
        log_y=True,
        log_x=True,
    )
    return [*efficiency, *rate, *_time_parts(table, "weak")]


def _with_first(table: Json) -> list[Json]:
    """Every strategy's line begins at the one worker alone, which is measured once, as ``single``."""
    strategies = [name for name in dict.fromkeys(row["strategy"] for row in table["rows"]) if name != "single"]
    first = [row for row in table["rows"] if row["strategy"] == "single"]
    if not strategies:
        return first
    rest = [row for row in table["rows"] if row["strategy"] != "single"]
    return [{**row, "strategy": name} for name in strategies for row in first] + rest


def _label(row: Json) -> str:
    return row["strategy"] if row["strategy"] == "single" else f"{row['strategy']} ×{row['workers']}"


def _time_parts(table: Json, kind: str) -> list[Figure]:
    parts = {"compute": "compute", "exposed": "exposed communication", "waiting": "waiting"}
    more = {"compression": "compression"} if any(value_of(row.get("compression")) for row in table["rows"]) else {}
    return stacked_figure(
        table, parts | more, label=_label, key=f"{kind}-time",
        title=f"{kind.capitalize()} scaling: where the time goes",
        caption="Seconds of a mean worker in an epoch, from the ledger; hidden communication costs none.",
    )  # fmt: skip


def _bandwidth(table: Json, kind: str) -> list[Figure]:
    return line_figure(
        table, "workers", "bandwidth", by="strategy", key=f"{kind}-bandwidth",
        title=f"{kind.capitalize()} scaling: effective bandwidth",
        caption="Bytes that a worker sent over its seconds of communication, exposed and hidden." + QUARTILES,
        rows=[row for row in table["rows"] if row["strategy"] != "single"], log_x=True,
    )  # fmt: skip


def _overlap(table: Json) -> list[Figure]:
    return stacked_figure(
        table,
        {"nothing": "without communication", "exposed": "exposed communication", "hidden": "hidden communication"},
        label=lambda row: f"{row['strategy']} ×{row['workers']}", key="overlap", title="What backward hides",
        caption="Of a step: its time with communication replaced by nothing, what communication adds to that, and what "
        "it would take alone beyond what it adds. The last costs no time.",
    )  # fmt: skip


def _load(table: Json) -> list[Figure]:
    """One series for each of the two, of the table's columns for them."""
    measured = any(row.get("server_measured") for row in table["rows"])
    rows = [
        {
            "strategy": name,
            "workers": row["workers"],
            **{part: row.get(f"{key}_{part}") for part in ("predicted", "ledger", "measured")},
        }
        for key, name in (("server", "parameter-server"), ("ring", "all-reduce"))
        for row in table["rows"]
    ]
    parts = [("predicted", "Predicted"), ("ledger", "Counted"), ("measured", "Measured")]
    columns = [("strategy", "Busiest node of", ""), ("workers", "Workers", ""), *((*part, "B") for part in parts)]
    shaped = {"columns": [dict(zip(("key", "heading", "unit"), one, strict=True)) for one in columns], "rows": rows}
    return line_figure(
        shaped, "workers", "ledger", by="strategy", key="load-per-node",
        title="Bytes through the busiest node, per step", line="predicted", mark="measured" if measured else None,
        caption="Lines: predicted, 2 N M for the server and 4 M (N − 1) / N for a ring, N workers and M bytes of a "
        "model. Dots: counted by the ledger, sent and received."
        + (" Diamonds: measured by the kernel, headers included." if measured else ""),
        log_x=True, log_y=True,
    )  # fmt: skip


def _agreement(table: Json) -> list[Figure]:
    """Of a validation: each configuration's predicted against its measured time, and how far off it is."""
    return [
        *agreement_figure(
            table, "predicted", "measured", label="configuration", key="predicted-against-measured",
            title="Predicted against measured",
            caption="Seconds of a step; each dot is a configuration. On the line both are the same; the shade is 10 % "
            "to either side." + QUARTILES,
        ),
        *error_figure(
            table, "error", label="configuration", key="prediction-error", title="Error of each prediction",
            caption="Predicted / mean measured − 1; the shade is 10 % to either side.",
        ),
    ]  # fmt: skip


def _accuracy(table: Json) -> list[Figure]:
    margin = next((value_of(row["margin"]) for row in table["rows"] if row.get("margin")), None) or 0.0
    return interval_figure(
        table, "difference", margin=margin, label=_label, key="accuracy-difference",
        title="Accuracy: distributed minus single",
        caption="Difference of the means over seeds with its 90 % interval (Welch). Equivalent where this lies within "
        f"the grey margin of ± {margin:.1%}: two one-sided tests at 5 %.",
    )  # fmt: skip
