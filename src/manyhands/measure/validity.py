"""What a validation found, as tables, sentences and a document that keeps what people wrote into it."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from manyhands.clusters.quantities import format_seconds
from manyhands.clusters.simulated.profile import DeviceProfile
from manyhands.errors import UserError
from manyhands.measure.accuracy import Accuracy, accuracy, quantile, signed_errors
from manyhands.measure.results import Cell, Column, Result, Spread, Table
from manyhands.measure.validate import Outcome

AIMS = {"mape": 0.05, "p90": 0.10, "worst": 0.15, "tau": 0.9, "bytes": 0.05}
"""errors at most, and an order at least"""
BEGIN, END = "<!-- written by hand: begin -->", "<!-- written by hand: end -->"
PLACEHOLDER = "Where the model fails, and why, is to be written here."

CONFIGURATIONS = (
    Column(key="configuration", heading="Configuration", short="configuration"),
    Column(key="predicted", heading="Predicted step", short="predicted", unit="s", meaning="made before any real run"),
    Column(
        key="measured",
        heading="Measured step",
        short="measured",
        unit="s",
        meaning="median and quartiles of the repeats",
    ),
    Column(key="error", heading="Error", short="error", unit="share", meaning="predicted / mean measured - 1"),
    Column(
        key="error_then",
        heading="Error at the time",
        short="at the time",
        unit="share",
        meaning="the same, of the prediction for a machine as fast as it was right before each run",
    ),
    Column(key="noise", heading="Noise", unit="share", meaning="what the mean of the other repeats gets wrong"),
    Column(key="bytes", heading="Bytes of a step, predicted", unit="B", meaning="sent by all nodes: algorithmic"),
    Column(key="counted", heading="Bytes of a step, ledger", unit="B", meaning="sent by all nodes: algorithmic"),
    Column(key="wire", heading="Bytes on the wire, predicted", unit="B", meaning="with headers and acknowledgements"),
    Column(key="kernel", heading="Bytes on the wire, measured", unit="B", meaning="by the kernel's interface counters"),
)
GROUPS = (
    Column(key="group", heading="Group", short="group"),
    Column(key="n", heading="Configurations", short="n"),
    Column(key="bias", heading="Bias", short="bias", unit="share", meaning="mean of the signed errors"),
    Column(key="mape", heading="MAPE", short="MAPE", unit="share", meaning="mean of |predicted / measured - 1|"),
    Column(
        key="mape_then",
        heading="MAPE at the time",
        short="at the time",
        unit="share",
        meaning="the same, of predictions for a machine as fast as it was right before each run",
    ),
    Column(key="p90", heading="P90", short="P90", unit="share", meaning="of the sizes of the errors"),
    Column(key="worst", heading="Worst", short="worst", unit="share", meaning="of the sizes of the errors"),
    Column(key="tau", heading="Kendall's τ", short="τ", meaning="τ-b of the order of the configurations"),
    Column(key="noise", heading="Noise floor", short="noise", unit="share", meaning="what the other repeats get wrong"),
)
FACTORS: Mapping[str, Callable[[Outcome], str]] = {
    "all": lambda outcome: "all",
    "task": lambda outcome: outcome.cell.task,
    "strategy": lambda outcome: outcome.cell.strategy,
    "workers": lambda outcome: f"{outcome.cell.workers} workers",
    "network": lambda outcome: outcome.cell.network,
    "straggler": lambda outcome: f"straggler {outcome.cell.slow}" if outcome.cell.slow else "no straggler",
}


def report(result: Result, outcomes: Sequence[Outcome]) -> Accuracy:
    """Fill in the tables and sentences of a validation; the accuracy over all configurations."""
    held = [outcome for outcome in outcomes if outcome.cell.strategy != "single"]
    controls = [outcome for outcome in outcomes if outcome.cell.strategy == "single"]
    whole = _accuracy(held)
    result.tables = [_groups(held), _configurations("configurations", "Each configuration", held)]
    result.tables.append(_configurations("controls", "One worker alone: how the machine has changed", controls))
    low, high = whole.interval
    drifts = [measurement.drift for one in outcomes for measurement in one.measurements]
    then, errors = (
        _at_the_time(held),
        signed_errors([one.prediction.seconds for one in controls], [one.seconds for one in controls]),
    )
    result.sentences = [
        f"Step time: MAPE {whole.mape:.1%} (95 % interval {low:.1%} to {high:.1%}), bias {whole.bias:+.1%}, P90 "
        f"{whole.p90:.1%}, worst {whole.worst:.1%}, Kendall's τ {whole.tau:.3f}; {whole.configurations} configurations "
        f"of {whole.repeats} repeats. Noise floor {whole.noise:.1%}.",
        f"Aims: MAPE ≤ {AIMS['mape']:.0%} {_met(whole.mape <= AIMS['mape'])}, P90 ≤ {AIMS['p90']:.0%} "
        f"{_met(whole.p90 <= AIMS['p90'])}, worst ≤ {AIMS['worst']:.0%} {_met(whole.worst <= AIMS['worst'])}, "
        f"τ ≥ {AIMS['tau']} {_met(whole.tau >= AIMS['tau'])}.",
        _bytes_sentence(held),
        "The machine itself changes: right before each run computing took "
        f"{quantile(sorted(drifts), 0.05):.2f} to {quantile(sorted(drifts), 0.95):.2f} (5 % to 95 %) times as long as "
        f"when it was calibrated. Predictions for a machine as fast as it was then: MAPE {then.mape:.1%}, bias "
        f"{then.bias:+.1%}, P90 {then.p90:.1%}, worst {then.worst:.1%}, τ {then.tau:.3f}.",
        "One worker alone, which has no communication: predicted / measured - 1 is "
        + ", ".join(f"{error:+.1%} ({one.cell.task})" for error, one in zip(errors, controls, strict=True))
        + ".",
    ]
    return whole


def _met(met: bool) -> str:
    return "met" if met else "missed"


def _bytes_sentence(outcomes: Sequence[Outcome]) -> str:
    worst = {"algorithmic": 0.0, "wire": 0.0}
    for outcome in outcomes:
        for one in outcome.measurements:
            worst["algorithmic"] = max(worst["algorithmic"], abs(outcome.prediction.bytes / one.bytes - 1))
            if one.kernel_bytes:
                worst["wire"] = max(worst["wire"], abs(one.wire_bytes / one.kernel_bytes - 1))
    return (
        f"Bytes: predicted and counted differ by {worst['algorithmic']:.1%} at most, those predicted on the wire and "
        f"those that the kernel counted by {worst['wire']:.1%} at most (aim {AIMS['bytes']:.0%})."
    )


def _accuracy(outcomes: Sequence[Outcome]) -> Accuracy:
    return accuracy([one.prediction.seconds for one in outcomes], [one.seconds for one in outcomes])


def _at_the_time(outcomes: Sequence[Outcome]) -> Accuracy:
    return accuracy([one.at_the_time for one in outcomes], [one.seconds for one in outcomes])


def _groups(outcomes: Sequence[Outcome]) -> Table:
    rows: list[dict[str, Cell]] = []
    for key in FACTORS.values():
        for group in dict.fromkeys(map(key, outcomes)):
            one = _accuracy([outcome for outcome in outcomes if key(outcome) == group])
            rows.append(
                {
                    "group": group,
                    "n": one.configurations,
                    "bias": one.bias,
                    "mape": one.mape,
                    "mape_then": _at_the_time([outcome for outcome in outcomes if key(outcome) == group]).mape,
                    "p90": one.p90,
                    "worst": one.worst,
                    "tau": round(one.tau, 3),
                    "noise": one.noise,
                }
            )
    return Table(key="accuracy", title="Accuracy of the predicted step time", columns=GROUPS, rows=rows)


def _configurations(key: str, title: str, outcomes: Sequence[Outcome]) -> Table:
    rows: list[dict[str, Cell]] = []
    for outcome in outcomes:
        one = _accuracy([outcome])
        kernel = [measured.kernel_bytes for measured in outcome.measurements if measured.kernel_bytes is not None]
        rows.append(
            {
                "configuration": str(outcome.cell),
                "predicted": outcome.prediction.seconds,
                "measured": Spread.of(outcome.seconds),
                "error": one.bias,
                "error_then": _at_the_time([outcome]).bias,
                "noise": one.noise,
                "bytes": outcome.prediction.bytes,
                "counted": fmean([measured.bytes for measured in outcome.measurements]),
                "wire": fmean([measured.wire_bytes for measured in outcome.measurements]),
                "kernel": fmean(kernel) if kernel else None,
            }
        )
    return Table(key=key, title=title, columns=CONFIGURATIONS, rows=rows)


def write_document(path: Path, result: Result, outcomes: Sequence[Outcome], profiles: Mapping[str, Path]) -> None:
    """A Markdown page of the findings. What stands between the two marks in a page that is there already stays.

    ``profiles`` by the name of the task. Raises UserError where the file cannot be written.
    """
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        found = re.search(f"{re.escape(BEGIN)}\n(.*?)\n{re.escape(END)}", before, re.DOTALL)
        path.write_text(_document(result, outcomes, profiles, found[1] if found else PLACEHOLDER), encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; name another file with --document") from None


def _document(result: Result, outcomes: Sequence[Outcome], profiles: Mapping[str, Path], written: str) -> str:
    frozen = [(task, DeviceProfile.load(str(path))) for task, path in profiles.items()]
    conditions = "\n".join(f"- {name}: {value}" for name, value in result.conditions.items())
    hashes = "\n".join(f"- `{profile.digest}`: {profile.description} ({profile.source})" for _, profile in frozen)
    sentences = "\n\n".join(result.sentences)
    groups = "\n".join(
        f"| {row['group']} | {row['n']} | {row['bias']:+.1%} | {row['mape']:.1%} | {row['mape_then']:.1%} "
        f"| {row['p90']:.1%} "
        f"| {row['worst']:.1%} | {row['tau']:.2f} | {row['noise']:.1%} |"
        for row in result.tables[0].rows
    )
    return f"""# How far predictions can be believed

Predictions are the simulation with the learning left out, driven by profiles that were measured on one and two nodes
and then frozen. They are held against real trainings on emulated hosts: processes in network namespaces, with shaped
links and a share of a core each. More workers, other bandwidths, other strategies and a straggler were held out.
This page is written by `manyhands validate --document`; the part on causes is written by hand.

{sentences}

## Conditions

{conditions}

Profiles, by the first digits of the SHA-256 of their content:

{hashes}

## Where the model fails, and why

{BEGIN}
{written}
{END}

## By factor

Error: predicted / mean measured - 1. Bias: mean error. MAPE: mean size of the errors. P90: nine tenths are smaller.
At the time: the MAPE of predictions for a machine as fast as it was right before each run. τ: Kendall's τ-b of the
order. Noise: what the mean of the other repeats is wrong about one repeat.

| group | n | bias | MAPE | at the time | P90 | worst | τ | noise |
|---|---|---|---|---|---|---|---|---|
{groups}

## Each configuration

| configuration | predicted | measured | error | at the time | noise |
|---|---|---|---|---|---|
{_lines(outcomes)}
"""


def _lines(outcomes: Sequence[Outcome]) -> str:
    lines = []
    for outcome in outcomes:
        one, then = _accuracy([outcome]), _at_the_time([outcome]).bias
        measured, predicted = format_seconds(fmean(outcome.seconds)), format_seconds(outcome.prediction.seconds)
        lines.append(f"| {outcome.cell} | {predicted} | {measured} | {one.bias:+.1%} | {then:+.1%} | {one.noise:.1%} |")
    return "\n".join(lines)
