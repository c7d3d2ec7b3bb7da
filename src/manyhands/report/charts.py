"""All charts of a report: of the runs together, and of each run by itself."""

from collections.abc import Sequence
from dataclasses import replace

from manyhands.report.curves import curve_figures
from manyhands.report.figure import Figure
from manyhands.report.pictures import class_figure, confusion_figure, partition_figures
from manyhands.report.scaling import speedup_figures, time_figures
from manyhands.report.tables import Row
from manyhands.runs.reading import RunView


def study_figures(rows: Sequence[Row]) -> dict[str, list[Figure]]:
    """What the runs show together, by heading, for each task: learning, time, who holds which samples."""
    tasks = list(dict.fromkeys(row.series.task for row in rows))
    sections = {}
    for number, task in enumerate(tasks):
        of_task = [row for row in rows if row.series.task == task]
        series = [row.series for row in of_task]
        groups = {
            "Learning": curve_figures(series),
            "Time": [*time_figures(series), *speedup_figures(of_task)],
            "Who holds which samples": partition_figures(series),
        }
        for heading, figures in groups.items():
            if len(tasks) == 1:
                sections[heading] = figures
            else:
                sections[f"{heading}: {task}"] = [
                    replace(figure, key=f"task-{number}-{figure.key}") for figure in figures
                ]
    return sections


def run_figures(run: RunView, key: str) -> list[Figure]:
    """One run's confusion matrix and the accuracy of each class; ``key`` begins the figures' keys."""
    return [*confusion_figure(run, key), *class_figure(run, key)]
