"""From what processes saw to a profile: with numbers of which the right answer is known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands import lab
from manyhands.clusters.cluster import Processes
from manyhands.clusters.simulated.profile import DeviceProfile
from manyhands.clusters.simulated.quota import PERIOD_NS
from manyhands.errors import UserError
from manyhands.measure import calibrate, probes
from manyhands.measure.calibrate import MESSAGES
from manyhands.measure.fitting import Link, fit_limits, fit_line, fit_speeds
from manyhands.runs.specification import Specification
from manyhands.training.cost import measure_cost

LINK = Link(nominal=1.25e8, payload=1.2e8, latency=2e-5, cpus=0.5)


@given(st.floats(0, 1), st.floats(1e-6, 1), st.lists(st.integers(1, 500), min_size=2, max_size=6, unique=True))
def test_a_line_is_found_again(a: float, b: float, x: list[int]) -> None:
    assert fit_line(x, [a + b * each for each in x]) == pytest.approx((a, b), rel=1e-5, abs=1e-6)


def test_a_line_has_no_negative_part() -> None:
    a, b = fit_line([1, 2, 3], [1.0, 2.5, 4.0])  # which would begin below zero
    assert a == 0.0
    assert 1.0 < b < 4 / 3


def node_steps(batches: list[int], a: float, b: float) -> list[dict[str, Any]]:
    return [
        {
            "batch": batch,
            "step": [a + b * batch] * 3,
            "forward": [1e-3] * 3,
            "backward": [3e-3] * 3,
            "optimizer": [1e-4] * 3,
            "jitter": [0.1] * 3,
        }
        for batch in batches
    ]


def node_messages(alpha: float, beta: float, send: float, cpu: float) -> list[dict[str, Any]]:
    return [
        {
            "bytes": size,
            "one_way": [alpha + beta * size] * 4,
            "send": [send] * 4,
            "cpu": [cpu + 0.05 * 2 * (alpha + beta * size)] * 4,
        }
        for size in MESSAGES
    ]


def node_reduce(size: int) -> dict[str, Any]:
    """4 ms and the wire, of which the processor is busy for 1 ms and a tenth of the time."""
    seconds = 4e-3 + size / LINK.payload
    return {"bytes": size, "spans": [(t, t + seconds) for t in range(3)], "cpu": [1e-3 + 0.1 * seconds] * 3}


def profile_of(link: Link | None) -> DeviceProfile:
    experiment = lab.prepare(Specification(task="mnist-mini/lenet5", workers=2, cluster=Processes()))
    steps = [node_steps([16, 64], a=2e-3, b=1e-4)] * 2
    messages = [node_messages(alpha=1e-3, beta=1 / LINK.payload, send=2e-4, cpu=5e-4)] * 2
    reduces = [[node_reduce(size) for size in MESSAGES]] * 2
    overlaps = [{"alone": [1.0], "behind": [1.25], "reduce_alone": [2.0], "reduce_behind": [3.0]}] * 2
    return calibrate._profile(experiment, Processes(), link, steps, messages, reduces, overlaps)


def test_a_profile_gives_back_the_times_that_it_came_from() -> None:
    profile = profile_of(LINK)
    assert profile.task == "mnist-mini/lenet5"
    experiment = lab.prepare(Specification(task="mnist-mini/lenet5", workers=2))
    learner = experiment.make_learner()
    flops = measure_cost(learner.module, learner.task.prepare(learner.task.train.inputs[:1])).forward_flops
    optimizer = profile.vector_ns(12 * learner.parameters) / 1e9
    assert optimizer == pytest.approx(1e-4, rel=1e-3)
    for batch in (16, 64, 256):
        assert profile.step_ns(flops, batch) / 1e9 + optimizer == pytest.approx(2e-3 + 1e-4 * batch, rel=1e-6)
    assert profile.backward_to_forward == pytest.approx(3.0)
    assert profile.overlap_slowdown == pytest.approx(1.25)
    assert profile.jitter_spread == pytest.approx(0.1)
    backend = profile.backend
    assert backend.rendezvous
    assert backend.efficiency == pytest.approx(0.96)
    assert backend.send_seconds == pytest.approx(2e-4)
    assert backend.receive_seconds == pytest.approx(3e-4)
    assert backend.latency_seconds == pytest.approx(1e-3 - 5e-4 - LINK.latency, rel=1e-3)
    assert backend.transfer_share == pytest.approx(0.05)
    assert backend.collective_share == pytest.approx(0.1)
    assert backend.collective_slowdown == pytest.approx(1.5)
    assert backend.collective_processor_seconds == pytest.approx(1e-3 / 2)
    smallest = 4e-3 + MESSAGES[0] / LINK.payload
    assert backend.collective_seconds == pytest.approx((smallest - 1e-3) / 2 - LINK.latency)
    assert profile.network == {"bandwidth": "1Gbit/s", "latency": "20000ns"}
    assert profile.measured["steps"][0]["n"] == 6
    assert profile.measured["steps"][0]["residual"] == pytest.approx(0.0, abs=1e-9)


def test_without_emulated_hosts_the_link_is_what_messages_find() -> None:
    profile = profile_of(None)
    assert profile.backend.efficiency == 1.0
    assert profile.network["latency"] == "1ns"


@given(st.floats(1.0, 1.5), st.floats(0, 0.24))
def test_what_a_share_of_a_core_costs_is_found_again(slowdown: float, lost: float) -> None:
    quota = 0.5 * PERIOD_NS * 1e-9
    warm_up = lost * quota

    def seconds(share: float) -> float:
        own = share * PERIOD_NS * 1e-9
        return 2e-3 * slowdown * own / (own - warm_up) / share

    found = fit_limits(2e-3, seconds(0.5), seconds(0.25), share=0.5)
    assert found == pytest.approx((slowdown, warm_up), rel=1e-6, abs=1e-9)


def test_how_uneven_cores_are_is_found_again() -> None:
    normal = np.random.default_rng(0).normal(0, 0.1, (2, 4000))
    rounds = [[[{"batch": 32, "step": (2e-3 * np.exp(own)).tolist()}] for own in normal]]
    assert fit_speeds(rounds) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("sizes", [(32,), (32, 32), (0, 32)])
def test_one_batch_size_tells_nothing(sizes: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="--batch-size needs two sizes or more"):
        calibrate.calibrate("mnist-mini/lenet5", Processes(), batch_sizes=sizes)


@pytest.mark.slow
def test_two_real_processes_are_measured_and_their_profile_drives_a_simulation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "ROUNDS", 1)
    monkeypatch.setattr(calibrate, "REPEATS", 3)
    monkeypatch.setattr(probes, "BLOCK", 0.05)
    told: list[object] = []
    profile = calibrate.calibrate("mnist-mini/lenet5", Processes(threads=1), batch_sizes=(8, 32), progress=told.append)
    assert told == calibrate.stages()
    path = tmp_path / "profiles" / "lenet.json"
    calibrate.write_profile(profile, path)
    assert DeviceProfile.load(str(path)) == profile
    assert json.loads(path.read_text())["hardware"]["cores"] >= 1
    specification = Specification(
        task="mnist-mini/lenet5", workers=3, epochs=1, cluster=calibrate.as_simulated(path, profile, Processes())
    )
    rehearsal = lab.rehearse(specification)
    assert rehearsal.seconds > 0
    assert all(ledger.compute > 0 for ledger in rehearsal.ledgers.values())
