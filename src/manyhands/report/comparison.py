"""All that competed, held against the first: the numbers behind the first screen."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from manyhands.report import numbers
from manyhands.report.answers import METHODS, Answer, Answers
from manyhands.report.figure import Table
from manyhands.report.series import Series


def comparison_tables(found: Sequence[Answers]) -> list[Table]:
    """One for each task in which two or more competed in anything."""
    several = len(found) > 1
    tables = []
    for number, answers in enumerate(found):
        asked = [answer for answer in answers.answers if answer.rivals]
        if not asked:
            continue
        where = ", ".join(filter(None, [answers.task if several else "", answers.condition]))
        tables.append(
            Table(
                key=f"comparison-{number}" if several else "comparison",
                title=f"Against the first{f': {where}' if where else ''}",
                words=METHODS,
                header=("Strategy", *(text for answer in asked for text in _headings(answer))),
                rows=[
                    [one.label, *(text for answer in asked for text in _cells(answer, one))] for one in _series(asked)
                ],
            )
        )
    return tables


def _headings(answer: Answer) -> tuple[str, str, str]:
    return answer.question, "against the first", "sure"


def _series(answers: Sequence[Answer]) -> list[Series]:
    """Those of the first question first, in its order; then who is only in the others."""
    ranked = [[answer.winner, *(rival.series for rival in answer.rivals)] for answer in answers]
    return list(dict.fromkeys(one for order in ranked for one in order if one))


def _cells(answer: Answer, series: Series) -> tuple[str, str, str]:
    if series is answer.winner:
        return answer.figure, "first", ""
    rival = next((rival for rival in answer.rivals if rival.series is series), None)
    if rival is None:
        return numbers.NONE, "", ""
    behind = replace(rival.gap.value, mean=-rival.gap.value.mean)
    unknown = rival.gap.value.half is None
    sure = "one seed" if unknown else "yes" if rival.gap.settled else "no"
    return answer.write(rival.value), f"{'+' if behind.mean > 0 else ''}{answer.write(behind)}".replace("-", "−"), sure


def comparison_json(answers: Answers) -> dict[str, Any]:
    """For programs: of each question the winner and the differences to it, as {"mean", "half", "n"}."""
    return {
        "task": answers.task,
        "condition": answers.condition or None,
        "questions": [
            {
                "question": answer.question,
                "winner": answer.winner.label if answer.winner else None,
                "figure": answer.figure.replace("\u00a0", " "),
                "rivals": [
                    {
                        "strategy": rival.series.label,
                        "value": asdict(rival.value),
                        "winner_less_this": asdict(rival.gap.value),
                        "method": rival.gap.method,
                        "settled": rival.gap.settled,
                    }
                    for rival in answer.rivals
                ],
            }
            for answer in answers.answers
        ],
        "winners_elsewhere": {name: list(winners) for name, winners in answers.others},
    }
