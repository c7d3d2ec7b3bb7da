import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.clusters.simulated.devices import DeviceProfile, Devices
from manyhands.errors import UserError

NOMINAL = DeviceProfile.load("nominal")
ranks = st.integers(0, 2)


def written(folder: Path, **changes: Any) -> str:
    """The path of a profile like the nominal one but for these changes; None takes a field away."""
    content = {
        "name": "laptop",
        "description": "a test",
        "source": "this file",
        "flops_per_second": 2e9,
        "overhead_seconds": 0,
        "memory_bytes_per_second": 5_000_000_000,
        "backward_to_forward": 3,
    } | changes
    path = folder / "laptop.json"
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return str(path)


def test_the_shipped_profile_is_the_nominal_core_and_says_so() -> None:
    assert NOMINAL.name == "nominal"
    assert (NOMINAL.flops_per_second, NOMINAL.overhead_seconds) == (3e10, 5e-4)
    assert (NOMINAL.memory_bytes_per_second, NOMINAL.backward_to_forward) == (1e10, 2.0)
    assert "not measured" in NOMINAL.description


def test_a_step_takes_overhead_and_three_forward_passes() -> None:
    assert NOMINAL.step_ns(1e6, 32) == 500_000 + 3_200_000
    assert NOMINAL.step_ns(1e6, 0) == 500_000


def test_vector_work_goes_at_the_speed_of_memory() -> None:
    assert NOMINAL.vector_ns(10_000) == 1_000
    assert NOMINAL.vector_ns(0) == 0


def test_a_users_profile_is_read_from_its_path(tmp_path: Path) -> None:
    profile = DeviceProfile.load(written(tmp_path))
    assert profile.name == "laptop"
    assert profile.step_ns(1e9, 1) == 2_000_000_000  # a backward pass of three forward ones
    assert DeviceProfile.load(written(tmp_path, backward_to_forward=None)).backward_to_forward == 2.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flops_per_second": None}, "needs flops_per_second"),
        ({"source": None}, "needs source"),
        ({"gpus": 2}, "has no 'gpus'; it takes name, flops_per_second"),
        ({"flops_per_second": 0}, "flops_per_second must be positive, not 0"),
        ({"flops_per_second": -1.5}, "flops_per_second must be positive, not -1.5"),
        ({"overhead_seconds": -1}, "overhead_seconds must be zero or positive, not -1"),
        ({"memory_bytes_per_second": float("inf")}, "memory_bytes_per_second must be positive, not inf"),
        ({"backward_to_forward": float("nan")}, "backward_to_forward must be zero or positive, not nan"),
        ({"flops_per_second": "fast"}, "flops_per_second must be a number, not 'fast'"),
        ({"flops_per_second": True}, "flops_per_second must be a number, not True"),
        ({"name": 7}, "name must be a text, not 7"),
    ],
)
def test_a_profile_with_wrong_fields_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = written(tmp_path, **changes)
    with pytest.raises(UserError) as refusal:
        DeviceProfile.load(path)
    assert f"device profile '{path}': {message}" in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"{", b'{"name": ', b"\xff\xfe\x00", b"[" * 100_000])
def test_a_damaged_profile_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged\.json' is damaged: it must be a JSON object"):
        DeviceProfile.load(str(path))


def test_a_profile_that_is_no_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text("[1, 2]")
    with pytest.raises(UserError, match="must be a JSON object, not a list"):
        DeviceProfile.load(str(path))


def test_a_profile_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"profile 'abacus': choose from nominal, or name a \.json file"):
        DeviceProfile.load("abacus")
    with pytest.raises(UserError, match="cannot be read: No such file"):
        DeviceProfile.load(str(tmp_path / "none.json"))
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        DeviceProfile.load(str(tmp_path / "folder.json"))


def test_without_jitter_only_slow_nodes_differ() -> None:
    devices = Devices(NOMINAL, 4, seed=0, slow={3: 4.0, 1: 0.5})
    assert [devices.duration_ns(rank, 1_000) for rank in range(4)] == [1_000, 500, 1_000, 4_000]


def test_jitter_is_log_normal_with_mean_one() -> None:
    sigma, draws = 0.3, 20_000
    devices = Devices(NOMINAL, 1, seed=1, jitter=sigma)
    factors = np.array([devices.jitter(0, draw) for draw in range(draws)])
    error = np.sqrt(np.expm1(sigma**2) / draws)  # standard error of the mean
    assert factors.mean() == pytest.approx(1, abs=4 * error)
    assert np.log(factors).std() == pytest.approx(sigma, rel=0.03)
    assert np.unique(factors).size == draws


def test_durations_are_nominal_times_slowness_times_jitter() -> None:
    devices = Devices(NOMINAL, 2, seed=5, slow={1: 3.0}, jitter=0.2)
    expected = [round(10**6 * 3.0 * devices.jitter(1, draw)) for draw in range(5)]
    assert [devices.duration_ns(1, 10**6) for _ in range(5)] == expected


def test_a_nodes_jitter_does_not_depend_on_other_nodes_draws() -> None:
    alone, among = (Devices(NOMINAL, nodes, seed=2, jitter=0.1) for nodes in (2, 9))
    expected = [alone.duration_ns(1, 10**6) for _ in range(4)]
    for rank in (0, 8, 5):
        among.duration_ns(rank, 10**6)
    assert [among.duration_ns(1, 10**6) for _ in range(4)] == expected
    assert alone.jitter(0, 0) != alone.jitter(1, 0)


def test_another_seed_gives_other_jitter() -> None:
    first, second = (Devices(NOMINAL, 1, seed=seed, jitter=0.1) for seed in (0, 1))
    assert first.jitter(0, 0) != second.jitter(0, 0)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(before=st.lists(ranks, max_size=30), after=st.lists(ranks, max_size=30), ahead=st.integers(0, 600))
def test_resumed_from_its_draws_it_goes_on_as_if_uninterrupted(before: list[int], after: list[int], ahead: int) -> None:
    devices = Devices(NOMINAL, 3, seed=7, jitter=0.4)
    devices.restore((ahead, 0, 1))  # so that blocks of draws begin and end on the way
    for rank in before:
        devices.duration_ns(rank, 10**9)
    resumed = Devices(NOMINAL, 3, seed=7, jitter=0.4)
    resumed.restore(devices.draws)
    assert [resumed.duration_ns(rank, 10**9) for rank in after] == [devices.duration_ns(rank, 10**9) for rank in after]
    assert resumed.draws == devices.draws


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slow": {4: 2.0}}, "node 4 cannot be slow: the nodes are 0 to 3"),
        ({"slow": {-1: 2.0}}, "node -1 cannot be slow"),
        ({"slow": {0: 0.0}}, "node 0 can be slower by a positive factor, e.g. 4, not by 0.0"),
        ({"slow": {0: float("nan")}}, "positive factor"),
        ({"jitter": -0.1}, "the jitter must be zero or positive"),
        ({"jitter": float("inf")}, "the jitter must be zero or positive"),
    ],
)
def test_impossible_devices_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Devices(NOMINAL, 4, seed=0, **options)
