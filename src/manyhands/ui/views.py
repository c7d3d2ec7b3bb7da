"""What the page shows of one run, and of several side by side, as JSON: numbers as they are written, and charts."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manyhands.errors import UserError
from manyhands.report import numbers
from manyhands.report.charts import run_figures
from manyhands.report.curves import (
    ACCURACY,
    BYTES,
    CONSENSUS,
    EPOCH,
    LOSS,
    ROUNDING,
    SECONDS,
    Point,
    Quantity,
    curve,
    line_figure,
)
from manyhands.report.figure import Figure
from manyhands.report.holdings import partition_figures
from manyhands.report.series import Series, collect_series, colours, flatten
from manyhands.report.tables import COLUMNS, summary_rows
from manyhands.runs.files import Json
from manyhands.runs.reading import RunView
from manyhands.runs.under_way import accounts_so_far
from manyhands.ui.figures import accounts_figure, pace_figures, thinned
from manyhands.ui.index import Index, since

SCALES: dict[str, tuple[Quantity, str]] = {
    "epoch": (EPOCH, "by epoch"),
    "time": (SECONDS, "by time"),
    "bytes": (BYTES, "by bytes"),
}
"""what learning curves are drawn against, by the name that the page has for it"""
MOST_COMPARED = 60
"""runs side by side"""
KEPT = 64
"""answers that are kept until their files change"""


@dataclass(eq=False)
class Views:
    """What is told of the runs of an index. Answers are kept while the files that they are made of do not change."""

    index: Index
    _kept: "OrderedDict[tuple[Any, ...], tuple[object, Any]]" = field(default_factory=OrderedDict)

    def run(self, id_: str, scale: str) -> Json:
        """One run; raises UserError for one that is not there. A damaged one is told as such."""
        folder = self.index.folder(id_)
        summary = self.index.runs.get(id_)
        if summary is None:
            raise UserError(f"{id_} is a study, not a run")
        stamp = self.index.stamp(id_)
        return {"run": summary, **self._keep((id_, scale), stamp, lambda: self._detail(id_, folder, scale))}

    def whole(self, id_: str) -> Json:
        """What is drawn of a run beside its history: it takes long, and seldom changes."""
        folder = self.index.folder(id_)
        settled = self.index.stamp(id_, but=("history.jsonl", "checkpoints"))
        return {"figures": self._keep((id_, "whole"), settled, lambda: self._drawn(folder))}

    @staticmethod
    def _drawn(folder: Path) -> list[Json]:
        try:
            run = RunView.read(folder)
        except UserError:
            return []
        return [vars(one) for one in [*run_figures(run, "run"), *partition_figures(collect_series([run]))]]

    def compare(self, ids: Sequence[str], scale: str) -> Json:
        """Runs, and all runs of studies, side by side: one table, one chart of each kind."""
        for id_ in ids:
            self.index.folder(id_)
        study = self.index.studies.get(ids[0]) if len(ids) == 1 else None
        each = [one for id_ in ids for one in (self.index.runs_of(id_) if id_ in self.index.studies else [id_])]
        if len(each) > MOST_COMPARED:
            raise UserError(f"{len(each)} runs are too many to see side by side: tick {MOST_COMPARED} or fewer")
        stamp = [self.index.stamp(id_) for id_ in each]
        compared = self._keep((*each, scale, "compared"), stamp, lambda: self._compared(each, scale))
        return {"study": study, "runs": [self.index.runs[id_] for id_ in each], **compared}

    def folders(self, ids: Sequence[str]) -> list[Path]:
        """The folders of runs and studies, for a report."""
        return [self.index.folder(id_) for id_ in ids]

    def _keep(self, key: tuple[Any, ...], stamp: object, make: Callable[[], Any]) -> Any:
        known = self._kept.get(key)
        if known is None or known[0] != stamp:
            self._kept[key] = stamp, make()
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[key][1]

    def _detail(self, id_: str, folder: Path, scale: str) -> Json:
        try:
            run = RunView.read(folder)
        except UserError as error:
            problem = str(error).removeprefix(f"{folder}/")
            return {"problems": [problem], "tiles": [], "figures": [], "nodes": [], "facts": []}
        few = thinned(run)
        series = collect_series([few])
        nodes = run.ledger["nodes"] if run.ledger else accounts_so_far(folder, run.workers)
        learning = learning_figures(series, scale)
        missing = "is missing" if not run.finished else ""  # what comes at the end is not missed before
        return {
            "problems": [text for text in run.problems if not (missing and text.endswith((missing, "yet")))],
            "tiles": _tiles(run),
            "figures": [vars(one) for one in [*learning, *pace_figures(series)]],
            "nodes": [vars(one) for one in accounts_figure(nodes, so_far=run.ledger is None)],
            "facts": [[key.removesuffix(".name"), _plain(value)] for key, value in flatten(run.specification).items()],
            "command": str(run.record.get("command") or ""),
            "resumable": run.status in ("stopped", "failed") and any((folder / "checkpoints").glob("[0-9]*")),
        }

    def _compared(self, ids: Sequence[str], scale: str) -> Json:
        runs, problems = [], []
        for id_ in ids:
            try:
                runs.append(thinned(RunView.read(self.index.folder(id_))))
            except UserError as error:
                problems.append(f"{id_}: {error}")
        rows = summary_rows(runs)
        series = [row.series for row in rows]
        colour_of = colours(series)
        drawn = {run.folder for one in series for run in one.runs}
        problems += [
            f"{run.name} is not in the mean of its like: one of the same seed is newer, or finished."
            for run in runs
            if run.folder not in drawn
        ]
        return {
            "problems": problems,
            "heading": [[column.heading, column.meaning] for column in COLUMNS],
            "rows": [
                {
                    "colour": colour_of[row.series.strategy],
                    "cells": [column.text(row) for column in COLUMNS],
                    "details": [*row.series.details, *_seeds(row.series)],
                    "status": row.status,
                }
                for row in rows
            ],
            "figures": [vars(one) for one in [*learning_figures(series, scale), *pace_figures(series)]],
            "differ": _differing(runs),
        }


def learning_figures(series: Sequence[Series], scale: str) -> list[Figure]:
    """Accuracy, loss and, if nodes differ in their weights, how far they are apart; times of each clock alone."""
    x, words = SCALES[scale]
    clocks = list(dict.fromkeys(one.clock for one in series)) if scale == "time" else [""]
    points = {one: curve(one) for one in series}
    figures = []
    for y in (ACCURACY, LOSS, CONSENSUS):
        for clock in clocks if y is not CONSENSUS else [""]:
            at, how = (EPOCH, "by epoch") if y is CONSENSUS else (x, f"{words}, {clock} clock" if clock else words)
            floor = ROUNDING if y is CONSENSUS else -1.0
            known = {
                one: own for one, own in points.items() if clock in ("", one.clock) and _is_known(own, at, y, floor)
            }
            if known:
                key = f"{y.field}{f'-{clock}' if len(clocks) > 1 else ''}"
                figures.append(line_figure(key, f"{y.title} {how}", _CAPTIONS[y.field], at, y, known))
    return figures


_CAPTIONS = {
    "test_accuracy": "Share of the test samples classified rightly.",
    "test_loss": "Mean loss over the test samples.",
    "consensus": "Root mean square of how far the nodes' weights are from their mean.",
}


def _is_known(points: Sequence[Point], x: Quantity, y: Quantity, floor: float) -> bool:
    return any(
        (point.mean(y) or 0.0) > floor and point.mean(y) is not None and point.mean(x) is not None for point in points
    )


def _tiles(run: RunView) -> list[tuple[str, str, str]]:
    """The numbers in front: name, value, and what it is."""
    if not run.history:
        return []
    last, first = run.history[-1], run.history[0]
    taken, passed = (last["samples"] or 0) - (first["samples"] or 0), (last["seconds"] or 0) - (first["seconds"] or 0)
    rate = _rate(taken / passed) if passed > 0 and taken > 0 else numbers.NONE
    tiles = [
        ("Test accuracy", numbers.percent(last["test_accuracy"]), "at the last evaluation"),
        ("Test loss", numbers.plain(last["test_loss"]), "at the last evaluation"),
        ("Clock", numbers.duration(last["seconds"]), f"{run.clock}"),
        ("Throughput", rate, f"samples, by the {run.clock} clock"),
        ("Sent", numbers.size(last["bytes"]), "by all nodes"),
    ]
    if (wall := _wall_rate(run, taken)) is not None:
        tiles.insert(4, ("On this machine", _rate(wall), "samples, by wall time"))
    return tiles


def _rate(value: float) -> str:
    return f"{value:,.0f}/s" if value >= 100 else f"{value:.3g}/s"


def _wall_rate(run: RunView, samples: float) -> float | None:
    """Samples a second of this machine's time, from the run's creation to its last row; only while it is under way.

    Later the times of files may be those of a copy.
    """
    if run.status != "running" or samples <= 0:
        return None
    now = time.time()
    passed = (run.folder / "history.jsonl").stat().st_mtime - since(run.record.get("created"), now)
    return samples / passed if passed > 0 else None


def _differing(runs: Sequence[RunView]) -> Json:
    """The values of the specification that are not the same in all runs, a line for each."""
    flat = [flatten(run.specification) for run in runs]
    keys = dict.fromkeys(key for own in flat for key in own)
    written = {key.removesuffix(".name"): [_plain(own.get(key)) for own in flat] for key in keys}
    lines = [[key, *values] for key, values in written.items() if len(set(values)) > 1]
    return {"heading": [run.name for run in runs], "lines": lines if len(runs) > 1 else []}


def _seeds(series: Series) -> list[str]:
    return [numbers.count(len(series.runs), "seed")] if len(series.runs) > 1 else []


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if type(value) is int else str(value)
