"""The tables of ``bench scaling``: their columns with formulas, made of what was measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from manyhands.measure.equivalence import LEVEL, equivalence
from manyhands.measure.overlap import Overlap
from manyhands.measure.results import Cell, Column, Spread, Table, percent
from manyhands.measure.runner import Account
from manyhands.runs.specification import Specification

Found = tuple[Table, list[str]]
"""a table, and what it shows in sentences"""

MEDIAN = "Median over repeats, with quartiles."
_PER_EPOCH = "Seconds of a mean worker in an epoch, from the ledger. "

SCALING = (
    Column(key="strategy", heading="Strategy", short="strategy"),
    Column(key="workers", heading="Workers", short="n", meaning="n; servers are not counted."),
    Column(key="batch", heading="Batch per worker", meaning="Samples that a worker computes on in a step."),
    Column(
        key="time", heading="Time per epoch", short="time/\nepoch", spread=True, unit="s",
        meaning="Tₙ, on the cluster's clock, without evaluations. " + MEDIAN,
    ),
    Column(key="speedup", heading="Speedup", short="speed-\nup", unit="×"),
    Column(key="efficiency", heading="Efficiency", short="effi-\nciency", unit="share"),
    Column(key="rate", heading="Samples per second", unit="1/s", meaning="All workers' samples of an epoch / Tₙ."),
    Column(
        key="compute", heading="Compute", short="com-\npute", unit="s",
        meaning=_PER_EPOCH + "Compute + exposed communication + waiting + compression = its time.",
    ),
    Column(
        key="exposed", heading="Exposed communication", short="exposed\ncomm.", unit="s",
        meaning=_PER_EPOCH + "Standing still for its own communication.",
    ),
    Column(
        key="hidden", heading="Hidden communication", unit="s",
        meaning=_PER_EPOCH + "Behind computation, at no cost.",
    ),
    Column(
        key="waiting", heading="Waiting", short="waiting", unit="s",
        meaning=_PER_EPOCH + "Standing still because others were not ready.",
    ),
    Column(
        key="compression", heading="Compression", unit="s",
        meaning=_PER_EPOCH + "Arithmetic of compressing and undoing it.",
    ),
    Column(key="step", heading="Step time", unit="s", meaning="t = Tₙ / steps in an epoch."),
    Column(
        key="alone", heading="Step without communication", unit="s",
        meaning="t₀, of n workers that compute at the same time, each for itself: communication replaced by nothing.",
    ),
    Column(key="exposed_step", heading="Exposed in a step", unit="s", meaning="t − t₀."),
    Column(
        key="bytes", heading="Bytes per worker", unit="B",
        meaning="Sent by a mean worker in an epoch, as the strategy asks.",
    ),
    Column(
        key="bandwidth", heading="Effective bandwidth", unit="B/s",
        meaning="Bytes per worker / (exposed + hidden communication + waiting): what it sent over the time it took.",
    ),
)  # fmt: skip
_SPEEDUPS = {
    "strong": "T₁ / Tₙ, of runs that followed each other. " + MEDIAN,
    "weak": "n · T₁ / Tₙ: n times the work. " + MEDIAN,
}
_EFFICIENCIES = {"strong": "T₁ / (n · Tₙ); 100 % would be ideal.", "weak": "T₁ / Tₙ; 100 % would be ideal."}

OVERLAP = (
    Column(key="strategy", heading="Strategy", short="strategy"),
    Column(key="workers", heading="Workers", short="n"),
    Column(key="step", heading="Step", short="step", unit="s", meaning="t, with communication. " + MEDIAN),
    Column(
        key="nothing", heading="Step without communication", short="without\ncomm.", unit="s",
        meaning="t₀: the same step, whose buckets are handed back as they are.",
    ),
    Column(
        key="alone", heading="Communication alone", short="comm.\nalone", unit="s",
        meaning="t_c: the same buckets reduced one after another, with nothing computed.",
    ),
    Column(key="exposed", heading="Exposed communication", short="exposed", unit="s", meaning="t − t₀."),
    Column(
        key="hidden", heading="Hidden communication", short="hidden", unit="s",
        meaning="t_c − exposed, where that is positive.",
    ),
    Column(
        key="overlap", heading="Overlap", short="overlap", spread=True, unit="share",
        meaning="1 − exposed / t_c. Below zero where communication costs a step more than it takes alone.",
    ),
)  # fmt: skip

LOAD = (
    Column(key="workers", heading="Workers", short="N"),
    Column(
        key="server_predicted", heading="Server, predicted", short="server\npredicted", unit="B",
        meaning="2 N M: a parameter server receives a gradient from each of N workers and sends each the weights, M "
        "bytes each. O(M N).",
    ),
    Column(
        key="server_ledger", heading="Server, counted", short="server\ncounted", unit="B",
        meaning="Sent and received by the server in a step, by its ledger: algorithmic bytes.",
    ),
    Column(
        key="server_wire", heading="Server, on the wire", unit="B",
        meaning="Predicted: the counted bytes with headers of TCP and Ethernet, and acknowledgements.",
    ),
    Column(
        key="server_measured", heading="Server, measured", short="server\nmeasured", unit="B",
        meaning="By the kernel's counters of its interface, with protocol headers; only where each node has an "
        "interface of its own: on emulated hosts.",
    ),
    Column(
        key="ring_predicted", heading="Ring, predicted", short="ring\npredicted", unit="B",
        meaning="4 M (N − 1) / N: in a ring's all-reduce each of N workers sends 2 M (N − 1) / N and receives as much. "
        "O(M).",
    ),
    Column(
        key="ring_ledger", heading="Ring, counted", short="ring\ncounted", unit="B",
        meaning="The busiest worker, by its ledger.",
    ),
    Column(key="ring_wire", heading="Ring, on the wire", unit="B", meaning="Predicted, as that of the server."),
    Column(
        key="ring_measured", heading="Ring, measured", short="ring\nmeasured", unit="B",
        meaning="The busiest worker, by the kernel's counters.",
    ),
    Column(key="server_step", heading="Step with the server", unit="s", meaning="Mean over the run."),
    Column(key="ring_step", heading="Step with the ring", unit="s", meaning="Mean over the run."),
)  # fmt: skip

ACCURACY = (
    Column(key="strategy", heading="Strategy", short="strategy"),
    Column(key="workers", heading="Workers", short="n"),
    Column(key="seeds", heading="Seeds", short="seeds"),
    Column(
        key="accuracy", heading="Test accuracy", short="accuracy", spread=True, unit="share",
        meaning="At the last evaluation. Mean over seeds with its 95 % interval, t(0.975; n − 1) · s / √n.",
    ),
    Column(
        key="difference", heading="Difference to single", short="difference", spread=True, unit="share",
        meaning="Of the means, with its 90 % interval after Welch (1947).",
    ),
    Column(key="margin", heading="Margin", unit="share", meaning="δ: what difference would matter."),
    Column(
        key="p", heading="p", short="p",
        meaning="Two one-sided t-tests, t = (d ± δ) / √(s₁² / n₁ + s₂² / n₂), of the hypothesis that the means differ "
        "by δ or more (Schuirmann 1987): the greater of the two p-values.",
    ),
    Column(key="equivalent", heading="Equivalent", short="equivalent", meaning=f"p < {LEVEL:g}."),
)  # fmt: skip


def scaling(
    kind: str,
    runs: Sequence[Specification],
    accounts: Sequence[Sequence[Account]],
    alone: Sequence[Sequence[float]],
    steps_per_epoch: Callable[[Specification], int],
) -> Found:
    """One row for each configuration; first ``single``. ``accounts`` are its repeats, ``alone`` the t₀ of each."""
    first = accounts[0]
    rows: list[dict[str, Cell]] = []
    for run, own, lone in zip(runs, accounts, alone, strict=True):
        n, steps = run.size, steps_per_epoch(run)
        ratios = Spread.of([one.seconds / many.seconds for one, many in zip(first, own, strict=True)])
        time = Spread.of([account.seconds for account in own])
        samples = steps * n * run.samples_per_step
        moving = [
            account.of_workers("exposed_communication")
            + account.of_workers("hidden_communication")
            + account.of_workers("waiting")
            for account in own
        ]
        sent = Spread.of([account.bytes_sent for account in own]).value
        rows.append(
            {
                "strategy": str(run.strategy),
                "workers": n,
                "batch": run.samples_per_step,
                "time": time,
                "speedup": ratios if kind == "strong" else ratios.map(lambda ratio, n=n: n * ratio),  # type: ignore[misc]
                "efficiency": ratios.map(lambda ratio, n=n: ratio / n) if kind == "strong" else ratios,  # type: ignore[misc]
                "rate": time.map(lambda t, s=samples: s / t),  # type: ignore[misc]
                "compute": _ledger(own, "compute"),
                "exposed": _ledger(own, "exposed_communication"),
                "hidden": _ledger(own, "hidden_communication"),
                "waiting": _ledger(own, "waiting"),
                "compression": _ledger(own, "compression"),
                "step": time.map(lambda t, k=steps: t / k),  # type: ignore[misc]
                "alone": Spread.of(lone),
                "exposed_step": Spread.of([one.seconds / steps - t for one, t in zip(own, lone, strict=True)]),
                "bytes": sent,
                "bandwidth": sent / Spread.of(moving).value if sent and Spread.of(moving).value else None,
            }
        )
    meanings = {"speedup": _SPEEDUPS[kind], "efficiency": _EFFICIENCIES[kind]}
    columns = [replace(column, meaning=meanings.get(column.key, column.meaning)) for column in SCALING]
    words = {
        "strong": "The same work, an epoch with the same total batch, shared by n workers.",
        "weak": "The same work for each of n workers: its batch and its number of samples stay as they are.",
    }[kind]
    words += " T₁ is single, on the same cluster with as many threads."
    table = Table(key=kind, title=f"{kind.capitalize()} scaling", columns=columns, rows=rows, words=words)
    return table, _scaling_sentences(kind, rows)


def _ledger(accounts: Sequence[Account], part: str) -> Spread:
    return Spread.of([account.of_workers(part) for account in accounts])


def _scaling_sentences(kind: str, rows: Sequence[Mapping[str, Cell]]) -> list[str]:
    last = {row["strategy"]: row for row in rows[1:]}  # of each strategy the one with most workers
    told = []
    for name, row in last.items():
        speedup, efficiency = row["speedup"], row["efficiency"]
        assert isinstance(speedup, Spread)
        assert isinstance(efficiency, Spread)
        told.append(f"{name} on {row['workers']} workers {speedup.value:.2f}× (efficiency {percent(efficiency.value)})")
    what = "speedup on the same work" if kind == "strong" else "speedup with the work growing"
    return [f"{kind.capitalize()} scaling, {what}: {', '.join(told)}."]


def overlap(runs: Sequence[Specification], measured: Sequence[Overlap], simulated: bool) -> Found:
    """One row for each number of workers."""
    rows: list[dict[str, Cell]] = []
    for run, times in zip(runs, measured, strict=True):
        alone, exposed = Spread.of(times.alone), times.exposed
        rows.append(
            {
                "strategy": str(run.strategy),
                "workers": run.size,
                "step": Spread.of(times.step),
                "nothing": Spread.of(times.nothing),
                "alone": alone,
                "exposed": exposed,
                "hidden": max(0.0, alone.value - max(0.0, exposed.value))
                if exposed.value < 0.999 * alone.value
                else 0.0,
                "overlap": times.overlap,
            }
        )
    how = "Simulated with durations of communication, or computation, made nothing." if simulated else ""
    words = f"The strong configurations of all-reduce, by step. {how}".strip()
    table = Table(key="overlap", title="What backward hides", columns=OVERLAP, rows=rows, words=words)
    shares = [f"{percent(_value(row['overlap']))} on {row['workers']}" for row in rows]
    return table, [f"Overlap of all-reduce's communication with backward: {', '.join(shares)} workers."]


def load(pairs: Sequence[tuple[int, Account, Account]], model: tuple[int, int], steps: int) -> Found:
    """For each number of workers the ring's account and the server's. ``model``: bytes of parameters and buffers."""
    parameters, buffers = model
    rows: list[dict[str, Cell]] = []
    for workers, ring, server in pairs:
        rows.append(
            {
                "workers": workers,
                "server_predicted": 2 * workers * (parameters + buffers),
                "server_ledger": server.load("server", steps),
                "server_wire": server.load("server", steps, "wire"),
                "server_measured": server.load("server", steps, "measured"),
                "ring_predicted": 4 * parameters * (workers - 1) / workers,
                "ring_ledger": ring.load("worker", steps),
                "ring_wire": ring.load("worker", steps, "wire"),
                "ring_measured": ring.load("worker", steps, "measured"),
                "server_step": server.seconds / steps,
                "ring_step": ring.seconds / steps,
            }
        )
    words = f"Bytes through the busiest node in a step. M = {parameters:,} bytes of parameters, float32"
    words += f", and of {buffers:,} bytes of batch statistics, which pass through the server only." if buffers else "."
    table = Table(
        key="load", title="Parameter server and ring: who carries the bytes", columns=LOAD, rows=rows, words=words
    )
    last = rows[-1]
    ratio = _value(last["server_ledger"]) / _value(last["ring_ledger"])
    text = (
        f"With {last['workers']} workers {ratio:.1f} times as many bytes pass through the parameter server as through "
    )
    return table, [text + "any node of the ring."]


def accuracy(arms: Mapping[str, Sequence[float]], workers: int, margin: float, epochs: int) -> Found:
    """The first arm is ``single``, the others are tested against it: values are the accuracies over seeds."""
    (baseline, reference), *others = arms.items()
    rows: list[dict[str, Cell]] = [_arm(baseline, 1, reference)]
    told = []
    for name, values in others:
        test = equivalence(reference, values, margin)
        difference = Spread(test.difference, test.low, test.high, min(test.n))
        verdict = "yes" if test.equivalent else "not shown"
        tested: dict[str, Cell] = {"difference": difference, "margin": margin, "p": test.p, "equivalent": verdict}
        rows.append(_arm(name, workers, values) | tested)
        said = "is equivalent to" if test.equivalent else "is not shown to be equivalent to"
        apart, low, high = (percent(share, 2, "+") for share in (test.difference, test.low, test.high))
        told.append(
            f"{name} on {workers} workers {said} single within {percent(margin, 1)} of accuracy: "
            f"difference {apart}, 90 % interval {low} to {high}, p = {test.p:.2g}."
        )
    words = (
        f"After {epochs} epochs with the same total batch. The seeds of each arm are the same; the test takes them as "
    )
    words += "independent. Equivalent: the 90 % interval of the difference lies within the margin."
    table = Table(key="accuracy", title="Single against distributed accuracy", columns=ACCURACY, rows=rows, words=words)
    return table, told


def _arm(name: str, workers: int, values: Sequence[float]) -> dict[str, Cell]:
    return {
        "strategy": name,
        "workers": workers,
        "seeds": len(values),
        "accuracy": Spread.of_mean(values),
    }


def _value(cell: Cell) -> float:
    number = cell.value if isinstance(cell, Spread) else cell
    assert isinstance(number, int | float)
    return float(number)
