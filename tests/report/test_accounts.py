"""A run's ledger as tables."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from manyhands.report.accounts import MOST_NODES, MOST_TRIPLES, TIME, TRAFFIC, ledger_tables
from manyhands.report.page import write_report
from manyhands.report.scaling import time_figures
from manyhands.report.tables import Row
from manyhands.runs.reading import RunView, time_shares

SECONDS = {
    "compute": 5.0,
    "exposed_communication": 1.0,
    "hidden_communication": 3.0,
    "waiting": 0.5,
    "compression": 0.25,
    "evaluation": 2.0,
}


def account(rank: int, role: str = "worker", measured: dict[str, int] | None = None, why: str = "") -> dict[str, Any]:
    traffic: dict[str, Any] = {
        "algorithmic": {"sent": 4_000_000, "received": 2_000_000},
        "wire": {"sent": 4_200_000, "received": 2_120_000},
        "measured": measured,
    }
    return {
        "rank": rank,
        "role": role,
        "seconds": SECONDS,
        "bytes_sent": 4_000_000,
        "bytes_received": 2_000_000,
        "messages_sent": 12,
        "bytes": traffic | ({"measured_why": why} if measured is None else {}),
    }


def write(fake: ModuleType, folder: Path, nodes: list[dict[str, Any]]) -> RunView:
    fake.write_run(folder, workers=2)
    content = {"clock": "real", "seconds": 6.75, "wall_seconds": 8.75, "nodes": nodes}
    fake.write_json(folder / "ledger.json", content)
    return RunView.read(folder)


def plain(rows: list[list[str]]) -> list[list[str]]:
    return [[cell.replace("\u00a0", " ") for cell in row] for row in rows]


def test_times_and_overlap(fake: ModuleType, tmp_path: Path) -> None:
    time, _ = ledger_tables(write(fake, tmp_path / "run", [account(0), account(1)]), "run")
    assert plain(time.rows)[0] == [
        "0", "worker", "3,000", "5.00 s", "1.00 s", "0.500 s", "0.250 s", "2.00 s", "3.00 s", "75 %", "12", "1.00 MB/s"
    ]  # fmt: skip
    assert tuple(time.header) == TIME
    assert "Overlap = 1 − exposed / (exposed + hidden)" in time.words
    assert "algbw = S / t" in time.words


def test_bytes_have_three_lines_a_node(fake: ModuleType, tmp_path: Path) -> None:
    measured = {"sent": 4_100_000, "received": 2_100_000}
    nodes = [account(0, measured=measured), account(1, "server", why="the counters are not readable")]
    _, traffic = ledger_tables(write(fake, tmp_path / "run", nodes), "run")
    assert plain(traffic.rows) == [
        ["worker 0, algorithmic", "4.00 MB", "2.00 MB", "1.000", "1.000"],
        ["worker 0, predicted on the wire", "4.20 MB", "2.12 MB", "1.050", "1.060"],
        ["worker 0, measured by the kernel", "4.10 MB", "2.10 MB", "1.025", "1.050"],
        ["server 1, algorithmic", "4.00 MB", "2.00 MB", "1.000", "1.000"],
        ["server 1, predicted on the wire", "4.20 MB", "2.12 MB", "1.050", "1.060"],
        ["server 1, measured by the kernel", "–", "–", "–", "–"],
    ]
    assert all(len(row) == len(TRAFFIC) for row in traffic.rows)
    assert "Not measured: the counters are not readable." in traffic.words
    assert "1,448" in traffic.words


def test_tables_of_many_nodes_are_cut(fake: ModuleType, tmp_path: Path) -> None:
    time, traffic = ledger_tables(write(fake, tmp_path / "run", [account(rank) for rank in range(50)]), "run")
    assert len(time.rows) == MOST_NODES
    assert len(traffic.rows) == 3 * MOST_TRIPLES
    assert f"The first {MOST_NODES} of 50 nodes." in time.words
    assert f"The first {MOST_TRIPLES} of 50 nodes." in traffic.words


def test_ledgers_of_earlier_versions_are_read(fake: ModuleType, tmp_path: Path) -> None:
    run = RunView.read(fake.write_run(tmp_path / "run", workers=2))
    assert run.problems == ()
    time, traffic = ledger_tables(run, "run")
    assert [row[6:8] for row in time.rows] == [["–", "–"]] * 2
    assert [row[0] for row in traffic.rows] == ["worker 0, algorithmic", "worker 1, algorithmic"]
    shares = time_shares(run)
    assert shares is not None
    assert shares.compression == 0


def test_damaged_bytes_are_named(fake: ModuleType, tmp_path: Path) -> None:
    damaged = account(0)
    del damaged["bytes"]["wire"]["sent"]
    run = write(fake, tmp_path / "run", [damaged])
    assert run.ledger is None
    assert run.problems == ("ledger.json is damaged and left out",)
    assert ledger_tables(run, "run") == []


def test_compression_takes_its_share_of_the_time(fake: ModuleType, tmp_path: Path) -> None:
    shares = time_shares(write(fake, tmp_path / "run", [account(0)]))
    assert shares is not None
    assert (shares.compression, shares.in_communication) == (0.25 / 6.75, 1.5 / 6.75)


def test_compression_is_in_the_chart_of_shares_where_there_is_some(
    fake: ModuleType, tmp_path: Path, rows_of: Callable[[Path], list[Row]]
) -> None:
    write(fake, tmp_path / "run", [account(0), account(1)])
    (figure,) = time_figures([row.series for row in rows_of(tmp_path)])
    assert figure.header == ("Series", "Compute", "Compression", "Exposed communication", "Waiting")
    assert plain(list(figure.rows)) == [["all-reduce", "74.1 %", "3.7 %", "14.8 %", "7.4 %"]]
    assert "compression" in figure.caption


def test_the_page_has_both_tables(fake: ModuleType, tmp_path: Path) -> None:
    write(fake, tmp_path / "run", [account(0), account(1)])
    html = write_report([tmp_path / "run"], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Ledger: time" in html
    assert "Ledger: bytes" in html
    assert "worker 1, predicted on the wire" in html
    assert "compression" in html
