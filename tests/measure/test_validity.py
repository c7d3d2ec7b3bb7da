"""What a validation says, of outcomes that are made up; and a small real one where hosts can be emulated."""

from pathlib import Path

import pytest

from manyhands.clusters.simulated.profile import DeviceProfile
from manyhands.errors import UserError
from manyhands.measure.calibrate import quick_task, write_profile
from manyhands.measure.results import Result
from manyhands.measure.validate import Cell, Design, Measurement, Outcome, Prediction, Subject
from manyhands.measure.validity import BEGIN, END, PLACEHOLDER, report, write_document

NETWORK = {"bandwidth": "1Gbit/s", "latency": "20us"}


def outcome(strategy: str, predicted: float, seconds: list[float], workers: int = 2) -> Outcome:
    cell = Cell(task="mnist-mini/lenet5", strategy=strategy, workers=workers, network="1Gbit/s", batch_size=16, steps=4)
    measurements = [
        Measurement(seconds=one, drift=1.1, bytes=1e6, wire_bytes=1.05e6, kernel_bytes=1.04e6) for one in seconds
    ]
    return Outcome(cell=cell, prediction=Prediction(seconds=predicted, slope=0.5, bytes=1e6), measurements=measurements)


OUTCOMES = [
    outcome("all-reduce", 1.1, [1.0, 1.0]),
    outcome("all-reduce", 1.9, [2.0, 2.0], workers=3),
    outcome("gossip", 3.0, [2.9, 3.1]),
    outcome("single", 0.5, [0.4, 0.4], workers=1),
]


def made() -> Result:
    result = Result(kind="validate", title="a test", conditions={"hosts": "none"})
    whole = report(result, OUTCOMES)
    assert whole.configurations == 3  # the control is not among them
    assert whole.mape == pytest.approx((0.1 + 0.05 + 0.0) / 3)
    assert whole.tau == 1.0
    return result


def test_tables_go_by_factor_and_controls_stand_apart() -> None:
    groups, configurations, controls = made().tables
    by_group = {row["group"]: row for row in groups.rows}
    assert by_group["all"]["n"] == 3
    assert by_group["all-reduce"]["bias"] == pytest.approx(0.025)
    assert by_group["3 workers"]["mape"] == pytest.approx(0.05)
    assert [row["error"] for row in configurations.rows] == pytest.approx([0.1, -0.05, 0.0])
    assert [row["error"] for row in controls.rows] == pytest.approx([0.25])
    assert [row["error_then"] for row in controls.rows] == pytest.approx([0.55 / 0.4 - 1])


def test_sentences_say_what_is_met_and_what_is_missed() -> None:
    time, aims, sent, drift, alone = made().sentences
    assert "MAPE 5.0%" in time
    assert "worst 10.0%" in time
    assert "MAPE ≤ 5% met" in aims or "MAPE ≤ 5% missed" in aims
    assert "P90 ≤ 10% met" in aims
    assert "counted differ by 0.0% at most" in sent
    assert "counted by 1.0% at most" in sent
    assert "1.10 to 1.10 (5 % to 95 %) times as long" in drift
    assert "+25.0%" in alone


def test_what_was_written_by_hand_stays(tmp_path: Path) -> None:
    profile, page = tmp_path / "profile.json", tmp_path / "validity.md"
    write_profile(DeviceProfile.load("nominal"), profile)
    write_document(page, made(), OUTCOMES, {"mnist-mini/lenet5": profile})
    text = page.read_text()
    assert PLACEHOLDER in text
    assert DeviceProfile.load("nominal").digest in text
    page.write_text(text.replace(PLACEHOLDER, "Caches.\n\nAnd threads."))
    write_document(page, made(), OUTCOMES, {"mnist-mini/lenet5": profile})
    assert f"{BEGIN}\nCaches.\n\nAnd threads.\n{END}" in page.read_text()
    with pytest.raises(UserError, match="cannot write"):
        write_document(tmp_path, made(), OUTCOMES, {"mnist-mini/lenet5": profile})


def test_every_factor_is_crossed_and_slow_cells_take_fewer_steps(tmp_path: Path) -> None:
    from dataclasses import replace

    from manyhands.clusters.cluster import Processes

    path = tmp_path / "profile.json"
    write_profile(replace(DeviceProfile.load("nominal"), network=NETWORK), path)
    design = Design(
        subjects=[Subject(task=quick_task("mnist-mini/lenet5"), profile=path, batch_size=16)],
        strategies=["all-reduce", "parameter-server"],
        workers=[2, 3],
        networks=["2Mbit/s", "100Mbit/s", "1Gbit/s"],
        stragglers=["0:2"],
        options=Processes(hosts=1, cpus=0.3, threads=1),
    )
    cells = [cell for cell, _ in design.cells()]
    assert len(cells) == 2 * 2 * (3 + 1) + 1
    assert len(set(map(str, cells))) == len(cells)
    assert {cell.network for cell in cells if cell.slow} == {"100Mbit/s"}
    steps = {(cell.network, cell.slow): cell.steps for cell in cells if cell.strategy == "parameter-server"}
    assert steps["2Mbit/s", ""] < steps["1Gbit/s", ""]
    assert cells[-1].strategy == "single"
    assert cells[-1].nodes == 1
