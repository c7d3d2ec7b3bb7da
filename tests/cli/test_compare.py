"""``manyhands compare``: many runs, one table, one page."""

import json
from pathlib import Path

import pytest

from manyhands.cli.main import main
from manyhands.strategies import STRATEGIES

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


CROSSED = [*TINY[:-2], "--strategies", "gossip", "local-sgd", "--workers", "2", "--seeds", "0", "1"]
CROSSED += ["--partition", "iid", "dirichlet:0.5", "--stragglers", "none", "1:4", "--one-at-a-time", "--target", "0.2"]


def test_conditions_have_a_table_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*CROSSED, "--out", "study"]) == 0
    captured = capsys.readouterr()
    table = captured.out[captured.out.index("Time to 20") :].splitlines()
    assert max(map(len, table)) <= 80
    assert [line.split()[0] for line in table if line.startswith(("gossip", "local-sgd"))] == ["gossip", "local-sgd"]
    assert "14/14 local-sgd ×2 dirichlet:0.5 seed 1" in captured.err
    assert "local-sgd ×2 slow 1:4 seed 0" in captured.err
    assert json.loads(Path("study/study.json").read_text())["factors"][-2:] == ["seed", "stragglers"]


def test_json_tells_the_times_under_each_condition(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*CROSSED, "--json"]) == 0
    study = json.loads(capsys.readouterr().out)
    assert [(row["partition"], row["stragglers"]) for row in study["rows"]][1:4] == [
        ("iid", ""),
        ("iid", "1:4"),
        ("dirichlet:0.5", ""),
    ]
    (table,) = study["time_to_accuracy"]
    assert (table["clock"], table["target"], table["reference"]) == ("simulated", 0.2, "iid")
    by_name = {(time["strategy"], time["condition"]): time for time in table["times"]}
    assert len(by_name) == len(table["times"]) == 6
    slow, usual = by_name["local-sgd", "iid, slow 1:4"], by_name["local-sgd", "iid"]
    assert usual["factor"] is None
    assert slow["seconds"]["n"] == 2
    assert slow["factor"]["mean"] == pytest.approx(slow["seconds"]["mean"] / usual["seconds"]["mean"])
    assert slow["factor"]["mean"] > 1.5  # the last worker decides


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


@pytest.mark.parametrize(
    ("flags", "used"),
    [
        ([], {"single": ("sgd", 0.05), "gossip": ("adamw", 0.001)}),
        (["--lr", "0.1"], {"single": ("sgd", 0.1), "gossip": ("adamw", 0.1)}),
        (["--optimizer", "lamb"], {"single": ("lamb", 0.01), "gossip": ("lamb", 0.01)}),
        (["--optimizer.momentum", "0.5"], {"single": ("sgd", 0.05), "gossip": ("sgd", 0.05)}),
    ],
)
def test_each_strategy_takes_its_own_optimizer_unless_one_is_given(
    flags: list[str], used: dict[str, tuple[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(STRATEGIES["gossip"], "default_optimizer", "adamw")
    assert main([*TINY, "--strategies", "gossip", "--samples", "200", "--out", "study", "--quiet", *flags]) == 0
    saved = [json.loads(path.read_text())["specification"] for path in sorted(Path("study").glob("*/run.json"))]
    assert {one["strategy"]["name"]: (one["optimizer"]["name"], one["lr"]) for one in saved} == used
    assert not {"optimizer", "lr"} & set(json.loads(Path("study/study.json").read_text())["factors"])
