"""What all tools are told of a run, from its folder: flat parameters, numbers by step, and accuracies of classes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from manyhands.runs.reading import RunView

Plain = str | float | bool


@dataclass(frozen=True, kw_only=True)
class Point:
    """One evaluation. ``numbers`` have the names of the history's fields."""

    samples: int
    """that were trained on until then, of all workers together: the step, which all strategies have in common"""
    time: float
    """seconds since 1970: when the run was created, and the cluster's clock from then on"""
    numbers: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Content:
    """One run."""

    parameters: dict[str, Plain]
    """the specification, with names such as ``strategy.period``; what is none is left out"""
    points: tuple[Point, ...]
    class_accuracy: dict[str, float]
    """of the final evaluation, by the class's name"""
    started: float
    """seconds since 1970"""

    @classmethod
    def of(cls, run: RunView) -> "Content":
        started = _seconds_since_1970(run.record.get("created"))
        evaluation = run.evaluation or {"classes": (), "per_class_accuracy": ()}
        accuracies = zip(evaluation["classes"], evaluation["per_class_accuracy"], strict=True)
        points = [
            Point(samples=int(row["samples"] or 0), time=started + (row["seconds"] or 0.0), numbers=dict(_numbers(row)))
            for row in run.history
        ]
        return cls(
            parameters=dict(_flat(run.specification)),
            points=tuple(points),
            class_accuracy={str(name): float(value) for name, value in accuracies if value is not None},
            started=started,
        )

    @property
    def ended(self) -> float:
        """Seconds since 1970: the last evaluation."""
        return self.points[-1].time if self.points else self.started


def _numbers(row: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """All numbers of a row; those in it by name have names such as ``figures/late``."""
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + name, float(value)


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Plain]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            if value:
                yield prefix + name, " ".join(map(str, value))
        elif value is not None:
            yield prefix + name, value


def _seconds_since_1970(text: Any) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0.0
