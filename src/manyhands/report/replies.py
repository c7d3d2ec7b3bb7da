"""What became of the replies that a federated run's server asked for: the numbers and the words.

A history's row says under ``figures`` how many, since the beginning, came in time (``replies``), came too late or not
at all (``late``), and were empty because their client had dropped out (``dropped``); and how many rounds were
``skipped`` because too few came.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from manyhands.report import numbers
from manyhands.runs.files import Json, finite

KINDS = {"replies": "in time", "late": "late", "dropped": "dropped out"}
SKIPPED = "skipped"


def counted(row: Mapping[str, Any]) -> dict[str, int]:
    """What a row of the history says was counted since the beginning; empty where it says nothing."""
    figures = row.get("figures")
    known = {name: finite(figures.get(name, 0)) for name in (*KINDS, SKIPPED)} if isinstance(figures, dict) else {}
    return {name: int(value or 0) for name, value in known.items()}


def in_words(rows: Sequence[Json]) -> str:
    """Of the last rows of some histories, together: ``18 replies in time, 8 late; 1 of 6 rounds was skipped``.

    Empty where all replies counted, or nobody counted them.
    """
    total = {name: sum(counted(row).get(name, 0) for row in rows) for name in (*KINDS, SKIPPED)}
    came, skipped, rounds = total["replies"], total[SKIPPED], sum(int(row.get("round") or 0) for row in rows)
    lost = [f"{total[name]:,} {KINDS[name]}" for name in ("late", "dropped") if total[name]]
    if not (lost or skipped):
        return ""
    said = ", ".join([f"{came:,} {'reply' if came == 1 else 'replies'} in time", *lost])
    if not skipped:
        return said
    unchanged = ", and the model is as it was" if skipped == rounds else ""
    were = "was" if skipped == 1 else "were"
    return f"{said}; {skipped:,} of {numbers.count(rounds, 'round')} {were} skipped{unchanged}"
