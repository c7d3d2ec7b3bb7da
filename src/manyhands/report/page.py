"""The report: one HTML page that needs nothing but itself."""

import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from manyhands.errors import UserError
from manyhands.report import numbers
from manyhands.report.accounts import Table, ledger_tables
from manyhands.report.collection import Collection, collect_runs
from manyhands.report.figure import Figure
from manyhands.report.series import INK, colours, flatten
from manyhands.report.summary import sentences
from manyhands.report.tables import COLUMNS, summary_rows
from manyhands.report.target import rounds_tables
from manyhands.report.times import times_tables
from manyhands.runs import reading
from manyhands.runs.files import Json
from manyhands.runs.reading import RunView

MAIN_FACTORS = ("task", "workers", "epochs", "rounds", "batch_size", "lr", "partition", "faults", "precision", "seed")


def write_report(paths: Sequence[Path], out: Path, target: float | None = None) -> Path:
    """Write the report on the runs at, or below, ``paths`` into the file ``out``, at once or not at all.

    ``target`` is the accuracy of the times to accuracy, 0 to 1; by default the study's own, or one that many have
    reached. Damaged and unfinished runs are shown as such. Raises UserError where no run can be read or ``out``
    cannot be written.
    """
    collection = collect_runs(paths)
    page = render(collection, target or collection.target)
    try:
        replace_file(out, page)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}; name another file to write to") from None
    return out


def render(collection: Collection, target: float | None = None) -> str:
    """The page's HTML."""
    # jinja2, altair and the renderer together take most of a second to import; only a page needs them.
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    from manyhands.report.charts import run_figures, study_figures, times_figures
    from manyhands.report.figure import THEME

    rows = summary_rows(collection.runs)
    colour_of = colours([row.series for row in rows])
    times = times_tables(rows, target)
    first, sections = times_figures(times), study_figures(rows)
    runs = [
        _run_part(run, colour_of.get(run.strategy, INK), run_figures(run, f"run-{number}"))
        for number, run in enumerate(collection.runs)
    ]
    figures = [figure for group in (first, *sections.values(), *(run.figures for run in runs)) for figure in group]
    specifications = {"theme": THEME, "charts": {figure.key: figure.spec for figure in figures}}
    environment = Environment(
        loader=PackageLoader("manyhands.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    html: str = environment.get_template("page.html.j2").render(
        title=collection.title,
        kind=_kind(collection),
        common=_common(collection.runs),
        sentences=sentences(rows, target),
        problems=[*collection.problems, *_unfinished(collection.runs)],
        columns=COLUMNS,
        rows=rows,
        colours=colour_of,
        times=times,
        times_beside=not any(one.crossed for one in times),
        several_tasks=len({one.task for one in times}) > 1,
        factor=numbers.times,
        times_figures=first,
        rounds=rounds_tables(rows, target),
        sections=sections,
        runs=runs,
        count=numbers.count,
        specifications=Markup(json_for_script(specifications)),
        renderer=Markup(renderer()),
    )
    return html


def json_for_script(content: Any) -> str:
    """JSON that can stand inside a script element: nothing in it can end the element or begin a comment."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@dataclass(frozen=True, kw_only=True)
class RunPart:
    """What the page says of one run."""

    name: str
    status: str
    colour: str
    outcome: str
    command: str
    problems: list[str]
    facts: list[tuple[str, list[tuple[str, str]]]]
    figures: list[Figure]
    ledger: list[Table]


def _run_part(run: RunView, colour: str, figures: list[Figure]) -> RunPart:
    accuracy, time = reading.final(run, "test_accuracy"), reading.seconds(run)
    reached = "" if accuracy is None else f"{numbers.percent(accuracy)} "
    outcome = f"{reached}in {numbers.duration(time)}, {run.clock} clock, seed {run.seed}"
    error = run.record.get("error")
    model, precision = _mapping(run.record.get("model")), _mapping(run.record.get("precision"))
    facts: list[tuple[str, list[tuple[str, str]]]] = [
        ("Specification", _pairs(run.specification)),
        ("Known of the strategy beforehand", [(_words(key), _fact(value)) for key, value in run.facts.items()]),
        ("Model and precision", [*_pairs(model), *_pairs(precision)]),
        ("Hardware", _pairs(_mapping(run.record.get("hardware")))),
        (
            "Versions",
            [
                *_pairs(_mapping(run.record.get("versions"))),
                *_pairs({"revision": run.record.get("revision")}),
            ],
        ),
    ]
    return RunPart(
        name=run.name,
        status=run.status,
        colour=colour,
        outcome=outcome if run.history else "no evaluation",
        command=str(run.record.get("command") or ""),
        problems=[*([f"{run.status}: {error}"] if error else []), *run.problems],
        facts=facts,
        figures=figures,
        ledger=ledger_tables(run),
    )


def _kind(collection: Collection) -> str:
    if collection.study is not None:
        factors = ", ".join(collection.study.factors)
        return f"Study{f' of {factors}' if factors else ''} · {numbers.count(len(collection.runs), 'run')}"
    return "Run" if len(collection.runs) == 1 else "Report"


def _common(runs: Sequence[RunView]) -> list[tuple[str, str]]:
    """The specification's values that all runs share; and the one machine they ran on."""
    flat = [flatten(run.specification) for run in runs]
    shared = [key for key in flat[0] if all(key in other and other[key] == flat[0][key] for other in flat)]
    pairs = _pairs({key: flat[0][key] for key in shared if key in MAIN_FACTORS})
    machines = {json.dumps(run.record.get("hardware"), sort_keys=True) for run in runs}
    return [*pairs, *([("machine", _machine(runs[0]))] if len(machines) == 1 else [])]


def _machine(run: RunView) -> str:
    hardware = _mapping(run.record.get("hardware"))
    units = {"cpu": "{}", "cores": "{} cores", "memory_gib": "{} GiB", "accelerator": "{}"}
    return ", ".join(form.format(hardware[key]) for key, form in units.items() if hardware.get(key)) or "not recorded"


def _unfinished(runs: Sequence[RunView]) -> list[str]:
    names = [f"{run.name} ({run.status})" for run in runs if not run.finished]
    return [f"Not finished, and in no mean with finished runs: {', '.join(names)}."] if names else []


def _pairs(tree: Json) -> list[tuple[str, str]]:
    """Names and values as the page shows them, without what is not set."""
    return [(_words(key), _plain(value)) for key, value in flatten(tree).items() if value is not None and _plain(value)]


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if type(value) is int else str(value)


def _fact(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _words(key: str) -> str:
    known = {"lr": "learning rate", "memory_gib": "memory, GiB"}
    return known.get(key, key.removesuffix(".name").replace("_", " ").replace(".", " "))


def _mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}


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
