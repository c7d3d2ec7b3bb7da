"""What other tools read of a run that was written for them: with their own readers."""

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from manyhands.cli.main import main
from manyhands.errors import UserError
from manyhands.export import check_tools, export_runs
from manyhands.export.content import Content
from manyhands.runs.reading import RunView

STARTED = 1767225600.0
ROWS = [
    {"seconds": 0.0, "epoch": 0.0, "round": 0, "completed": 0, "samples": 0, "train_loss": None, "test_loss": 2.3,
     "test_accuracy": 0.1, "consensus": 0.0, "bytes": 0, "figures": {"replies": 0}},
    {"seconds": 1.5, "epoch": 1.0, "round": 1, "completed": 1, "samples": 800, "train_loss": 1.2, "test_loss": 0.9,
     "test_accuracy": 0.7, "consensus": 0.01, "bytes": 5000, "figures": {"replies": 4}},
]  # fmt: skip
SPECIFICATION = {
    "task": "mnist-mini/logistic", "strategy": {"name": "fedavg", "fraction": 0.5}, "workers": 4, "lr": 0.05,
    "cluster": {"name": "simulated", "slow": ["0:2", "1:3"]}, "augment": False, "samples": None, "faults": [],
}  # fmt: skip


def write_run(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True)
    record = {"format": 1, "name": folder.name, "status": "finished", "created": "2026-01-01T00:00:00+00:00",
              "command": "manyhands train --from x", "revision": "abc", "specification": SPECIFICATION}  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record | changes))
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    evaluation = {"accuracy": 0.7, "classes": ["cat", "T-shirt/top", "at:all"], "confusion": [[1, 0, 0]] * 3,
                  "per_class_accuracy": [0.5, 0.25, None]}  # fmt: skip
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "runs" / "20260101-000000-fedavg")


def test_content(run: Path) -> None:
    content = Content.of(RunView.read(run))
    assert content.parameters == {
        "task": "mnist-mini/logistic", "strategy.name": "fedavg", "strategy.fraction": 0.5, "workers": 4, "lr": 0.05,
        "cluster.name": "simulated", "cluster.slow": "0:2 1:3", "augment": False,
    }  # fmt: skip
    first, last = content.points
    assert "train_loss" not in first.numbers
    assert (last.samples, last.time, last.numbers["figures/replies"]) == (800, STARTED + 1.5, 4)
    assert content.class_accuracy == {"cat": 0.5, "T-shirt/top": 0.25}
    assert (content.started, content.ended) == (STARTED, STARTED + 1.5)


def test_tensorboard_reads_the_history(run: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # what was there is replaced
        assert export_runs([run], "tensorboard", run.parent) == f"tensorboard --logdir {run.parent}"
    read = EventAccumulator(str(run)).Reload()
    accuracies = [(event.step, event.wall_time, event.value) for event in read.Scalars("test_accuracy")]
    assert accuracies == [(0, STARTED, pytest.approx(0.1)), (800, STARTED + 1.5, pytest.approx(0.7))]
    tags = {*ROWS[0].keys() - {"figures"}, "figures/replies", "class_accuracy/cat", "class_accuracy/T-shirt/top"}
    assert set(read.Tags()["scalars"]) == tags
    assert [event.value for event in read.Scalars("class_accuracy/cat")] == [0.5]


def test_tensorboard_shows_the_parameters(run: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    export_runs([run], "tensorboard", run.parent)
    read = EventAccumulator(str(run)).Reload()
    told = dict(read.PluginTagToContent("hparams"))
    start = metadata.parse_session_start_info_plugin_data(told[metadata.SESSION_START_INFO_TAG])
    assert start.hparams["strategy.fraction"].number_value == 0.5
    assert start.hparams["strategy.name"].string_value == "fedavg"
    assert start.start_time_secs == STARTED
    end = metadata.parse_session_end_info_plugin_data(told[metadata.SESSION_END_INFO_TAG])
    assert end.end_time_secs == STARTED + 1.5
    names = {info.name for info in metadata.parse_experiment_plugin_data(told[metadata.EXPERIMENT_TAG]).hparam_infos}
    assert names == set(start.hparams)


@pytest.mark.slow
@pytest.mark.parametrize("own", [True, False], ids=["file", "beside"])
def test_mlflow_reads_the_run(run: Path, own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{(run.parent / 'mlflow.db').resolve()}"
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if own:
        uri = (tmp_path / "store").as_uri()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    for _ in range(2):  # what was there is replaced
        assert export_runs([run], "mlflow", run.parent) == f"mlflow ui --backend-store-uri {uri}"
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("manyhands")
    [found] = client.search_runs([experiment.experiment_id])
    assert found.data.params["strategy.fraction"] == "0.5"
    assert found.data.metrics["test_accuracy"] == 0.7
    assert found.data.metrics["class_accuracy/T-shirt/top"] == 0.25
    assert found.data.tags["mlflow.runName"] == run.name
    assert (found.info.status, found.info.start_time) == ("FINISHED", 1000 * STARTED)
    history = client.get_metric_history(found.info.run_id, "test_loss")
    assert [(m.step, m.timestamp, m.value) for m in history] == [
        (0, 1000 * STARTED, 2.3),
        (800, 1000 * STARTED + 1500, 0.9),
    ]
    assert {file.path for file in client.list_artifacts(found.info.run_id)} == {"run.json", "evaluation.json"}


def uninstall(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {package, *(name for name in sys.modules if name.startswith(f"{package}."))}:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"manyhands.export.{package}", raising=False)


@pytest.mark.parametrize("tool", ["tensorboard", "mlflow"])
def test_a_missing_package_is_one_clear_line(tool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall(tool, monkeypatch)
    with pytest.raises(UserError, match=rf"to export to {tool}, \S+ is needed: pip install 'manyhands\[{tool}\]'"):
        check_tools([tool])


def test_the_command_takes_runs_studies_and_folders(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs" / "study" / "01-fedavg")
    (tmp_path / "runs" / "study" / "study.json").write_text(json.dumps({"format": 1, "runs": ["01-fedavg"]}))
    assert main(["export", "runs/study", "--to", "tensorboard"]) == 0
    assert capsys.readouterr().out == "view with: tensorboard --logdir runs\n"
    assert (tmp_path / "runs/study/01-fedavg/events.out.tfevents.manyhands").is_file()
    assert main(["export", "runs", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["viewers"] == {"tensorboard": "tensorboard --logdir runs"}
    assert len(told["runs"]) == 2
    assert main(["export", f"runs/{run.name}", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["export", "nowhere"]) == 2
    assert main(["export", "runs", "--to", "excel"]) == 2
    assert "tensorboard or mlflow, not 'excel'" in capsys.readouterr().err


def test_train_and_compare_export_at_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    monkeypatch.chdir(tmp_path)
    tiny = ["--task", "mnist-mini/logistic", "--batch-size", "100", "--samples", "400", "--epochs", "1"]
    assert main(["train", *tiny, "--workers", "2", "--export", "tensorboard", "--out", "runs/one", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["viewers"] == {"tensorboard": "tensorboard --logdir runs"}
    compare = ["compare", *tiny, "--cluster", "simulated", "--strategies", "gossip", "--export", "tensorboard"]
    assert main([*compare, "--out", "runs/study"]) == 0
    assert "view with: tensorboard --logdir runs\n" in capsys.readouterr().out
    written = sorted(path.parent.name for path in tmp_path.rglob("*tfevents*"))
    assert written == ["01-single", "02-gossip", "one"]
    shutil.rmtree(tmp_path / "runs")
    uninstall("mlflow", monkeypatch)
    assert main(["train", *tiny, "--export", "mlflow"]) == 2
    assert "pip install 'manyhands[mlflow]'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()  # found out before the training


def test_numbers_that_are_none_are_left_out(run: Path) -> None:
    (run / "history.jsonl").write_text(json.dumps(ROWS[0] | {"test_loss": math.inf}) + "\n")
    [point] = Content.of(RunView.read(run)).points
    assert "test_loss" not in point.numbers
