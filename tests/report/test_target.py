"""How soon strategies that count rounds reached an accuracy."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from manyhands.report.page import write_report
from manyhands.report.tables import Row
from manyhands.report.target import rounds_tables, terminal_rounds

RowsOf = Callable[[Path], list[Row]]


def federated(fake: ModuleType, folder: Path, reached: int | None, **options: object) -> Path:
    """A run of ten rounds, 0.8 accurate from one of them on; a round is an epoch of the fake."""
    run: Path = fake.write_run(folder, "fedavg", rounds=10, epochs=10, **options)
    fake.reaches(run, 0.8, 99 if reached is None else reached)
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    text = "".join(json.dumps(row | {"completed": int(row["epoch"])}) + "\n" for row in rows)
    (run / "history.jsonl").write_text(text)
    return run


def test_rounds_time_and_bytes_are_those_of_the_first_evaluation_that_reached_it(
    fake: ModuleType, tmp_path: Path, rows_of: RowsOf
) -> None:
    for seed, reached in enumerate((3, 5)):
        federated(fake, tmp_path / str(seed), reached, seed=seed)
    (table,) = rounds_tables(rows_of(tmp_path), 0.8)
    (line,) = table.lines
    assert line.rounds is not None
    assert (line.rounds.mean, line.rounds.n) == (4, 2)
    assert line.rounds.half == pytest.approx(12.706, rel=1e-3)  # t(0.975; 1) · √2 / √2
    assert line.seconds is not None
    assert line.seconds.mean == pytest.approx(4 * 0.58)
    assert line.bytes is not None
    assert line.bytes.mean == pytest.approx(4 * 2.5e5 * 8)
    texts = [text.replace("\u00a0", " ") for text in line.texts]
    assert texts == ["fedavg", "4 ± 12.7", "2.32 ± 7.37 s", "8.00 ± 25.41 MB"]
    series = table.to_json()["series"][0]
    assert series["rounds"]["mean"] == 4


def test_what_was_not_reached_says_why(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    federated(fake, tmp_path / "0", 3, seed=0)
    federated(fake, tmp_path / "1", None, seed=1)
    federated(fake, tmp_path / "2", 2, seed=0, batch_size=8, status="failed")
    (table,) = rounds_tables(rows_of(tmp_path), 0.8)
    assert {line.texts[1] for line in table.lines} == {"1 of 2 seeds", "failed"}
    assert all(line.texts[2:] == ("–", "–") for line in table.lines)
    (table,) = rounds_tables(rows_of(tmp_path), 0.9)
    assert {line.texts[1] for line in table.lines} == {"not reached", "failed"}
    assert table.to_json()["series"][0]["rounds"] is None


def test_only_runs_that_count_rounds_and_only_with_a_target(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    federated(fake, tmp_path / "federated", 3)
    fake.write_run(tmp_path / "gossip", "gossip")
    fake.write_run(tmp_path / "epochs", "fedavg")
    rows = rows_of(tmp_path)
    (table,) = rounds_tables(rows, 0.5)
    assert [line.series.runs[0].folder.name for line in table.lines] == ["federated"]
    assert rounds_tables(rows, None) == []


def test_the_table_fits_a_terminal_and_stands_on_the_page(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    for batch in (10, 600):
        federated(fake, tmp_path / str(batch), 3, batch_size=batch)
    (table,) = rounds_tables(rows_of(tmp_path), 0.8)
    console = Console(width=80)
    with console.capture() as capture:
        console.print(terminal_rounds(table))
    assert max(map(len, capture.get().splitlines())) <= 80
    assert "fedavg · batch 600" in capture.get()
    page = write_report([tmp_path], tmp_path / "page.html", 0.8).read_text()
    assert "Rounds to 80\u00a0%, mnist-mini/lenet5, simulated clock" in page


def test_a_study_brings_its_target(fake: ModuleType, tmp_path: Path) -> None:
    runs = [federated(fake, tmp_path / "study" / str(seed), 3, seed=seed) for seed in (0, 1)]
    folder = fake.write_study(tmp_path / "study", runs)
    assert "Rounds to accuracy" not in write_report([folder], tmp_path / "without.html").read_text()
    record = fake.read_json(folder / "study.json")
    fake.write_json(folder / "study.json", record | {"target": 0.8})
    assert "Rounds to 80\u00a0%" in write_report([folder], tmp_path / "with.html").read_text()
    assert "Rounds to 70\u00a0%" in write_report([folder], tmp_path / "asked.html", 0.7).read_text()
