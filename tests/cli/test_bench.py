"""``manyhands bench``: four kinds, a folder each, one line for what cannot be."""

import csv
import json
from pathlib import Path

import pytest

from manyhands.cli import bench as command
from manyhands.cli.main import main
from manyhands.errors import RunError

KINDS = ("communication", "batch-size", "scaling", "large-batch")
SMALL = ["--task", "mnist-mini/logistic", "--samples", "400"]
SCALING = ["bench", "scaling", *SMALL, "--cluster", "simulated", "--workers", "2", "4", "--batch-size", "40"]
SCALING += ["--accuracy-epochs", "1", "--seeds", "0", "1"]
BATCHES = ["bench", "batch-size", *SMALL, "--batch-sizes", "100", "400", "--repeats", "2", "--threads", "1"]
LARGE = ["bench", "large-batch", *SMALL, "--totals", "32", "128", "--epochs", "1", "--seeds", "0", "1"]
COMMUNICATION = ["bench", "communication", "--operations", "all-reduce", "send/receive", "--repeats", "2"]
COMMUNICATION += ["--largest", "64KiB", "--cluster.threads", "1"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_help_names_the_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {kind} " in text for kind in KINDS)
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("kind", KINDS)
def test_help_of_each_states_what_it_measures(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", kind, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"usage: manyhands bench {kind}" in text
    assert "--out PATH" in text
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.strip("╭─ ╮").startswith("options"))
    assert max(map(len, lines[start:])) <= 80


@pytest.mark.parametrize(
    ("argv", "tables", "pictures"),
    [
        (SCALING, {"strong", "weak", "overlap", "load", "accuracy"}, {"strong-speedup", "weak-efficiency", "overlap"}),
        (BATCHES, {"batch-size"}, {"images-per-second", "seconds-per-epoch", "share-of-peak"}),
        (LARGE, {"large-batch"}, {"accuracy-by-batch", "loss-by-batch"}),
        (COMMUNICATION, {"summary", "communication"}, {"bus-bandwidth", "time-by-size"}),
    ],
)
def test_each_leaves_tables_pictures_and_a_page(
    argv: list[str], tables: set[str], pictures: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*argv, "--out", "new"]) == 0
    captured = capsys.readouterr()
    *lines, last = captured.out.splitlines()
    assert last == "new/report.html"
    assert max(map(len, lines)) <= 80
    result = json.loads(Path("new/result.json").read_text())
    assert (result["status"], result["kind"]) == ("finished", argv[1])
    assert result["command"].startswith(f"manyhands bench {argv[1]} ")
    assert {table["key"] for table in result["tables"]} == tables
    assert {path.stem for path in Path("new/tables").glob("*.csv")} == tables
    for format_ in ("png", "svg"):
        assert pictures <= {path.stem for path in Path("new/figures").glob(f"*.{format_}")}
    page = Path("new/report.html").read_text()
    for table in result["tables"]:
        assert table["title"] in page
        shown = {key for row in table["rows"] for key, cell in row.items() if cell is not None}
        for column in table["columns"]:
            if column["key"] in shown:
                assert column["heading"].replace("'", "&#39;") in page
    with Path(f"new/tables/{sorted(tables)[0]}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(next(t for t in result["tables"] if t["key"] == sorted(tables)[0])["rows"])


def test_runs_inside_are_ordinary_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*LARGE, "--out", "new", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("new/report.html\n", "")
    assert main(["report", "new/runs"]) == 0
    assert "large" not in capsys.readouterr().err
    page = Path("new/report.html")
    before = page.read_text()
    page.unlink()
    assert main(["report", "new"]) == 0  # the benchmark's own page, made anew
    assert page.read_text() == before


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BATCHES, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    result = json.loads(captured.out)
    assert Path(result["report"]).is_file()
    assert Path(result["folder"]).name.endswith("-bench-batch-size")
    assert len(result["tables"][0]["rows"]) == 2


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        ([], "no benchmark: choose from"),
        (["speed"], "unknown benchmark 'speed'"),
        (["communication", "--cluster", "simulated"], "between processes"),
        (["communication", "--processes", "1"], "--processes"),
        (["communication", "--largest", "64MB"], "'64MB' is not a size"),
        (["communication", "--operations", "reduce"], "--operations"),
        (["communication", "--repeats", "0"], "--repeats"),
        (["communication", "--processes", "2", "--hosts", "3"], "hosts"),
        (["batch-size", "--batch-sizes", "7000"], "--batch-sizes 7000"),
        (["batch-size", "--task", "mnist-mini/none"], "none"),
        (["batch-size", "--threads", "-1"], "threads"),
        (["scaling", "--workers", "1"], "--workers"),
        (["scaling", "--workers", "3"], "--batch-size 64"),
        (["scaling", "--strategies", "single"], "--strategies"),
        (["scaling", "--strategies", "allreduce"], "all-reduce"),
        (["scaling", "--parts", "accuracy", "--seeds", "1"], "two seeds"),
        (["scaling", "--margin", "0"], "margin"),
        (["large-batch", "--totals", "33"], "--totals 33"),
        (["large-batch", "--samples", "100"], "--totals 128"),
        (["scaling", "--samples", "50"], "--batch-size 64"),
        (["large-batch", "--rules", "cubic"], "--rules"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    argv: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *argv]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("manyhands: error: ")
    assert len(captured.err.splitlines()) == 1
    assert complaint in captured.err
    assert not list(Path().iterdir())


def test_a_benchmark_that_fails_shows_what_it_had(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from manyhands.measure import scaling

    def fail(*_: object) -> None:
        raise RunError("node 1 died")

    monkeypatch.setattr(scaling, "_overlap", fail)
    assert main([*SCALING, "--parts", "strong", "overlap", "--out", "new"]) == 2
    assert "node 1 died" in capsys.readouterr().err
    assert json.loads(Path("new/result.json").read_text())["status"] == "failed"
    page = Path("new/report.html").read_text()
    assert "This benchmark is failed: node 1 died" in page
    assert "Strong scaling" in page


def test_kinds_are_those_of_the_help() -> None:
    assert tuple(command.KINDS) == KINDS
