"""docs/run-folder.md and what runs really leave: the same files, the same fields."""

import json
import re
from pathlib import Path

import pytest

from manyhands import lab
from manyhands.runs.specification import Specification
from manyhands.strategies import parse_strategy
from manyhands.tasks.partition import Dirichlet

DOCUMENT = (Path(__file__).parents[2] / "docs" / "run-folder.md").read_text()
OF_SOME_RUNS = {"order.jsonl", "report.html", "figures", "tables", "events.out.tfevents.manyhands"}
"""of which the two runs below have none"""


def first_column(section: str) -> set[str]:
    """All that stands in backticks in the first column of a section's table."""
    text = DOCUMENT.partition(f"{section}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name.rstrip("/") for row in rows for name in re.findall("`([^`]+)`", row)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One that has epochs, and one that has rounds and a deadline."""
    folder = tmp_path_factory.mktemp("runs")
    made = []
    for name in ("parameter-server:consistency=async", "fedavg:fraction=0.5,deadline=1s"):
        specification = Specification(
            task="mnist-mini/logistic", strategy=parse_strategy(name), workers=4, epochs=1, samples=200,
            partition=Dirichlet(1.0),
        )  # fmt: skip
        made.append(lab.train(specification, out=folder / str(len(made))))
    return made


def test_every_file_is_documented(runs: list[Path]) -> None:
    here = {path.name for run in runs for path in run.iterdir()}
    assert first_column("# A run's folder") == here | OF_SOME_RUNS


def test_rows_of_the_history_are_flat_and_have_the_documented_fields(runs: list[Path]) -> None:
    rows = [json.loads(line) for run in runs for line in (run / "history.jsonl").read_text().splitlines()]
    assert {name for row in rows for name in row} == first_column("## `history.jsonl`")
    for row in rows:
        figures = row.pop("figures", {})
        assert all(value is None or type(value) in (int, float) for value in (*row.values(), *figures.values()))


@pytest.mark.parametrize(("file", "pick"), [("run.json", None), ("ledger.json", "nodes")])
def test_fields_of_files(file: str, pick: str | None, runs: list[Path]) -> None:
    contents = [json.loads((run / file).read_text()) for run in runs]
    found = [node for content in contents for node in content[pick]] if pick else contents
    names = {name for content in found for name in content}
    assert first_column(f"## `{file}`") == names - ({"rank", "role"} if pick else set())


def test_clients_have_the_documented_fields(runs: list[Path]) -> None:
    section = DOCUMENT.partition("## `clients.jsonl`")[2].partition("\n## ")[0]
    row = json.loads((runs[1] / "clients.jsonl").read_text().splitlines()[-1])
    assert set(re.findall("`([a-z_]+)`", section)) == set(row)


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_the_documented_line_reads_a_history(package: str, runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytest.importorskip(package)
    [line] = [line for line in DOCUMENT.splitlines() if line.startswith(f"{package}.read") and "runs/x" in line]
    for run in runs:
        frame = eval(line.replace("runs/x", str(run)), {package: module})
        assert set(frame.columns) <= first_column("## `history.jsonl`")
        assert len(frame) == len((run / "history.jsonl").read_text().splitlines())
