from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console
from rich.table import Table

from manyhands.report.tables import COLUMNS, Row, terminal_table

RowsOf = Callable[[Path], list[Row]]


def printed(table: Table, width: int = 120) -> str:
    output = StringIO()
    Console(file=output, width=width).print(table)
    return output.getvalue()


def test_rows_follow_their_formulas(rows: list[Row]) -> None:
    by_label = {row.series.label: row for row in rows}
    gossip, single = by_label["gossip"], by_label["single · simulated"]
    assert gossip.seconds is not None
    assert single.seconds is not None
    assert gossip.speedup is not None
    assert gossip.efficiency is not None
    assert gossip.speedup.mean == pytest.approx(single.seconds.mean / gossip.seconds.mean)
    assert gossip.efficiency.mean == pytest.approx(gossip.speedup.mean / 8)
    assert gossip.bytes_per_worker is not None
    assert gossip.bytes_per_worker.mean == pytest.approx(1.16e8)
    assert all(row.accuracy is not None and row.accuracy.n == 2 for row in rows)


def test_a_run_without_ledger_or_baseline_has_gaps(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.write_run(tmp_path / "a", "gossip")
    (tmp_path / "a" / "ledger.json").unlink()
    (row,) = rows_of(tmp_path)
    assert (row.speedup, row.bytes_per_worker, row.in_communication) == (None, None, None)
    assert row.accuracy is not None
    assert "–" in printed(terminal_table([row]))


def test_the_terminal_shows_every_row_whole(rows: list[Row]) -> None:
    text = printed(terminal_table(rows, title="a study"), width=120).replace("\u00a0", " ")
    assert "a study" in text
    for row in rows:
        assert row.series.name in text
        for column in COLUMNS[3:]:
            assert all(part in text for part in column.text(row).replace("\u00a0", " ").split(" ±"))


def test_without_intervals_the_terminal_needs_80_columns(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    rows = rows_of(fake.six_strategies(tmp_path / "one", seeds=1))
    lines = printed(terminal_table(rows), width=80).splitlines()
    assert len(lines) == 3 + len(rows)
    assert not any("…" in line for line in lines)


def test_names_are_not_markup(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.write_run(tmp_path / "a", "[red]alert[/red]", status="stopped")
    text = printed(terminal_table(rows_of(tmp_path), title="[bold]"))
    assert "[red]alert[/red] (stopped at epoch 5)" in text
    assert "[bold]" in text
