"""What runs say beside the answers of the first screen, in a few plain sentences that carry their numbers."""

from collections.abc import Sequence
from dataclasses import replace

from manyhands.report import numbers
from manyhands.report.fairness import fairness
from manyhands.report.replies import in_words
from manyhands.report.tables import Row
from manyhands.report.times import Times, goal, times_tables


def sentences(rows: Sequence[Row], target: float | None = None) -> list[str]:
    """Which was hindered least and most, most even among its clients, short of replies, and private.

    Times are those to the target given, or to the accuracy common to a clock's series. Only finished runs are compared,
    and only with runs of the same task.
    """
    done = [row for row in rows if row.series.finished and row.accuracy is not None]
    tasks = list(dict.fromkeys(row.series.task for row in done))
    said = []
    for task in tasks:
        of_task = [row for row in done if row.series.task == task]
        told = [
            *(said for table in times_tables(of_task, target) for said in _hindrance(table)),
            _fairness(of_task),
            _replies(of_task),
            _privacy(of_task),
        ]
        prefix = f"{task}: " if len(tasks) > 1 else ""
        said += [prefix + sentence for sentence in told if sentence]
    if not done:
        said.append("No run is finished yet; what follows is how far they came.")
    return said


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
