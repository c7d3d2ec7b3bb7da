"""What a table of runs says, in a few plain sentences that carry their numbers."""

from collections.abc import Sequence
from dataclasses import replace

from manyhands.report import numbers
from manyhands.report.fairness import fairness
from manyhands.report.replies import in_words
from manyhands.report.statistics import Estimate
from manyhands.report.tables import Row
from manyhands.report.times import Times, common_target, goal, times_tables, times_to
from manyhands.runs.reading import final


def sentences(rows: Sequence[Row], target: float | None = None) -> list[str]:
    """Which was most accurate, fastest to an accuracy on each clock, hindered most, cheapest in bytes, most even.

    The accuracy is the target given, or the one common to a clock's series. Only finished runs are compared, and only
    with runs of the same task.
    """
    done = [row for row in rows if row.series.finished and row.accuracy is not None]
    tasks = list(dict.fromkeys(row.series.task for row in done))
    said = []
    for task in tasks:
        of_task = [row for row in done if row.series.task == task]
        clocks = dict.fromkeys(row.series.clock for row in of_task)
        told = [
            _accuracy(of_task),
            *(_speed(of_task, clock, target) for clock in clocks),
            *(said for table in times_tables(of_task, target) for said in _hindrance(table)),
            _bytes(of_task),
            _fairness(of_task),
            _replies(of_task),
            _privacy(of_task),
            _caution(of_task),
        ]
        prefix = f"{task}: " if len(tasks) > 1 else ""
        said += [prefix + sentence for sentence in told if sentence]
    if not done:
        said.append("No run is finished yet; what follows is how far they came.")
    return said


def _accuracy(rows: Sequence[Row]) -> str:
    ranked = sorted(rows, key=lambda row: -_mean(row.accuracy))
    best = ranked[0]
    epochs = final(best.series.runs[0], "epoch") or 0.0
    if len(ranked) == 1:
        return (
            f"{best.series.label} classified {numbers.percent(best.accuracy)} of the test samples rightly "
            f"after {epochs:.3g} epochs, {numbers.duration(best.seconds)} of the {best.series.clock} clock."
        )
    sentence = (
        f"Most accurate was {best.series.label}: {numbers.percent(best.accuracy)} of the test samples after "
        f"{epochs:.3g} epochs"
    )
    if best.series.is_baseline:
        other = next((row for row in ranked if not row.series.is_baseline), None)
        if other is not None:
            sentence += (
                f"; among those that share the work, {other.series.label} with {numbers.percent(other.accuracy)}"
            )
    last = ranked[-1]
    return f"{sentence}. Least accurate was {last.series.label} with {numbers.percent(last.accuracy)}."


def _speed(rows: Sequence[Row], clock: str, given: float | None) -> str:
    rivals = [row for row in rows if row.series.clock == clock]
    target = given or common_target(rivals)
    if target is None:
        return ""
    reached = sorted(times_to(rivals, target), key=lambda pair: pair[1].mean)
    if len(reached) < 2:
        alone = f"{_without(reached[0][0], clock)} alone" if reached else "none"
        return f"On the {clock} clock {alone} reached {goal(target)}." if len(rivals) > 1 else ""
    (first, time), (second, later) = reached[:2]
    return (
        f"On the {clock} clock {_without(first, clock)} was first to {goal(target)}: after {numbers.duration(time)}, "
        f"then {_without(second, clock)} after {numbers.duration(later)}; "
        f"{len(reached)} of {len(rivals)} reached it."
    )


def _hindrance(table: Times) -> list[str]:
    """Whom each condition hindered least and most, against the undisturbed one."""
    said = []
    for place, name in enumerate(table.conditions):
        if name == table.reference or table.reference is None:
            continue
        known = [(line, cell) for line in table.lines if (cell := line.cells[place]) is not None]
        ranked = sorted(
            ((line, cell.factor) for line, cell in known if cell.factor is not None), key=lambda pair: pair[1].mean
        )
        if len(ranked) < 2:
            continue
        (least, low), (most, high) = ranked[0], ranked[-1]
        missed = [line.series.subject for line, cell in known if cell.text == "not reached"]
        sentence = (
            f"{name}: hindered least was {least.series.subject}, which took {numbers.times(low)} as long to "
            f"{goal(table.target)} as under {table.reference}; most {most.series.subject}, {numbers.times(high)}."
        )
        said.append(sentence + (f" Not reached by {', '.join(missed)}." if missed else ""))
    return said


def _bytes(rows: Sequence[Row]) -> str:
    senders = [row for row in rows if row.bytes_per_worker is not None and row.bytes_per_worker.mean > 0]
    if len(senders) < 2:
        return ""
    ranked = sorted(senders, key=lambda row: _mean(row.bytes_per_worker))
    least, most = ranked[0], ranked[-1]
    ratio = _mean(most.bytes_per_worker) / _mean(least.bytes_per_worker)
    return (
        f"Least was sent by {least.series.label}: {numbers.size(least.bytes_per_worker)} per worker, for an "
        f"accuracy of {numbers.percent(least.accuracy)}; most by {most.series.label}: "
        f"{numbers.size(most.bytes_per_worker)}, {ratio:.3g} times as much."
    )


def _fairness(rows: Sequence[Row]) -> str:
    """How even it is among the clients, and what these gain by their local steps; where there are clients."""
    known = [(row, found) for row in rows if (found := fairness(row.series)) is not None]
    if not known:
        return ""
    ranked = sorted(known, key=lambda pair: -pair[1].worst.mean)
    (first, best), (last, least) = ranked[0], ranked[-1]
    if len(ranked) == 1:
        sentence = (
            f"At its {numbers.count(best.clients, 'client')} {first.series.label} was {numbers.percent(best.mean)} "
            f"accurate on average: {numbers.percent(best.worst)} at the worst tenth of them, "
            f"{numbers.percent(best.best)} at the best."
        )
    else:
        sentence = (
            f"At the worst tenth of its clients {first.series.label} was most accurate, {numbers.percent(best.worst)} "
            f"({numbers.percent(best.best)} at the best tenth), and {last.series.label} least, "
            f"{numbers.percent(least.worst)}."
        )
    gains = [(row, found.gain) for row, found in known if found.gain is not None]
    if not gains:
        return sentence
    most, gain = max(gains, key=lambda pair: pair[1].mean)
    whose = f" of {most.series.label}" if len(known) > 1 else ""
    size, way = numbers.points(replace(gain, mean=abs(gain.mean))), "more" if gain.mean >= 0 else "less"
    return f"{sentence} After local steps the clients{whose} were {size} {way} accurate on their own samples."


def _replies(rows: Sequence[Row]) -> str:
    """Whose servers did without some of the replies that they asked for."""
    known = [(row, in_words([run.history[-1] for run in row.series.runs])) for row in rows]
    told = [f"{row.series.label} got {said}" for row, said in known if said]
    return f"Not all clients counted: {'. '.join(told)}." if told else ""


def _privacy(rows: Sequence[Row]) -> str:
    """What is promised to the clients; where nothing is, nothing."""
    promised = [
        f"{row.series.label} with ε = {facts['epsilon']:.4g} at δ = {facts['delta']:g}"
        for row in rows
        if "epsilon" in (facts := row.series.runs[0].facts) and "delta" in facts
    ]
    return f"Towards its clients differentially private was {', and '.join(promised)}." if promised else ""


def _caution(rows: Sequence[Row]) -> str:
    """What the numbers cannot carry: one seed, or a best series whose interval holds the next one's mean."""
    ranked = sorted(rows, key=lambda row: -_mean(row.accuracy))
    if len(ranked) < 2:
        return ""
    best = ranked[0].accuracy
    assert best is not None
    if best.half is None:
        return "This is one seed: small differences may be chance."
    if _mean(ranked[1].accuracy) > best.mean - best.half:
        return (
            f"The difference in accuracy between {ranked[0].series.label} and {ranked[1].series.label} lies "
            f"within the 95 % interval over {numbers.count(best.n, 'seed')}: their order is not settled."
        )
    return ""


def _without(row: Row, clock: str) -> str:
    return row.series.label.removesuffix(f" · {clock}")


def _mean(value: Estimate | None) -> float:
    return 0.0 if value is None else value.mean
