"""A run's folder is never half-written."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from manyhands.errors import RunError, UserError
from manyhands.runs.folder import FORMAT, RunFolder, disk_errors, new_run_path


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", {"run.json": {"format": FORMAT, "status": "running"}})


def files(folder: RunFolder) -> set[str]:
    return {str(path.relative_to(folder.path)) for path in folder.path.rglob("*") if path.is_file()}


def test_a_new_folder_has_its_files(folder: RunFolder) -> None:
    assert files(folder) == {"run.json"}
    assert folder.read_run() == {"format": FORMAT, "status": "running"}


def test_an_empty_folder_may_be_used_and_another_not(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, {})
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is not empty: give --out a new folder"):
        RunFolder.create(tmp_path, {"run.json": {}})
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_cannot_have_all_its_files_has_none(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        RunFolder.create(tmp_path / "run", {"run.json": {}, "partition.json": object()})
    assert not (tmp_path / "run").exists()


def test_a_file_is_replaced_whole_or_not_at_all(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(RunError, match="Input/output error"):
        folder.update_run(status="finished")
    assert folder.read_run()["status"] == "running"
    assert files(folder) == {"run.json"}


def test_history_is_read_up_to_its_last_whole_row(folder: RunFolder) -> None:
    assert folder.read_history() == []
    for number in range(3):
        folder.append_row("history.jsonl", {"completed": number})
    with (folder.path / "history.jsonl").open("a") as file:
        file.write('{"completed": 3')
    assert folder.read_history() == [{"completed": number} for number in range(3)]
    folder.cut_rows("history.jsonl", 2)
    assert (folder.path / "history.jsonl").read_text() == '{"completed": 0}\n{"completed": 1}\n'


def test_a_damaged_row_is_an_error(folder: RunFolder) -> None:
    (folder.path / "history.jsonl").write_text('{"completed"\n{"completed": 1}\n')
    with pytest.raises(UserError, match=r"history\.jsonl is damaged"):
        folder.read_history()


def test_the_newest_checkpoint_alone_is_kept(folder: RunFolder) -> None:
    for completed in (1, 2, 10):
        folder.write_checkpoint({"completed": completed}, bytes([completed]))
        assert folder.read_checkpoint() == ({"completed": completed}, bytes([completed]))
    folder.write_checkpoint({"completed": 10, "again": True}, b"x")
    assert folder.read_checkpoint() == ({"completed": 10, "again": True}, b"x")
    assert [path.name for path in folder.checkpoints()] == ["000010"]
    assert files(folder) == {"run.json", "checkpoints/000010/state.json", "checkpoints/000010/tensors.safetensors"}


def test_a_checkpoint_that_fails_leaves_the_one_before(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write_checkpoint({"completed": 1}, b"good")
    calls = []

    def second_fails(_: int) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", second_fails)
    with pytest.raises(RunError, match="make room"):
        folder.write_checkpoint({"completed": 2}, b"better")
    assert folder.read_checkpoint() == ({"completed": 1}, b"good")
    assert [path.name for path in (folder.path / "checkpoints").iterdir()] == ["000001"]


def test_what_was_being_written_when_the_machine_died_is_no_checkpoint(folder: RunFolder) -> None:
    folder.write_checkpoint({"completed": 1}, b"good")
    (folder.path / "checkpoints" / ".000002.new").mkdir()
    assert folder.read_checkpoint() == ({"completed": 1}, b"good")
    folder.write_checkpoint({"completed": 2}, b"better")
    assert folder.read_checkpoint() == ({"completed": 2}, b"better")


def test_no_checkpoint(folder: RunFolder) -> None:
    assert folder.checkpoints() == []
    with pytest.raises(UserError, match="has no checkpoint to resume from"):
        folder.read_checkpoint()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"run\.json is missing: .* is not a run's folder"),
        ("{", r"run\.json is damaged"),
        ("[1]", r"run\.json is damaged \(no format number\)"),
        ('{"format": "1"}', r"run\.json is damaged \(no format number\)"),
        (json.dumps({"format": FORMAT + 1}), f"has format {FORMAT + 1}, but this version reads formats up to {FORMAT}"),
    ],
)
def test_a_run_json_that_cannot_be_used(folder: RunFolder, content: str | None, message: str) -> None:
    path = folder.path / "run.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(UserError, match=message):
        folder.read_run()


def test_new_paths_differ_even_within_a_second(tmp_path: Path) -> None:
    paths: set[Path] = set()
    for _ in range(5):
        path = new_run_path(tmp_path, "gossip")
        path.mkdir()
        paths.add(path)
    assert len(paths) == 5
    assert all("gossip" in path.name for path in paths)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (PermissionError(13, "Permission denied"), UserError, "give --out a folder that can be written"),
        (NotADirectoryError(20, "Not a directory"), UserError, "give --out a folder that can be written"),
        (OSError(30, "Read-only file system"), UserError, "give --out a folder that can be written"),
        (OSError(28, "No space left on device"), RunError, "make room or give --out another folder"),
    ],
)
def test_what_the_file_system_refuses_is_told_in_one_line(error: OSError, kind: Any, words: str) -> None:
    with pytest.raises(kind) as caught, disk_errors(Path("runs/x")):
        raise error
    assert str(caught.value) == f"cannot write to runs/x ({error.strerror}): {words}"
