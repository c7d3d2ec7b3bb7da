"""The charts of a report as files, for papers and slides."""

from collections.abc import Sequence
from pathlib import Path

from manyhands.errors import UserError
from manyhands.report.collection import collect_runs
from manyhands.report.figure import Figure
from manyhands.report.tables import summary_rows
from manyhands.report.times import times_tables
from manyhands.runs.files import Json

FORMATS = ("svg", "png")
WIDTH = 520  # pixels of a chart that on the page is as wide as there is room


def write_figures(
    paths: Sequence[Path], folder: Path, formats: Sequence[str] = FORMATS, target: float | None = None
) -> list[Path]:
    """Write every chart of the runs at, or below, ``paths`` as ``folder/KEY.FORMAT``, on white; returns them.

    ``target`` is the accuracy of the times to accuracy, 0 to 1; by default the study's own, or one that many reached.

    Raises UserError where no run can be read, a format is unknown or the folder cannot be written.
    """
    from manyhands.report.charts import run_figures, study_figures, times_figures

    for format_ in formats:
        if format_ not in FORMATS:
            raise UserError(f"unknown figure format '{format_}': choose from {', '.join(FORMATS)}")
    collection = collect_runs(paths)
    runs, rows = collection.runs, summary_rows(collection.runs)
    figures = times_figures(times_tables(rows, target or collection.target))
    figures += [figure for group in study_figures(rows).values() for figure in group]
    for number, run in enumerate(runs):
        figures += run_figures(run, f"run-{number}")
    return write_charts(figures, folder, formats)


def write_charts(figures: Sequence[Figure], folder: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write each as ``folder/KEY.FORMAT``, on white; raises UserError where the folder cannot be written."""
    import vl_convert

    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for figure in figures:
            whole = _whole(figure)
            for format_ in formats:
                file = folder / f"{figure.key}.{format_}"
                if format_ == "svg":
                    file.write_text(vl_convert.vegalite_to_svg(whole), encoding="utf-8")
                else:
                    file.write_bytes(vl_convert.vegalite_to_png(whole, scale=2))
                written.append(file)
    except OSError as error:
        raise UserError(f"cannot write into {folder}: {error.strerror}; name another folder") from None
    return written


def _whole(figure: Figure) -> Json:
    """The specification with all that the page gives to it: theme, width, ground and title."""
    from manyhands.report.figure import THEME

    spec = {
        **figure.spec,
        "config": {**THEME, "background": "white"},
        "title": {"text": figure.title, "anchor": "start"},
    }
    return spec | ({"width": WIDTH} if figure.wide else {})
