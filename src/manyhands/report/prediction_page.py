"""The page of predictions: of a folder's ``prediction.json`` and nothing else."""

import json
from dataclasses import replace
from pathlib import Path

from manyhands.errors import UserError
from manyhands.report import numbers
from manyhands.report.bench_charts import cell_text
from manyhands.report.figure import Figure
from manyhands.report.prediction import COLUMNS, NOTES, estimate_of, panels, prediction_figures, refusal
from manyhands.runs.files import Json

PREDICTION = "prediction.json"
HEADINGS = ("Workers", "Step time", "Epoch time", "Speedup", "Efficiency", "Time in communication", "Bytes per step")


def is_prediction(folder: Path) -> bool:
    """Whether a folder holds predictions."""
    return (folder / PREDICTION).is_file()


def read_prediction(folder: Path) -> Json:
    """Raises UserError where ``prediction.json`` is damaged."""
    file = folder / PREDICTION
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        render(content)
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{file} is damaged: predict again") from None
    return dict(content)


def write_prediction_page(content: Json, page: Path) -> Path:
    """Write the page; raises UserError where it cannot be written."""
    from manyhands.report.page import write_html

    return write_html(render(content), page)


def render(content: Json) -> str:
    """The page's HTML: a table and two pictures for each network and batch size."""
    from manyhands.report.page import fill

    profile = content["profile"]
    sections = {key: _figures(content, key, rows) for key, (_, rows) in _groups(content).items()}
    return fill(
        "bench.html.j2",
        [figure for figures in sections.values() for figure in figures],
        title=f"Predictions for {content['task']}",
        kind="Predicted, not measured",
        facts=[("task", str(content["task"])), ("profile", f"{profile['name']} ({profile['digest']})")],
        sentences=[_sentence(title, rows) for title, rows in _groups(content).values()],
        problems=[*map(str, content.get("warnings") or ()), *map(refusal, content["not_predicted"])],
        notes=[*NOTES, "± is half of a 95 % interval, of the profile's spread, where it states one."],
        tables=[_table(key, title, rows) for key, (title, rows) in _groups(content).items()],
        sections=sections,
        text=cell_text,
        command="",
    )


def _groups(content: Json) -> dict[str, tuple[str, list[Json]]]:
    """The predictions of each network and batch size, with its name, by a key."""
    return {f"panel-{place}": group for place, group in enumerate(panels(content).items())}


def _figures(content: Json, key: str, rows: list[Json]) -> list[Figure]:
    figures = prediction_figures({**content, "predictions": rows})
    return [replace(figure, key=f"{key}-{figure.key}") for figure in figures]


def _sentence(title: str, rows: list[Json]) -> str:
    best = min(rows, key=lambda row: float(row["epoch_seconds"]["value"]))
    return (
        f"{title}: the shortest epoch is that of {best['strategy']} ×{best['workers']:,}, "
        f"{numbers.duration(estimate_of(best['epoch_seconds']))}, "
        f"{numbers.times(estimate_of(best['speedup']))} as fast as one worker."
    )


def _table(key: str, title: str, rows: list[Json]) -> Json:
    """As a benchmark's table, of cells as they are written."""
    headings = ("Strategy", *HEADINGS)
    writers = [lambda row: f"{row['strategy']}{'' if row['exact'] else ' ~'}", *(text for _, text in COLUMNS)]
    rough = " ~ steps do not repeat exactly: extrapolated." if not all(row["exact"] for row in rows) else ""
    return {
        "key": key,
        "title": title,
        "words": f"Per epoch and worker, beside one worker of the same batch size and profile.{rough}",
        "columns": [{"key": heading, "heading": heading, "unit": "", "meaning": ""} for heading in headings],
        "rows": [{name: write(row) for name, write in zip(headings, writers, strict=True)} for row in rows],
    }
