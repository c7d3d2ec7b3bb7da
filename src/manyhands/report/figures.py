"""The charts of a report as files, for papers and slides."""

from collections.abc import Sequence
from pathlib import Path

from manyhands.errors import UserError
from manyhands.report.contents import Contents
from manyhands.report.figure import THEME, Figure
from manyhands.runs.files import Json

FORMATS = ("svg", "png")
WIDTH = 520  # pixels of a chart that on the page is as wide as there is room


def write_figures(contents: Contents, folder: Path) -> list[Path]:
    """Write every chart as ``folder/KEY.svg`` and ``.png``, on white; returns the files.

    Beside the page's they are those of `manyhands.report.panels`, each of several charts. Raises UserError where the
    folder cannot be written.
    """
    from manyhands.report.panels import named_figures

    return write_charts([*named_figures(contents), *contents.figures], folder)


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
    spec = {
        **figure.spec,
        "config": {**THEME, "background": "white", "padding": 12},
        "title": {"text": figure.title, "anchor": "start", "offset": 22 if "concat" in figure.spec else 6},
    }
    return spec | ({"width": WIDTH} if figure.wide else {})
