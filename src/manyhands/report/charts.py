"""All charts of a report: of the runs together, and of each run by itself."""

from collections.abc import Sequence
from dataclasses import replace

from manyhands.report.clients import client_figures, client_run_figures
from manyhands.report.conditions import by_condition
from manyhands.report.curves import curve_figures
from manyhands.report.figure import Figure
from manyhands.report.holdings import partition_figures
from manyhands.report.lanes import lanes_figure
from manyhands.report.mistakes import class_figures, confused_figures
from manyhands.report.pictures import class_figure, confusion_figure, staleness_figure
from manyhands.report.reply_bars import replies_figure
from manyhands.report.scaling import speedup_figures, target_figures, time_figures
from manyhands.report.tables import Row
from manyhands.report.times import Times
from manyhands.report.topology import topology_figures
from manyhands.report.workers import worker_figures
from manyhands.runs.reading import RunView


def times_figures(tables: Sequence[Times]) -> list[Figure]:
    """Pictures of the times to an accuracy, where strategies were put under several conditions."""
    figures = [figure for table in tables for figure in target_figures(table)]
    return figures if len(figures) < 2 else [_keyed(figure, f"table-{n}") for n, figure in enumerate(figures)]


def study_figures(rows: Sequence[Row]) -> dict[str, list[Figure]]:
    """What the runs show together, by heading, for each task: learning, time, clients, mistakes, traffic, partitions.

    Where strategies were put under several conditions, learning, time and clients have a section for each condition,
    since all in one chart would be a tangle.
    """
    tasks = list(dict.fromkeys(row.series.task for row in rows))
    sections = {}
    for number, task in enumerate(tasks):
        of_task = [row for row in rows if row.series.task == task]
        groups: dict[tuple[str, str], list[Figure]] = {}
        for place, (condition, alone) in enumerate(by_condition(of_task).items()):
            series = [row.series for row in alone]
            learning, time = curve_figures(series), [*time_figures(series), *speedup_figures(alone)]
            prefix = f"condition-{place}" if condition else ""
            groups["Learning", condition] = [_keyed(figure, prefix) for figure in learning]
            groups["Time", condition] = [_keyed(figure, prefix) for figure in time]
            if clients := client_figures(series):
                groups["Clients", condition] = [_keyed(figure, prefix) for figure in clients]
        series = [row.series for row in of_task]
        groups["Classes", ""] = class_figures(series)
        groups["What is taken for what", ""] = confused_figures(series)
        groups["Who talks to whom", ""] = topology_figures(series)
        groups["Who holds which samples", ""] = partition_figures(series)
        for (heading, condition), figures in groups.items():
            if not figures:
                continue
            where = ", ".join(filter(None, [task if len(tasks) > 1 else "", condition]))
            prefix = f"task-{number}" if len(tasks) > 1 else ""
            sections[f"{heading}: {where}" if where else heading] = [_keyed(figure, prefix) for figure in figures]
    return sections


def run_figures(run: RunView, key: str) -> list[Figure]:
    """What one run has of: first steps, clients, replies, workers, confusion matrix, classes, and staleness.

    ``key`` begins the figures' keys.
    """
    return [
        *lanes_figure(run, key),
        *client_run_figures(run, key),
        *worker_figures(run, key),
        *replies_figure(run, key),
        *confusion_figure(run, key),
        *class_figure(run, key),
        *staleness_figure(run, key),
    ]


def _keyed(figure: Figure, prefix: str) -> Figure:
    return replace(figure, key=f"{prefix}-{figure.key}") if prefix else figure
