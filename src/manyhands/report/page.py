"""The report: one HTML page that needs nothing but itself."""

import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from manyhands.errors import UserError
from manyhands.report import numbers
from manyhands.report.collection import Collection
from manyhands.report.contents import Contents
from manyhands.report.figure import THEME, Figure
from manyhands.report.methods import methods
from manyhands.report.run_part import common, run_part, unfinished
from manyhands.report.series import INK, colours
from manyhands.report.summary import sentences
from manyhands.report.tables import COLUMNS


def write_report(paths: Sequence[Path], out: Path, target: float | None = None) -> Path:
    """Write the report on the runs at, or below, ``paths`` into the file ``out``, at once or not at all.

    ``target`` is the accuracy of the times to accuracy, 0 to 1; by default the study's own, or one that many have
    reached. Damaged and unfinished runs are shown as such. Raises UserError where no run can be read or ``out``
    cannot be written.
    """
    return write_page(Contents.read(paths, target), out)


def write_page(contents: Contents, out: Path) -> Path:
    """As `write_report`, of what was read already."""
    return write_html(render(contents), out)


def render(contents: Contents) -> str:
    """The page's HTML."""
    runs, rows, times = contents.collection.runs, contents.rows, contents.times
    colour_of = colours([row.series for row in rows])
    return fill(
        "page.html.j2",
        contents.figures,
        title=contents.collection.title,
        kind=_kind(contents.collection),
        common=common(runs),
        answers=contents.answers,
        sentences=sentences(rows, contents.target),
        problems=[*contents.collection.problems, *unfinished(runs)],
        columns=COLUMNS,
        rows=rows,
        colours=colour_of,
        comparisons=contents.comparisons,
        times=times,
        times_beside=not any(one.crossed for one in times),
        several_tasks=len({one.task for one in times}) > 1,
        factor=numbers.times,
        times_figures=contents.times_figures,
        rounds=contents.rounds,
        sections=contents.sections,
        methods=methods(runs),
        runs=[
            run_part(run, colour_of.get(run.strategy, INK), figures, ledger)
            for run, figures, ledger in zip(runs, contents.of_runs, contents.ledgers, strict=True)
        ],
        count=numbers.count,
    )


def _kind(collection: Collection) -> str:
    if collection.study is not None:
        factors = ", ".join(collection.study.factors)
        return f"Study{f' of {factors}' if factors else ''} · {numbers.count(len(collection.runs), 'run')}"
    return "Run" if len(collection.runs) == 1 else "Report"


# ---- any page


def fill(template: str, figures: Sequence[Figure], **values: Any) -> str:
    """The HTML of a template with these values, the figures' charts, and the scripts that draw them."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("manyhands.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["whole"] = numbers.whole
    specifications = {"theme": THEME, "charts": {figure.key: figure.spec for figure in figures}}
    html: str = environment.get_template(template).render(
        specifications=Markup(json_for_script(specifications)), renderer=Markup(renderer()), **values
    )
    return html


def json_for_script(content: Any) -> str:
    """JSON that can stand inside a script element: nothing in it can end the element or begin a comment."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def renderer() -> str:
    """The scripts that draw the charts: Vega, Vega-Lite and vega-embed.

    To bundle them takes two seconds, so they are kept in the user's cache, for each version of vl-convert.
    """
    from vl_convert import javascript_bundle

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "manyhands"
    kept = cache / f"vega-embed-{version('vl-convert-python')}.js"
    try:
        return kept.read_text(encoding="utf-8")
    except (OSError, ValueError):
        bundle: str = javascript_bundle("window.vegaEmbed = vegaEmbed;")
    with suppress(OSError):  # without a cache it is only slower
        replace_file(kept, bundle)
    return bundle


def write_html(html: str, out: Path) -> Path:
    """Write a page at once or not at all; raises UserError where the file cannot be written."""
    try:
        replace_file(out, html)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}; name another file to write to") from None
    return out


def replace_file(out: Path, text: str) -> None:
    """Write a file at once or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, out)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
