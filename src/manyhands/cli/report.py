"""``manyhands report``: one page of runs and studies."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from manyhands.cli.flags import parse

DESCRIPTION = """Make one HTML page of runs and studies, of a benchmark, or of predictions.

First who won on accuracy, on time to an accuracy and on bytes, by how much and how sure; then curves, tables, mistakes,
traffic, partitions, and each run with all that is needed to repeat it. The page needs no network and nothing beside it.
Runs that are damaged or under way are shown as such.

--figures writes each chart as SVG and PNG, and these, of several charts: training_curves (accuracy, test and training
loss), speedup_analysis (speedup, efficiency, where the time goes), per_class_accuracy, confusion_matrix (one for each
strategy, its seeds added up), baseline_vs_distributed_comparison (accuracy, speedup and bytes beside one worker).

--tables writes each table as CSV, Markdown and LaTeX: performance_comparison.csv has a row for each strategy, its
quantities as plain numbers with half of the 95 % interval; and test_summary.json has each run's final evaluation, and
who was first and by how much."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What ``manyhands report`` takes."""

    runs: tuple[Path, ...]
    """folders of runs or studies, or folders that hold some; or one folder of a benchmark or of predictions"""
    out: Path | None = None
    """the page; default: report.html in the one folder given, or here if there are several"""
    figures: bool = False
    """write the figures as SVG and PNG too, into a folder figures beside the page"""
    tables: bool = False
    """write the tables as CSV, Markdown, LaTeX and JSON too, into a folder tables beside the page"""
    target: float | None = None
    """accuracy for which the time is reported, e.g. 0.95; default: the highest that half reached, in every condition"""
    json: bool = False
    """print one JSON object instead of text"""


def run(argv: Sequence[str]) -> int:
    options = parse(Report, argv, "manyhands report", DESCRIPTION)

    from manyhands.report.bench import is_bench, write_bench
    from manyhands.report.contents import Contents
    from manyhands.report.export import write_tables
    from manyhands.report.figures import write_figures
    from manyhands.report.page import write_page
    from manyhands.report.prediction import write_prediction
    from manyhands.report.prediction_page import is_prediction, read_prediction, write_prediction_page
    from manyhands.report.times import check_target

    check_target(options.target)
    page = options.out or (options.runs[0] if len(options.runs) == 1 else Path()) / "report.html"
    if len(options.runs) == 1 and is_bench(options.runs[0]):
        page, files = write_bench(options.runs[0], page, figures=options.figures, tables=options.tables)
        return _show(page, files, [], options.json)
    if len(options.runs) == 1 and is_prediction(options.runs[0]):
        content = read_prediction(options.runs[0])
        write_prediction_page(content, page)
        return _show(
            page, write_prediction(content, page.parent / "figures") if options.figures else [], [], options.json
        )
    contents = Contents.read(options.runs, options.target)
    page = write_page(contents, page)
    figures = write_figures(contents, page.parent / "figures") if options.figures else []
    tables = write_tables(contents, page.parent / "tables") if options.tables else []
    return _show(page, figures, tables, options.json)


def _show(page: Path, figures: Sequence[Path], tables: Sequence[Path], as_json: bool) -> int:
    if as_json:
        files = {"figures": list(map(str, figures)), "tables": list(map(str, tables))}
        print(json.dumps({"report": str(page), **files}))
        return 0
    for file in (*figures, *tables):
        print(file)
    print(page)
    return 0
