"""``manyhands train``: one run, a saved one again, a stopped one further."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from manyhands.cli import progress
from manyhands.cli.main import main
from manyhands.lab import train
from manyhands.runs.folder import RunFolder
from manyhands.runs.recorder import Observer, Row
from manyhands.runs.specification import Specification, read_specification
from manyhands.terminal import Bar

TINY = ["train", "--task", "mnist-mini/logistic", "--batch-size", "100", "--workers", "2"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def test_two_runs_get_two_folders(capsys: pytest.CaptureFixture[str]) -> None:
    folders = []
    for _ in range(2):
        assert main([*TINY, "--epochs", "1"]) == 0
        summary, place = lines(capsys)
        assert re.fullmatch(
            r"test accuracy \d+\.\d\d\s%, loss \d\.\d{4} after 1 epochs, .+ on the cluster's clock", summary
        )
        folders.append(place)
    assert len(set(folders)) == 2
    assert all(RunFolder(Path(folder)).read_run()["status"] == "finished" for folder in folders)


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--epochs", "1", "--out", "run", "--json"]) == 0
    [line] = lines(capsys)
    row = json.loads(line)
    assert row["folder"] == "run"
    assert 0 <= row["test_accuracy"] <= 1


def test_a_private_run_says_what_it_promises(capsys: pytest.CaptureFixture[str]) -> None:
    """Once, in words or as numbers, and nothing of what the accountant has to say besides."""
    private = [*TINY, "--strategy", "fedavg", "--rounds", "1", "--strategy.privacy", "dp:1,1"]
    assert main([*private, "--out", "words"]) == 0
    promise = lines(capsys)[1]
    assert re.fullmatch(r"towards clients differentially private with ε = \d\.\d+ at δ = 1e-05", promise)
    assert main([*private, "--out", "numbers", "--json"]) == 0
    [line] = lines(capsys)
    facts = json.loads(line)["facts"]
    assert facts["delta"] == 1e-5
    assert f"ε = {facts['epsilon']:.4g} " in promise


def test_quiet_prints_the_place_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--epochs", "1", "--out", "run", "--quiet"]) == 0
    assert lines(capsys) == ["run"]


def test_a_folder_that_holds_something_is_left_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    assert main([*TINY, "--out", "mine"]) == 2
    assert "mine is not empty: give --out a new folder" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_saved_specification_gives_the_same_run_again_or_a_changed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--epochs", "1", "--strategy", "local-sgd", "--strategy.period", "3", "--out", "a"]) == 0
    assert main(["train", "--from", "a/run.json", "--out", "b"]) == 0
    assert main(["train", "--from", "a", "--seed", "1", "--out", "c"]) == 0
    a, b, c = (RunFolder(Path(name)) for name in "abc")
    assert a.read_run()["specification"] == b.read_run()["specification"]
    assert a.read_history() == b.read_history()
    assert c.read_run()["specification"] == a.read_run()["specification"] | {"seed": 1}
    assert c.read_history() != a.read_history()


def test_a_stopped_run_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    def stop(row: Row) -> None:
        if row["completed"] == 2:
            raise KeyboardInterrupt

    assert main([*TINY, "--epochs", "3", "--out", "whole"]) == 0
    whole, stopped = RunFolder(Path("whole")), RunFolder(Path("stopped"))
    with pytest.raises(KeyboardInterrupt):
        train(read_specification(whole), out=stopped.path, observer=stop)
    assert stopped.read_run()["status"] == "stopped"
    assert main(["train", "--resume", "stopped", "--quiet"]) == 0
    same(stopped, whole)


def test_a_run_killed_after_its_last_checkpoint_has_only_to_be_called_finished(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*TINY, "--epochs", "1", "--out", "whole"]) == 0
    whole, stopped = RunFolder(Path("whole")), RunFolder(Path("stopped"))
    shutil.copytree(whole.path, stopped.path)
    stopped.update_run(status="running")
    assert main(["train", "--resume", "stopped"]) == 0
    same(stopped, whole)


def same(run: RunFolder, other: RunFolder) -> None:
    assert run.read_run()["status"] == "finished"
    assert run.read_history() == other.read_history()
    for name in ("model.safetensors", "evaluation.json", "ledger.json"):
        assert (run.path / name).read_bytes() == (other.path / name).read_bytes()


@pytest.mark.parametrize("flags", [["--lr", "0.1"], ["--out", "new"], ["--from", "a"], ["--strategy", "gossip"]])
def test_resume_takes_no_flags_of_a_new_run(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    if "--from" in flags:
        assert main([*TINY, "--epochs", "1", "--out", "a", "--quiet"]) == 0
        capsys.readouterr()
    assert main(["train", "--resume", "anything", *flags]) == 2
    assert "--resume goes on with a run as it was" in capsys.readouterr().err


@pytest.mark.parametrize(("epoch", "advice"), [(0, ""), (1, "; go on with: manyhands train --resume run")])
def test_ctrl_c_tells_how_to_go_on(
    epoch: int, advice: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Impatient(progress.Watcher):
        @contextmanager
        def run(self, label: str, specification: Specification) -> Iterator[Observer]:
            def stop(row: Row) -> None:
                if row["completed"] == epoch:
                    raise KeyboardInterrupt

            yield stop

    monkeypatch.setattr(progress, "watching", lambda runs: nullcontext(Impatient(runs, Bar("", runs, ""))))
    assert main([*TINY, "--epochs", "3", "--out", "run"]) == 130
    assert capsys.readouterr().err == f"manyhands: interrupted{advice}\n"
    assert RunFolder(Path("run")).read_run()["status"] == "stopped"


def test_auto_says_which_precision_it_chose(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manyhands.training.precision.PROBE_SECONDS", 0.05)
    assert main([*TINY, "--epochs", "1", "--precision", "auto", "--out", "run"]) == 0
    chosen = RunFolder(Path("run")).read_run()["precision"]
    assert lines(capsys)[0] == f"precision {chosen['chosen']}, {chosen['why']}"
    assert chosen["why"].startswith("auto: ")
