"""Who talked to whom."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import vl_convert

from manyhands.report.figure import THEME, Figure
from manyhands.report.tables import Row
from manyhands.report.topology import MOST_CELLS, places, topology_figures
from manyhands.runs.reading import RunView

RowsOf = Callable[[Path], list[Row]]


def drawn(rows: list[Row]) -> list[Figure]:
    figures = topology_figures([row.series for row in rows])
    for figure in figures:
        assert vl_convert.vegalite_to_svg(figure.spec | {"config": THEME}).startswith("<svg")
    return figures


def test_both_ways_are_one_line_and_servers_stand_in_the_middle(
    fake: ModuleType, tmp_path: Path, rows_of: RowsOf
) -> None:
    fake.with_traffic(fake.write_run(tmp_path / "a", "gossip", workers=5), fake.ring(5))
    fake.with_traffic(fake.write_run(tmp_path / "b", "parameter-server", workers=4), fake.star(4, 10))
    ring, star = drawn(rows_of(tmp_path))
    assert (ring.title, star.title) == ("gossip", "parameter-server")
    assert len(ring.spec["datasets"]["lines"]) == 5
    assert "heads" not in ring.spec["datasets"]
    assert len(ring.rows) == 10
    assert "10 of 20 directed pairs" in ring.alt
    dots = {dot["node"]: dot for dot in star.spec["datasets"]["dots"]}
    assert (dots["4"]["x"], dots["4"]["y"], dots["4"]["role"]) == (0, 0, "server")
    assert all(line["bytes"] == 20 for line in star.spec["datasets"]["lines"])
    assert "Squares: servers." in star.caption


def test_one_way_has_an_arrow_towards_who_receives(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.with_traffic(fake.write_run(tmp_path / "a", "push-sum", workers=2), {0: {1: 100}, 1: {0: 10}})
    (figure,) = drawn(rows_of(tmp_path))
    (head,), (line,) = (figure.spec["datasets"][name] for name in ("heads", "lines"))
    assert head["angle"] == 180  # from the top to the bottom
    assert line["bytes"] == 110
    assert "Arrows" in figure.caption


def test_many_nodes_are_a_map(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.with_traffic(fake.write_run(tmp_path / "a", "gossip", workers=1000), fake.ring(1000, 7))
    (figure,) = drawn(rows_of(tmp_path))
    cells = figure.spec["datasets"]["cells"]
    assert len(cells) <= 3 * MOST_CELLS
    assert max(cell["heat"] for cell in cells) == 1
    assert "among 1,000\u00a0nodes" in figure.alt


@pytest.mark.parametrize("sent", [{0: {}, 1: {}}, {0: {1: 0}}, {0: {0: 5}}])
def test_where_nothing_was_sent_nothing_is_drawn(
    fake: ModuleType, tmp_path: Path, rows_of: RowsOf, sent: dict[int, dict[int, int]]
) -> None:
    fake.with_traffic(fake.write_run(tmp_path / "a", "gossip", workers=2), sent)
    fake.write_run(tmp_path / "b", "fedavg")  # of earlier versions
    assert drawn(rows_of(tmp_path)) == []


def test_strategies_are_drawn_once_whatever_they_were_put_under(
    fake: ModuleType, tmp_path: Path, rows_of: RowsOf
) -> None:
    for skew in ("iid", "dirichlet:0.1"):
        fake.with_traffic(fake.write_run(tmp_path / skew[:3], "gossip", partition=skew), fake.ring(8))
    fake.with_traffic(fake.write_run(tmp_path / "b", "gossip", workers=4, partition="iid"), fake.ring(4))
    assert len(drawn(rows_of(tmp_path))) == 2


def test_damaged_traffic_is_named(fake: ModuleType, tmp_path: Path) -> None:
    folder = fake.with_traffic(fake.write_run(tmp_path / "a", "gossip"), {0: {1: "many"}})
    assert "ledger.json is damaged and left out" in RunView.read(folder).problems


def test_workers_stand_on_a_circle_from_the_top() -> None:
    at = places([(0, "worker"), (1, "worker"), (2, "worker"), (3, "worker"), (4, "server"), (5, "server")])
    assert (at[0], at[1]) == ((0, 1), (1, 0))
    assert len(set(at.values())) == 6
