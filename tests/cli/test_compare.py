"""``manyhands compare``: many runs, one table, one page."""

import json
from pathlib import Path

import pytest

from manyhands.cli.main import main

TINY = ["compare", "--task", "mnist-mini/logistic", "--batch-size", "100", "--epochs", "1", "--cluster", "simulated"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_table_fits_80_columns_and_the_report_comes_last(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--strategies", "gossip,fedavg:fraction=0.5", "parameter-server:consistency=async"]) == 0
    captured = capsys.readouterr()
    *table, last = captured.out.splitlines()
    assert Path(last).is_file()
    assert Path(last).name == "report.html"
    assert max(map(len, table)) <= 80
    text = "\n".join(table)
    assert all(name in text for name in ("single", "gossip", "fedavg", "parameter-server"))
    assert [line.partition(":")[0] for line in captured.err.splitlines()] == [
        "1/4 single",
        "2/4 gossip ×8",
        "3/4 fedavg",
        "4/4 parameter-server",
    ]


def test_json_has_a_row_for_each_series(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--strategies", "local-sgd", "--workers", "2", "4", "--seeds", "0", "1", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    study = json.loads(captured.out)
    assert Path(study["report"]).parent == Path(study["folder"])
    rows = study["rows"]
    assert [(row["strategy"], row["workers"], len(row["runs"])) for row in rows] == [
        ("single", 1, 2),
        ("local-sgd", 2, 2),
        ("local-sgd", 4, 2),
    ]
    for row in rows:
        assert 0 <= row["accuracy"]["mean"] <= 1
        assert row["accuracy"]["half"] >= 0
        assert row["accuracy"]["n"] == 2


def test_quiet_prints_the_report_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--strategies", "gossip", "--out", "study", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("study/report.html\n", "")


def test_failed_runs_are_reported_and_the_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    argv = [*TINY, "--strategies", "gossip", "local-sgd", "--lr", "1e38", "--out", "study"]
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == "study/report.html"
    assert captured.err.splitlines()[-1].startswith("manyhands: error: 3 of 3 runs failed, first 01-single: the ")
    assert all((Path("study") / run / "run.json").exists() for run in ("01-single", "02-gossip", "03-local-sgd"))
