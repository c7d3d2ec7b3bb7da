"""Strategies under several *conditions*: who holds which samples (skew), and which nodes are slow (stragglers)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from manyhands.report.series import told_apart
from manyhands.report.tables import Row

UNDISTURBED = "iid"


def conditions(rows: Sequence[Row]) -> tuple[str, ...]:
    """What the strategies were put under, in the runs' order; empty unless some strategy was put under several.

    The baseline has no condition: it is one worker with all the data.
    """
    rows = [row for row in rows if not row.series.is_baseline]
    if max(Counter(row.series.subject for row in rows).values(), default=0) < 2:
        return ()
    return tuple(dict.fromkeys(row.series.condition for row in rows))


def by_condition(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each condition, with labels that leave it out, and with the baselines; where there are several.

    Otherwise one entry, without a name, of the rows as they are.
    """
    names = conditions(rows)
    if not names:
        return {"": list(rows)}
    return {
        name: _alone([row for row in rows if row.series.is_baseline or row.series.condition == name]) for name in names
    }


def _alone(rows: Sequence[Row]) -> list[Row]:
    series = told_apart([replace(row.series, label=row.series.subject) for row in rows])
    return [replace(row, series=one) for row, one in zip(rows, series, strict=True)]
