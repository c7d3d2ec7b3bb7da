"""What a benchmark leaves on disk."""

import csv
import io
import json
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.errors import RunError, UserError
from manyhands.measure.results import Column, Result, Spread, Table, bench_folder, percent

TABLE = Table(
    key="speed",
    title="Speed",
    columns=[Column(key="name", heading="Name"), Column(key="time", heading="Time", unit="s")],
    rows=[{"name": "a, b", "time": Spread(2.0, 1.0, 4.0, 3)}, {"name": "c"}, {"name": "d", "time": 5.0}],
)


def make() -> Result:
    return Result(kind="batch-size", title="Test", conditions={"task": "toy"})


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_spread_is_the_median_between_its_quartiles(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread.value == pytest.approx(median(values), rel=1e-9, abs=1e-6)
    assert min(values) <= spread.low <= spread.value <= spread.high <= max(values)
    assert spread.n == len(values)


def test_a_falling_function_exchanges_the_ends() -> None:
    assert Spread(2.0, 1.0, 4.0, 3).map(lambda t: 8 / t) == Spread(4.0, 2.0, 8.0, 3)


def test_csv_has_units_and_spreads() -> None:
    rows = list(csv.reader(io.StringIO(TABLE.to_csv())))
    assert rows == [
        ["name", "time [s]", "time_low [s]", "time_high [s]", "time_n"],
        ["a, b", "2.0", "1.0", "4.0", "3"],
        ["c", "", "", "", ""],
        ["d", "5.0", "", "", ""],
    ]


def test_percent() -> None:
    assert percent(0.1234) == "12\u00a0%"
    assert percent(0.1234, 1, "+") == "+12.3\u00a0%"


def test_a_finished_folder_has_everything(tmp_path: Path) -> None:
    result = make()
    with bench_folder(tmp_path / "new", result, "manyhands bench batch-size") as bench:
        assert json.loads((bench.path / "result.json").read_text())["status"] == "running"
        result.tables = [TABLE, Table(key="odd", title="Odd", columns=TABLE.columns, rows=[{"time": float("inf")}])]
        result.sentences = ["It is fast."]
    record = json.loads((tmp_path / "new/result.json").read_text(), parse_constant=pytest.fail)
    assert record["status"] == "finished"
    assert record["sentences"] == ["It is fast."]
    assert record["tables"][0]["rows"][0]["time"] == {"value": 2.0, "low": 1.0, "high": 4.0, "n": 3}
    assert record["tables"][1]["rows"] == [{"time": None}]
    assert {"command", "hardware", "versions", "revision", "created"} <= record.keys()
    assert (tmp_path / "new/tables/speed.csv").read_text() == TABLE.to_csv()


@pytest.mark.parametrize(("error", "status"), [(RunError("a node died"), "failed"), (KeyboardInterrupt(), "stopped")])
def test_what_was_measured_before_a_failure_is_kept(error: BaseException, status: str, tmp_path: Path) -> None:
    result = make()

    def measure() -> None:
        with bench_folder(tmp_path / "new", result, ""):
            result.tables = [TABLE]
            raise error

    with pytest.raises(type(error)):
        measure()
    record = json.loads((tmp_path / "new/result.json").read_text())
    assert record["status"] == status
    assert len(record["tables"]) == 1
    assert (tmp_path / "new/tables/speed.csv").exists()


def test_bad_input_leaves_nothing_behind(tmp_path: Path) -> None:
    def measure() -> None:
        with bench_folder(tmp_path / "new", make(), ""):
            assert (tmp_path / "new").exists()
            raise UserError("no root")

    with pytest.raises(UserError, match="no root"):
        measure()
    assert not (tmp_path / "new").exists()


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="not empty"), bench_folder(tmp_path, make(), ""):
        pytest.fail("entered")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
