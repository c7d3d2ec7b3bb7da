"""``manyhands report``: one page of runs and studies."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from manyhands.cli.flags import parse

DESCRIPTION = """Make one HTML page of runs and studies: curves, tables, partitions and confusion matrices.

The page needs no network and nothing beside it. Runs that are damaged or under way are shown as such."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What ``manyhands report`` takes."""

    runs: tuple[Path, ...]
    """folders of runs, studies or a benchmark, or folders that hold some"""
    out: Path | None = None
    """the page; default: report.html in the one folder given, or here if there are several"""
    figures: bool = False
    """write each figure as SVG and PNG too, into a folder figures beside the page"""
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
    from manyhands.report.figures import write_figures
    from manyhands.report.page import write_report
    from manyhands.report.times import check_target

    if len(options.runs) == 1 and is_bench(options.runs[0]) and not options.out:
        with terminal.bar("making the page", None, ""):
            page, figures = write_bench(options.runs[0])
        return _show(page, figures if options.figures else [], options)
    page = options.out or (options.runs[0] if len(options.runs) == 1 else Path()) / "report.html"
    check_target(options.target)
    with terminal.bar("making the page", None, "") as line:
        page = write_report(options.runs, page, options.target)
        folder = page.parent / "figures"
        line.move(what="making the figures")
        figures = write_figures(options.runs, folder, target=options.target) if options.figures else []
    return _show(page, figures, options)


def _show(page: Path, figures: Sequence[Path], options: Report) -> int:
    if options.json:
        print(json.dumps({"report": str(page), "figures": list(map(str, figures))}))
        return 0
    for figure in () if options.quiet else figures:
        print(figure)
    print(page)
    return 0
