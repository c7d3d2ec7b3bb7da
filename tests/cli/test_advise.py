"""``manyhands advise``: a ranking with its reasons."""

import json
from pathlib import Path

import pytest

from manyhands.cli.main import main

TINY = ["advise", "--task", "mnist-mini/logistic", "--samples", "2000", "--network", "10G", "--out", "out"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_table_fits_80_columns_and_says_how_sure_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--target", "0.8"]) == 0
    captured = capsys.readouterr()
    *table, last = captured.out.splitlines()
    assert last == "out"
    assert max(map(len, table)) <= 80
    text = " ".join(captured.out.split())
    for words in ("reached 80.0 % after", "noise scale φ:", "* at best", "goodput", "Best without a mark", "±"):
        assert words in text.replace("\u00a0", " ")


def test_json_ranks_all_and_shows_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main([*TINY, "--target", "0.8", "--strategies", "all-reduce", "gossip", "--workers", "1", "4", "--json"]) == 0
    )
    captured = capsys.readouterr()
    assert captured.err == ""
    content = json.loads(captured.out)
    assert json.loads(Path("out/advice.json").read_text()).items() <= content.items()
    options = content["options"]
    assert {(one["name"], one["workers"]) for one in options} == {("single", 1), ("all-reduce", 4), ("gossip", 4)}
    times = [one["seconds"]["value"] for one in options]
    assert times == sorted(times)
    assert {one["name"] for one in options if one["optimistic"]} == {"gossip"}
    assert content["reference"]["reached"]
    assert content["reference"]["points"]


def test_a_target_out_of_reach(capsys: pytest.CaptureFixture[str]) -> None:
    argv = [*TINY, "--target", "0.999", "--epochs", "1", "--workers", "2", "--strategies", "all-reduce"]
    assert main(argv) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "did not reach" in text
    assert "ranked by goodput, times are unknown" in text


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--target", "90"], "between 0 and 1"),
        (["--workers", "9000"], "9000 is more than"),
        (["--network", "x"], "network"),
    ],
)
def test_bad_input(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--strategies", "all-reduce", *flags]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error
    assert not Path("out").exists()
