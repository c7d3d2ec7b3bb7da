"""``manyhands compare``: many runs, one table, one page."""

import json
import shutil
import sys
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


STUDY = """\
from manyhands import Specification
from manyhands.strategies import FedAvg
from manyhands.tasks.partition import Dirichlet

NAME = "Two fractions"
TARGET = 0.5

def specifications():
    return [
        Specification(
            task="mnist-mini/logistic", strategy=FedAvg(fraction=fraction), workers=4, rounds=3, batch_size=100,
            samples=1000, partition=Dirichlet(1.0), seed=seed,
        )
        for seed in (0, 1) for fraction in (0.5, 1.0)
    ]
"""


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "shares.py"
    path.write_text(STUDY)
    return path


def test_a_study_in_a_file(study_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--from", "shares.py"]) == 0
    captured = capsys.readouterr()
    assert [line.partition(": test accuracy")[0] for line in captured.err.splitlines()] == [
        "1/4 fedavg:fraction=0.5 seed 0",
        "2/4 fedavg seed 0",
        "3/4 fedavg:fraction=0.5 seed 1",
        "4/4 fedavg seed 1",
    ]
    *text, report = captured.out.splitlines()
    folder = Path(report).parent
    assert folder.name.endswith("-shares")
    assert max(map(len, text)) <= 80
    assert "Rounds to 50\u00a0%" in captured.out
    study = json.loads((folder / "study.json").read_text())
    assert (study["name"], study["target"], study["factors"]) == ("Two fractions", 0.5, ["strategy", "seed"])
    assert "Rounds to accuracy" in Path(report).read_text()


def test_the_table_groups_the_runs_of_a_file_by_strategy_over_seeds(
    study_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "--from", "shares.py", "--json"]) == 0
    study = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["accuracy"]["n"]) for row in study["rows"]] == [
        ("fedavg · fraction 0.5", 2),
        ("fedavg · fraction 1.0", 2),
    ]
    for row in study["rows"]:
        finals = [json.loads((Path(run) / "history.jsonl").read_text().splitlines()[-1]) for run in row["runs"]]
        assert row["accuracy"]["mean"] == pytest.approx(sum(final["test_accuracy"] for final in finals) / 2)
        assert row["accuracy"]["half"] > 0
    (table,) = study["rounds_to_accuracy"]
    assert [line["rounds"]["n"] for line in table["series"]] == [2, 2]
    assert all(1 <= line["rounds"]["mean"] <= 3 for line in table["series"])


def test_flags_change_a_file(study_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--seeds", "7", "--rounds", "2", "--samples", "500", "--evaluate-every", "2", "--out", "study", "--quiet"]
    assert main(["compare", "--from", "shares.py", *flags]) == 0
    saved = [json.loads(path.read_text())["specification"] for path in sorted(Path("study").glob("*/run.json"))]
    changed = [(one["seed"], one["rounds"], one["samples"], one["evaluate_every"]) for one in saved]
    assert changed == [(7, 2, 500, 2)] * 2
    assert capsys.readouterr().out == "study/report.html\n"


def test_a_stopped_study_goes_on(
    study_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from manyhands.runs.recorder import Recorder

    whole, rows = Recorder.record, []

    def record(*arguments: object, **quantities: object) -> None:
        rows.append(quantities)
        if len(rows) == 7:  # three of the second run's four
            raise KeyboardInterrupt
        whole(*arguments, **quantities)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "record", record)
        assert main(["compare", "--from", "shares.py", "--out", "study"]) == 130
    assert "interrupted; go on with: manyhands compare --resume study" in capsys.readouterr().err
    assert main(["compare", "--resume", "study"]) == 0
    captured = capsys.readouterr()
    assert [line[:3] for line in captured.err.splitlines()] == ["1/3", "2/3", "3/3"]
    assert captured.out.splitlines()[-1] == "study/report.html"
    assert main(["compare", "--resume", "study", "--json"]) == 0
    study = json.loads(capsys.readouterr().out)
    assert [row["accuracy"]["n"] for row in study["rows"]] == [2, 2]
    assert len(study["rounds_to_accuracy"]) == 1, "the file's target is kept"


OWN = """\
from dataclasses import dataclass, replace
from manyhands import Node, Processes, Simulated, Specification, Strategy, register

NAME = "Of my own"

@register("own-mean")
@dataclass(frozen=True, kw_only=True)
class OwnMean(Strategy):
    \"""All-reduce, written down again.\"""

    async def worker(self, node: Node) -> None:
        async for batch in node.batches():
            node.step(await node.mean_gradient(batch))

def specifications():
    own = Specification(task="mnist-mini/logistic", strategy=OwnMean(), workers=2, samples=256, epochs=1)
    return [replace(own, cluster=cluster) for cluster in (Simulated(), Processes())]
"""


def test_a_file_can_have_a_strategy_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def as_in_a_new_process(*argv: str) -> int:
        try:
            return main(["compare", "--quiet", *argv])
        finally:
            STRATEGIES.pop("own-mean", None)
            sys.modules.pop("own_mean", None)

    (tmp_path / "own_mean.py").write_text(OWN)
    assert as_in_a_new_process("--from", "own_mean.py", "--out", "study") == 0
    simulated, real = (Path("study") / name for name in ("01-own-mean", "02-own-mean"))
    whole = (simulated / "history.jsonl").read_text()
    assert json.loads((real / "run.json").read_text())["status"] == "finished"
    shutil.rmtree(simulated)
    assert as_in_a_new_process("--resume", "study") == 0
    assert (simulated / "history.jsonl").read_text() == whole

    shutil.rmtree(simulated)
    (tmp_path / "own_mean.py").rename(tmp_path / "elsewhere.py")
    capsys.readouterr()
    assert as_in_a_new_process("--resume", "study") == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert "unknown strategy 'own-mean'" in message
    assert message.endswith("own_mean.py is gone)")


def test_rounds_without_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    argv = [*TINY, "--strategies", "fedavg", "--rounds", "2", "--target", "0.99", "--json"]
    assert main(argv) == 0
    study = json.loads(capsys.readouterr().out)
    (table,) = study["rounds_to_accuracy"]
    assert [(line["strategy"], line["rounds"]) for line in table["series"]] == [("fedavg", None)]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--from", "nothing.py"], "cannot read nothing.py (No such file or directory): --from takes a study"),
        (["--from", "broken.py"], "broken.py, line 2: NameError: name 'x' is not defined"),
        (["--from", "shares.py", "--workers", "4"], "--from runs a study as its file has it: leave out --workers"),
        (["--from", "shares.py", "--rounds", "0"], "--rounds must be positive and finite, not 0"),
        (["--from", "shares.py", "--target", "95"], "--target is an accuracy above 0 and up to 1"),
        (["--resume", "nothing"], "study.json is missing"),
        (["--resume", "nothing", "--seeds", "1"], "--resume goes on with a study as it was: leave out --seeds"),
        (["--resume", "nothing", "--from", "shares.py"], "leave out --from; what can be given is --target"),
        (["--strategies", "gossip", "--rounds", "2"], "--rounds is for federated strategies"),
    ],
)
def test_bad_studies_are_told_in_one_line(
    argv: list[str], message: str, study_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("broken.py").write_text("NAME = 'x'\nx\n")
    assert main(["compare", *argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("manyhands: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not Path("runs").exists()
