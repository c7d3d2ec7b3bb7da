"""The index: what it finds, what it says of damaged folders, and that it reads only what changed."""

import json
from pathlib import Path
from types import ModuleType

import pytest

from manyhands.errors import UserError
from manyhands.ui import index as module
from manyhands.ui.index import Index, OutsideError


@pytest.fixture
def index(root: Path) -> Index:
    made = Index(root)
    made.refresh()
    return made


def test_runs_and_studies_are_found_however_deep(index: Index) -> None:
    assert set(index.studies) == {"six"}
    assert index.studies["six"]["planned"] == 7
    assert {"done", "going", "damaged", "deep/er/<script>alert(1)<", "six/gossip-0"} <= index.runs.keys()
    assert index.runs["six/gossip-0"]["study"] == "six"
    assert index.runs["done"]["study"] is None
    assert len(index.runs_of("six")) == 7


def test_a_run_tells_its_last_row(index: Index, root: Path) -> None:
    row = json.loads((root / "done" / "history.jsonl").read_text().splitlines()[-1])
    run = index.runs["done"]
    assert run["accuracy"] == (row["test_accuracy"], f"{100 * row['test_accuracy']:.2f}\u00a0%")
    assert (run["strategy"], run["workers"], run["seed"], run["status"]) == ("gossip", 8, 3, "finished")
    assert (run["completed"], run["total"], run["unit"]) == (10, 10, "epoch")


def test_only_what_changed_is_read_again(index: Index, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    last_row = module.last_row
    monkeypatch.setattr(module, "last_row", lambda folder: read.append(folder) or last_row(folder))
    assert not index.refresh()
    assert read == []
    with (root / "going" / "history.jsonl").open("a") as file:
        file.write('{"epoch": 6.0, "completed": 6, "test_accuracy": 0.5}\n')
    assert index.refresh().changed == {"going"}
    assert read == [index.root / "going"]
    assert index.runs["going"]["accuracy"][0] == 0.5


def test_what_is_gone_is_told(index: Index, root: Path) -> None:
    (root / "done").rename(root / "elsewhere")
    changes = index.refresh()
    assert (changes.gone, changes.changed) == ({"done"}, {"elsewhere"})
    assert "done" not in index.runs


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"format": 1', "run.json is damaged: it must hold one JSON object"),
        ("[]", "run.json is damaged: it must hold one JSON object"),
        ('{"format": 99}', "run.json has format 99"),
        ('{"format": 1, "specification": {"task": "a"}}', "run.json is damaged: its 'specification' must name"),
        ("\udcff", "run.json is damaged"),
    ],
)
def test_a_damaged_run_says_so_and_breaks_nothing(index: Index, root: Path, content: str, problem: str) -> None:
    (root / "done" / "run.json").write_text(content, errors="surrogateescape")
    assert "done" in index.refresh().changed
    assert index.runs["done"]["status"] == "damaged"
    assert index.runs["done"]["problem"].startswith(problem)
    assert index.runs["six/gossip-0"]["status"] == "finished"


@pytest.mark.parametrize("tail", ["{", '{"epoch": 6.0, "test_acc', "[1]\n", "null\n", "\udcff\n", "\n\n"])
def test_the_last_whole_row_counts(index: Index, root: Path, tail: str) -> None:
    before = index.runs["going"]["accuracy"]
    with (root / "going" / "history.jsonl").open("a", errors="surrogateescape") as file:
        file.write(tail)
    index.refresh()
    assert index.runs["going"]["accuracy"] == before


def test_a_run_without_rows_is_listed(index: Index, root: Path) -> None:
    (root / "going" / "history.jsonl").unlink()
    index.refresh()
    assert index.runs["going"]["accuracy"] == (None, "–")
    assert index.runs["going"]["completed"] is None


def test_a_damaged_study_keeps_its_runs(index: Index, root: Path) -> None:
    (root / "six" / "study.json").write_text("{")
    index.refresh()
    assert "damaged" in index.studies["six"]["problem"]
    assert len(index.runs_of("six")) == 7


def test_a_strategy_of_somebody_else_is_listed(fake: ModuleType, index: Index, root: Path) -> None:
    fake.write_run(root / "own", "their-own", options={"x": 1})
    index.refresh()
    assert (index.runs["own"]["written"], index.runs["own"]["total"]) == ("their-own", None)


def test_links_are_not_followed(index: Index) -> None:
    assert "link" not in index.runs
    assert index.runs["leaky"]["status"] == "damaged"
    assert "history.jsonl is a link that leads out of" in index.runs["leaky"]["problem"]
    with pytest.raises(OutsideError, match=r"history\.jsonl is a link"):
        index.folder("leaky")


@pytest.mark.parametrize("id_", ["../outside", "..", "/etc", "link", "six/../../outside"])
def test_what_lies_outside_is_refused(index: Index, id_: str) -> None:
    with pytest.raises(OutsideError, match="is not in"):
        index.folder(id_)


@pytest.mark.parametrize("id_", ["nothing", "", "six/nothing", "deep"])
def test_what_is_not_there_is_said(index: Index, id_: str) -> None:
    with pytest.raises(UserError, match="no run or study"):
        index.folder(id_)


def test_the_folder_may_be_a_run_itself(root: Path) -> None:
    index = Index(root / "done")
    index.refresh()
    assert list(index.runs) == ["."]
    assert index.folder(".") == (root / "done").resolve()


def test_an_absent_folder_is_empty(tmp_path: Path) -> None:
    index = Index(tmp_path / "nothing")
    assert not index.refresh()
    assert index.runs == {}


def test_not_more_folders_than_a_limit_are_looked_into(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FOLDERS", 3)
    index = Index(root)
    index.refresh()
    assert index.cut
