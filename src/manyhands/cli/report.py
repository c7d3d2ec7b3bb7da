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
    quiet: bool = False
    """print nothing but errors and the place of the page"""


def run(argv: Sequence[str]) -> int:
    options = parse(Report, argv, "manyhands report", DESCRIPTION)

    from manyhands import terminal
    from manyhands.report.bench import is_bench, write_bench
    from manyhands.report.contents import Contents
    from manyhands.report.export import write_tables
    from manyhands.report.figures import write_figures
    from manyhands.report.page import write_page
    from manyhands.report.prediction import write_prediction
    from manyhands.report.prediction_page import is_prediction, read_prediction, write_prediction_page
    from manyhands.report.times import check_target

    check_target(options.target)
    only = options.runs[0] if len(options.runs) == 1 else None
    page = options.out or (only or Path()) / "report.html"
    figures, tables = page.parent / "figures", page.parent / "tables"
    files: dict[str, list[Path]] = {"figures": [], "tables": []}
    with terminal.bar("making the page", None, "") as line:
        if only and is_bench(only):
            page, files = write_bench(only, page, figures=options.figures, tables=options.tables)
        elif only and is_prediction(only):
            content = read_prediction(only)
            write_prediction_page(content, page)
            files["figures"] = write_prediction(content, figures) if options.figures else []
        else:
            contents = Contents.read(options.runs, options.target)
            write_page(contents, page)
            line.move(what="making figures and tables")
            files["figures"] = write_figures(contents, figures) if options.figures else []
            files["tables"] = write_tables(contents, tables) if options.tables else []
    return _show(page, files, options)


def _show(page: Path, files: dict[str, list[Path]], options: Report) -> int:
    if options.json:
        print(json.dumps({"report": str(page)} | {name: list(map(str, group)) for name, group in files.items()}))
        return 0
    for file in () if options.quiet else (*files["figures"], *files["tables"]):
        print(file)
    print(page)
    return 0
