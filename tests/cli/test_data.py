"""``manyhands data``: list, fetch, check and show."""

import json
import shutil
from pathlib import Path

import pytest

from manyhands.cli.main import main
from manyhands.tasks.datasets.catalogue import CARDS
from manyhands.tasks.datasets.registry import EMBEDDED


@pytest.mark.parametrize("argv", [["data"], ["data", "list"]])
def test_list_names_every_data_set(argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*argv, "--data-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: line for line in out.splitlines() if line.split()[0] in CARDS}
    assert set(rows) == set(CARDS)
    assert max(map(len, out.splitlines()[:-1])) <= 80
    assert "embedded" in rows["mnist-mini"]
    assert "missing" in rows["cifar10"]
    assert str(tmp_path) in out.splitlines()[-1]


def test_list_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list", "--json", "--data-dir", str(tmp_path)]) == 0
    listed = json.loads(capsys.readouterr().out)["data_sets"]
    missing = {row["name"]: len(row["missing"]) for row in listed}
    assert missing == {"mnist-mini": 0, "mnist": 4, "fashion-mnist": 4, "cifar10": 6, "cifar100": 2}


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", "mnist-mini"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    out = " ".join(out.split())
    assert "6,000 training and 1,000 test images" in out
    assert "CC BY-SA 3.0" in out
    assert "█" in out
    assert main(["data", "show", "mnist-mini", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (sum(shown["train_counts"]), sum(shown["test_counts"])) == (6000, 1000)


def test_check_of_whole_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "mnist-mini"]) == 0
    assert capsys.readouterr().out.count("is whole\n") == 4
    assert main(["data", "check", "mnist-mini", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["whole"] is True


def test_check_finds_files_of_another_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(EMBEDDED / "mnist-mini", tmp_path / "mnist")
    assert main(["data", "check", "mnist", "--data-dir", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out.count("has ") == 4
    assert captured.err.count("\n") == 1
    assert "train-images-idx3-ubyte.gz has 969,511 bytes, not 9,912,422: run manyhands data fetch mnist" in captured.err


def test_fetch_of_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "fetch", "mnist-mini"]) == 0
    assert capsys.readouterr().out == f"{EMBEDDED}\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["fetch"], "fetch needs a data set's name"),
        (["list", "mnist"], "list takes no name"),
        (["show", "imagenet"], "unknown data set 'imagenet': choose from mnist-mini, mnist"),
        (["burn"], "ACTION must be list or fetch or check or show, not 'burn'"),
    ],
)
def test_refusals(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", *argv]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"manyhands: error: {message}")
    assert captured.err.count("\n") == 1
