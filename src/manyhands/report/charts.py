"""All charts of a report: of the runs together, and of each run by itself."""

from collections.abc import Sequence

from manyhands.report.curves import curve_figures
from manyhands.report.figure import Figure
from manyhands.report.pictures import class_figure, confusion_figure, partition_figures
from manyhands.report.scaling import speedup_figures, time_figures
from manyhands.report.tables import Row
from manyhands.runs.reading import RunView


def study_figures(rows: Sequence[Row]) -> dict[str, list[Figure]]:
    """What the runs show together, under its headings: learning curves, time and speedup, who holds which samples."""
    series = [row.series for row in rows]
    return {
        "Learning": curve_figures(series),
        "Time": [*time_figures(series), *speedup_figures(rows)],
        "Who holds which samples": partition_figures(series),
    }


def run_figures(run: RunView, key: str) -> list[Figure]:
    """What one run shows: its confusion matrix and the accuracy of each class; ``key`` begins the figures' keys."""
    return [*confusion_figure(run, key), *class_figure(run, key)]
