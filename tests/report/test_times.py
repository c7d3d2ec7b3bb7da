"""When each strategy reached an accuracy, under each condition."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from manyhands.errors import UserError
from manyhands.report.conditions import by_condition, conditions
from manyhands.report.page import write_report
from manyhands.report.tables import Row
from manyhands.report.times import ALL, Times, check_target, common_target, terminal_times, times_tables

RowsOf = Callable[[Path], list[Row]]
CONDITIONS = ("iid", "iid, slow 0:4", "dirichlet:0.1", "dirichlet:0.1, slow 0:4")


@pytest.fixture(scope="module")
def crossed(fake: ModuleType, tmp_path_factory: pytest.TempPathFactory, rows_of: RowsOf) -> list[Row]:
    return rows_of(fake.conditions(tmp_path_factory.mktemp("conditions")))


def cells(table: Times, strategy: str) -> list[str]:
    (line,) = [line for line in table.lines if line.series.strategy == strategy]
    return ["" if cell is None else cell.text.replace("\u00a0", " ") for cell in line.cells]


def test_conditions_are_those_that_a_strategy_was_put_under(crossed: list[Row], rows: list[Row]) -> None:
    assert conditions(crossed) == CONDITIONS
    assert conditions(rows) == ()  # skewed or not, each strategy was put under one
    groups = by_condition(crossed)
    assert tuple(groups) == CONDITIONS
    for group in groups.values():
        assert [row.series.label for row in group] == [row.series.strategy for row in group]
        assert len(group) == 6
    assert by_condition(rows) == {"": rows}


def test_times_are_by_strategy_and_condition(crossed: list[Row]) -> None:
    (table,) = times_tables(crossed, 0.9)
    assert (table.clock, table.conditions, table.reference) == ("simulated", CONDITIONS, "iid")
    assert [line.series.subject for line in table.lines] == [
        "all-reduce",
        "parameter-server",
        "gossip",
        "local-sgd",
        "fedavg",
    ]
    assert cells(table, "parameter-server") == ["6.40 s", "7.68 s", "14.4 s", "17.3 s"]
    assert cells(table, "fedavg")[2:] == ["not reached", "not reached"]
    usual, slow, *_ = next(line.cells for line in table.lines if line.series.strategy == "parameter-server")
    assert usual is not None
    assert usual.factor is None
    assert slow is not None
    assert slow.factor is not None
    assert slow.seconds is not None
    assert slow.factor.mean == pytest.approx(1.2)
    assert slow.factor.n == slow.seconds.n == 2


def test_factors_are_taken_seed_by_seed(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    """The seeds differ widely, but each is four times as slow with a straggler: the factor has no spread."""
    for seed, epochs in enumerate((2, 8)):
        for slow in ((), ("0:4",)):
            folder = fake.write_run(tmp_path / f"{seed}{len(slow)}", "all-reduce", seed=seed, slow=slow)
            fake.reaches(folder, 0.5, epochs)
    (table,) = times_tables(rows_of(tmp_path), 0.5)
    cell = table.lines[0].cells[1]
    assert cell is not None
    assert cell.factor is not None
    assert cell.seconds is not None
    assert cell.factor.mean == pytest.approx(4)
    assert cell.factor.half == pytest.approx(0, abs=1e-9)
    assert cell.seconds.half is not None
    assert cell.seconds.half > 1


def test_what_was_not_reached_says_why(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.reaches(fake.write_run(tmp_path / "some-0", "gossip", seed=0), 0.8, 3)
    fake.reaches(fake.write_run(tmp_path / "some-1", "gossip", seed=1), 0.1, 3)
    fake.write_run(tmp_path / "failed", "local-sgd", status="failed")
    fake.without_accuracy(fake.write_run(tmp_path / "blind", "fedavg"))
    (table,) = times_tables(rows_of(tmp_path), 0.5)
    assert table.conditions == (ALL,)
    assert {line.series.strategy: line.cells[0] and line.cells[0].text for line in table.lines} == {
        "gossip": "1 of 2 seeds",
        "local-sgd": "failed",
        "fedavg": "not measured",
    }
    assert table.to_json()["times"][0]["seconds"] is None


def test_the_common_target_is_reached_by_half(rows: list[Row], crossed: list[Row]) -> None:
    simulated = [row for row in rows if row.series.clock == "simulated"]
    assert common_target(simulated) == 0.95
    assert common_target(simulated[:1]) is None
    chosen = common_target(crossed)
    (table,) = times_tables(crossed)
    assert table.target == chosen == 0.85
    for name in CONDITIONS:
        reached = [row for row in crossed if row.series.condition == name and not row.series.is_baseline]
        done = [row for row in reached if all(max_accuracy(row) >= chosen for _ in row.series.runs)]
        assert len(done) >= 3
    assert "half of the strategies reached" in table.words


def max_accuracy(row: Row) -> float:
    """Of the seed that came least far."""
    return float(min(max(line["test_accuracy"] for line in run.history) for run in row.series.runs))


def test_what_the_untrained_model_reached_is_no_target(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    for name in ("gossip", "local-sgd"):
        fake.reaches(fake.write_run(tmp_path / name, name), 0.5, 0)
    assert common_target(rows_of(tmp_path)) is None
    assert times_tables(rows_of(tmp_path)) == []


def test_one_strategy_under_conditions_is_enough(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    (table,) = times_tables(rows_of(fake.conditions(tmp_path, seeds=1, strategies=("local-sgd",))))
    assert table.target == 0.85
    assert table.baseline is None


def test_without_an_undisturbed_condition_the_first_is_the_reference(
    fake: ModuleType, tmp_path: Path, rows_of: RowsOf
) -> None:
    for alpha in (1, 0.1):
        fake.write_run(tmp_path / str(alpha), "local-sgd", partition=f"dirichlet:{alpha}")
    (table,) = times_tables(rows_of(tmp_path), 0.8)
    assert table.reference == "dirichlet:0.1"  # the folders' order
    for slow in ("0:4", "0:8"):
        fake.write_run(tmp_path / "slow" / slow, "local-sgd", slow=(slow,))
    (table,) = times_tables(rows_of(tmp_path / "slow"), 0.8)
    assert table.reference is None


def test_tasks_and_clocks_have_tables_of_their_own(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.write_run(tmp_path / "a", "gossip", task="mnist/mlp")
    fake.write_run(tmp_path / "b", "gossip", task="cifar10/cnn")
    fake.write_run(tmp_path / "c", "gossip", task="cifar10/cnn", clock="real")
    tables = times_tables(rows_of(tmp_path), 0.5)
    assert [(table.task, table.clock) for table in tables] == [
        ("mnist/mlp", "simulated"),
        ("cifar10/cnn", "simulated"),
        ("cifar10/cnn", "real"),
    ]


@pytest.mark.parametrize("target", [0.0, -1.0, 1.01, 95.0, float("nan"), float("inf")])
def test_a_target_is_a_share(target: float) -> None:
    with pytest.raises(UserError, match="--target is an accuracy above 0 and up to 1"):
        check_target(target)


def test_the_page_has_the_table(fake: ModuleType, tmp_path: Path) -> None:
    page = write_report([fake.conditions(tmp_path)], tmp_path / "report.html", 0.9).read_text(encoding="utf-8")
    text = page.replace("\u00a0", " ")
    assert "Time to 90 %, simulated clock" in text
    assert "It was asked for." in text
    assert all(f'<th scope="col">{name}</th>' in text for name in CONDITIONS)
    assert "<small>1.20×</small>" in text
    assert "<em>not reached</em>" in text
    assert 'id="time-to-accuracy"' in text


def test_the_terminal_table_fits_80_columns(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    (table,) = times_tables(rows_of(fake.conditions(tmp_path, seeds=1)), 0.9)
    output = StringIO()
    Console(file=output, width=80).print(terminal_times(table))
    text = output.getvalue().replace("\u00a0", " ")
    assert "Time to 90 %, simulated clock; in brackets: how many times as long as iid" in text
    assert "7.68 s (1.20×)" in text
    assert "…" not in text
    assert len(text.splitlines()) == 3 + 1 + 5
