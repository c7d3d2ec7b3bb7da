"""The first screen: which strategy won on accuracy, on time to an accuracy and on bytes, by how much, and how sure.

Strategies that share the work compete; where there is but one of them, with the baseline. Where they were put under
several conditions, the answers are those under the undisturbed one, and the winners under the others are named beside.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from manyhands.report import numbers
from manyhands.report.conditions import UNDISTURBED, by_condition, conditions
from manyhands.report.numbers import Number
from manyhands.report.series import Series
from manyhands.report.tables import Row
from manyhands.report.times import common_target, goal
from manyhands.runs import reading
from manyhands.runs.files import Json
from manyhands.runs.reading import RunView
from manyhands.statistics import Difference, Estimate, difference, estimate

METHODS = (
    "The first is held against each of the others. Paired by seed: the mean of the differences seed by seed, "
    "± t(0.975; n − 1) · s / √n. Welch, where the seeds are not the same: ± t(0.975; ν) · √(s₁² / n₁ + s₂² / n₂). "
    "Sure is a lead whose 95 % interval leaves out zero. It is not corrected for having looked which is best."
)
UNSURE = "One seed: it is not known how sure this is."
Quantity = Callable[[RunView], float | None]


@dataclass(frozen=True, kw_only=True)
class Rival:
    """One of the series that competed: its own mean, and the winner's less that."""

    series: Series
    value: Estimate
    gap: Difference


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One question; ``winner`` is None where there is none to name, and ``lead`` then says why."""

    question: str
    winner: Series | None = None
    figure: str = numbers.NONE
    lead: str
    """by how much"""
    certainty: str = ""
    """how sure"""
    beside: str = ""
    """the baseline, and what else belongs to it"""
    rivals: tuple[Rival, ...] = ()
    """the next first"""
    write: Callable[[Number], str] = numbers.plain
    """how its values are written"""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Of one task; ``others`` are the winners with their numbers under other conditions."""

    task: str
    condition: str
    answers: tuple[Answer, ...]
    others: tuple[tuple[str, tuple[str, ...]], ...]


def find_answers(rows: Sequence[Row], target: float | None = None) -> list[Answers]:
    """For each task with finished runs; times and bytes are those to ``target``, or an accuracy that many reached."""
    done = [row for row in rows if row.series.finished and row.series.runs[0].history]
    tasks = dict.fromkeys(row.series.task for row in done)
    return [_of_task(task, [row for row in done if row.series.task == task], target) for task in tasks]


def _of_task(task: str, rows: Sequence[Row], target: float | None) -> Answers:
    names, groups = conditions(rows), by_condition(rows)
    if names and target is None:
        target = common_target(rows)  # one for all conditions
    first = next((name for name in (UNDISTURBED, *names) if name in groups), "")
    found = {name: _answers(group, target) for name, group in groups.items()}
    return Answers(
        task=task,
        condition=first,
        answers=found[first],
        others=tuple((name, tuple(map(_briefly, found[name]))) for name in names if name != first),
    )


def _briefly(answer: Answer) -> str:
    return f"{answer.winner.label}, {answer.figure}" if answer.winner else numbers.NONE


def _answers(rows: Sequence[Row], given: float | None) -> tuple[Answer, ...]:
    clocks = [row.series.clock for row in rows if not row.series.is_baseline] or [row.series.clock for row in rows]
    clock = max(dict.fromkeys(clocks), key=clocks.count)  # where most can be compared
    target = given or common_target([row for row in rows if row.series.clock == clock])
    return _accuracy(rows), _time(rows, clock, target), _bytes(rows, target)


def _accuracy(rows: Sequence[Row]) -> Answer:
    def quantity(run: RunView) -> float | None:
        return reading.final(run, "test_accuracy")

    epochs = next((epoch for row in rows if (epoch := reading.final(row.series.runs[0], "epoch"))), 0.0)
    answer = Answer(question=f"Accuracy after {epochs:.3g} epochs", lead="It was not measured.", write=numbers.percent)

    def lead(next_: Rival) -> str:
        return f"{numbers.points(next_.gap.value)} more than {_named(next_)}."

    return _race(answer, [row.series for row in rows], quantity, lead, most=True)


def _time(rows: Sequence[Row], clock: str, target: float | None) -> Answer:
    on_clock = [row.series for row in rows if row.series.clock == clock]
    if target is None and len(on_clock) > 1:
        return Answer(question="Time to accuracy", lead="No round accuracy was reached by two of them.")

    def quantity(run: RunView) -> float | None:
        return reading.seconds(run) if target is None else reading.seconds_to_accuracy(run, target)

    question = "Time" if target is None else f"Time to {goal(target)}"
    answer = Answer(question=question, lead=_unreached(target), write=numbers.duration)

    def lead(next_: Rival) -> str:
        sooner = replace(next_.gap.value, mean=-next_.gap.value.mean)
        return f"{numbers.duration(sooner)} sooner than {_named(next_)}, on the {clock} clock."

    answer = _race(answer, on_clock, quantity, lead)
    if target is None or answer.winner is None:
        return answer
    competing = _competitors(on_clock)
    reached = 1 + len(answer.rivals)
    few = f"Of {len(competing)} that compete {reached} reached it."
    said = [few if reached < len(competing) else f"All {reached} reached it."] if len(competing) > 2 else []
    others = dict.fromkeys(row.series.clock for row in rows if row.series.clock != clock)
    for other in others:  # whose times are never compared with these
        times = [(row.series, row.series.estimate(quantity)) for row in rows if row.series.clock == other]
        known = [
            f"{one.label.removesuffix(f' · {other}')} {numbers.duration(time)}" for one, time in times if time
        ]  # fmt: skip
        said += [f"Apart from these, on the {other} clock: {', '.join(known)}."] if known else []
    return replace(answer, beside=" ".join(filter(None, [answer.beside, *said])))


def _bytes(rows: Sequence[Row], target: float | None) -> Answer:
    def quantity(run: RunView) -> float | None:
        sent = reading.bytes_per_worker(run) if target is None else bytes_to_accuracy(run, target)
        return sent or None

    to = "" if target is None else f" to {goal(target)}"
    senders = [row.series for row in rows if not row.series.is_baseline]
    none = "Nothing was sent." if target is None else _unreached(target)
    answer = Answer(question=f"Bytes per worker{to}", lead=none, write=numbers.size)

    def lead(next_: Rival) -> str:
        less = replace(next_.gap.value, mean=-next_.gap.value.mean)
        ratio = next_.value.mean / (next_.value.mean + next_.gap.value.mean)
        return f"{numbers.size(less)} less than {_named(next_)}, which sent {ratio:.3g} times as much."

    return _race(answer, senders, quantity, lead)


def _unreached(target: float | None) -> str:
    return "" if target is None else f"None reached {goal(target)}."


def bytes_to_accuracy(run: RunView, target: float) -> float | None:
    """Bytes that all nodes had sent, per worker, at the first evaluation with ``test_accuracy >= target``, if any."""
    reached: Json = next((row for row in run.history if (row["test_accuracy"] or 0.0) >= target), {})
    sent = reached.get("bytes")
    return None if sent is None else float(sent) / run.workers


# ---- who is first, by how much, and how sure


def _competitors(series: Sequence[Series]) -> list[Series]:
    sharing = [one for one in series if not one.is_baseline]
    return sharing if len(sharing) > 1 else list(series)


def _race(
    answer: Answer, series: Sequence[Series], quantity: Quantity, lead: Callable[[Rival], str], *, most: bool = False
) -> Answer:
    """The answer with its winner: the most or the least, of those that have the quantity with every seed."""
    values = {one: one.by_seed(quantity) for one in series}
    means = {
        one: mean for one in series if len(values[one]) == len(one.runs) and (mean := estimate(values[one].values()))
    }
    ranked = sorted(
        (one for one in _competitors(series) if one in means), key=lambda one: means[one].mean * (-1 if most else 1)
    )  # fmt: skip
    if not ranked:
        return answer
    winner, others = ranked[0], ranked[1:]
    rivals = tuple(
        Rival(series=one, value=means[one], gap=difference(values[winner], values[one])) for one in others
    )  # fmt: skip
    baselines = [one for one in series if one.is_baseline and one not in ranked and one.clock == winner.clock]
    told = [answer.write(means[one]) if one in means else "not reached" for one in baselines]
    return replace(
        answer,
        winner=winner,
        figure=answer.write(means[winner]),
        lead=_as_much(rivals[0]) or lead(rivals[0]) if rivals else "There is nothing to compare it with.",
        certainty=_certainty(means[winner].n, rivals),
        beside=" ".join(f"The baseline {one.strategy}: {text}." for one, text in zip(baselines, told, strict=True)),
        rivals=rivals,
    )


def _as_much(next_: Rival) -> str:
    return "" if next_.gap.value.mean else f"The same as {_named(next_)}."


def _named(rival: Rival) -> str:
    return f"{'the baseline ' if rival.series.is_baseline else ''}{rival.series.label}"


def _certainty(seeds: int, rivals: Sequence[Rival]) -> str:
    if not rivals:
        return UNSURE if seeds < 2 else ""
    gap = rivals[0].gap
    if gap.value.half is None:
        return UNSURE
    over = f"the 95\u00a0% interval ({numbers.count(gap.value.n, 'seed')}, {gap.method})"
    return f"Sure: {over} leaves out zero." if gap.settled else f"Not settled: {over} includes zero."
