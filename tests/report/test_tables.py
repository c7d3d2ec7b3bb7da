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
    for width in (80, 120):
        text = printed(terminal_table(rows, title="a study"), width)
        assert all(row.series.name in text for row in rows)
        assert max(map(len, text.splitlines())) <= width
    assert all(column.short.split()[0] in text for column in COLUMNS)
    assert "a study" in text


def test_names_are_not_markup(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.write_run(tmp_path / "a", "[red]alert[/red]", status="stopped")
    text = printed(terminal_table(rows_of(tmp_path), title="[bold]"))
    assert "[red]alert[/red] (stopped at epoch 5)" in text
    assert "[bold]" in text
