"""For MLflow: runs with parameters, metrics and artifacts, where MLFLOW_TRACKING_URI says, or in a file beside them.

The step is the number of samples, and the time stamps are the cluster's clock. Written with ``mlflow-skinny``, which is
MLflow without its viewer; its usage reports stay off.
"""

import logging
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before the import, which reads it

import sqlalchemy  # noqa: F401 - which the file beside the runs needs, and mlflow-skinny leaves out
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from manyhands.errors import UserError
from manyhands.export.content import Content
from manyhands.runs.reading import RunView

STORE, ARTIFACTS = "mlflow.db", "mlflow-artifacts"
"""beside the runs"""
FOLDER = "manyhands.folder"
"""the tag by which a run is found again"""
FILES = ("run.json", "evaluation.json", "ledger.json", "partition.json", "report.html", "model.safetensors")
AT_ONCE = 1000
"""metrics that one request may hold"""
STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "running": "RUNNING"}
Thing = TypeVar("Thing")
_FORBIDDEN = re.compile(r"[^\w\-. /]")


def export(runs: Sequence[RunView], beside: Path) -> str:
    """See `manyhands.export.export_runs`."""
    for logger in ("mlflow", "alembic"):
        logging.getLogger(logger).setLevel(logging.WARNING)  # they tell of each table that they make
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    place = None if uri else (beside / ARTIFACTS).resolve().as_uri()
    uri = uri or f"sqlite:///{(beside / STORE).resolve()}"
    try:
        client = MlflowClient(tracking_uri=uri)
        for run in runs:
            _write(client, run, place)
    except MlflowException as error:
        raise UserError(f"MLflow at {uri} refuses: {str(error).splitlines()[0]}") from None
    served = uri.startswith(("http:", "https:", "databricks"))
    return uri if served else shlex.join(["mlflow", "ui", "--backend-store-uri", uri])


def _write(client: MlflowClient, run: RunView, place: str | None) -> None:
    """One run, in place of the one that was written of its folder before."""
    content, folder = Content.of(run), str(run.folder.resolve())
    experiment = _experiment(client, run, place)
    for before in client.search_runs([experiment], f"tags.`{FOLDER}` = '{folder}'"):
        client.delete_run(before.info.run_id)
    tags = {FOLDER: folder, "mlflow.source.type": "LOCAL", "mlflow.source.name": "manyhands"}
    for name, key in (("mlflow.note.content", "command"), ("mlflow.source.git.commit", "revision")):
        if value := run.record.get(key):
            tags[name] = str(value)
    started, ended = round(1000 * content.started), round(1000 * content.ended)
    made = client.create_run(experiment, start_time=started, tags=tags, run_name=run.name).info.run_id
    parameters = [Param(_plain(name), str(value)) for name, value in content.parameters.items()]
    for some_parameters in _parts(parameters, 100):
        client.log_batch(made, params=some_parameters)
    for some_metrics in _parts(list(_metrics(content)), AT_ONCE):
        client.log_batch(made, metrics=some_metrics)
    for name in FILES:
        if (run.folder / name).exists():
            client.log_artifact(made, str(run.folder / name))
    client.set_terminated(made, STATUS.get(run.status, "FINISHED"), ended)


def _experiment(client: MlflowClient, run: RunView, place: str | None) -> str:
    """A study's runs are together in one, named after its folder; all others in one named manyhands."""
    above = run.folder.resolve().parent
    name = above.name if (above / "study.json").exists() else "manyhands"
    if known := client.get_experiment_by_name(name):
        return str(known.experiment_id)
    return str(client.create_experiment(name, artifact_location=f"{place}/{name}" if place else None))


def _metrics(content: Content) -> Iterator[Metric]:
    for point in content.points:
        for name, value in point.numbers.items():
            yield Metric(_plain(name), value, round(1000 * point.time), point.samples)
    for name, value in content.class_accuracy.items():
        last = content.points[-1].samples if content.points else 0
        yield Metric(_plain(f"class_accuracy/{name}"), value, round(1000 * content.ended), last)


def _plain(name: str) -> str:
    """A name as MLflow takes it."""
    return _FORBIDDEN.sub("_", name)


def _parts(things: Sequence[Thing], size: int) -> Iterator[Sequence[Thing]]:
    for start in range(0, len(things), size):
        yield things[start : start + size]
