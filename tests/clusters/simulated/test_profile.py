import json
from pathlib import Path
from typing import Any

import pytest

from manyhands.clusters.simulated.profile import DeviceProfile
from manyhands.errors import UserError

NOMINAL = DeviceProfile.load("nominal")


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backend": {"send": 1}}, "backend has no 'send'; it takes send_seconds"),
        ({"backend": {"send_seconds": -1}}, "backend.send_seconds must be zero or positive, not -1"),
        ({"backend": {"efficiency": 0}}, "backend.efficiency must be positive, not 0"),
        ({"backend": {"rendezvous": 1}}, "backend.rendezvous must be true or false, not 1"),
        ({"backend": []}, "backend must be a JSON object, not a list"),
        ({"overlap_slowdown": 0}, "overlap_slowdown must be positive, not 0"),
        ({"hardware": "fast"}, "hardware must be a JSON object, not 'fast'"),
        ({"task": None, "network": 3}, "network must be a JSON object, not 3"),
    ],
)
def test_what_calibration_adds_is_checked_too(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refusal:
        DeviceProfile.load(written(tmp_path, **changes))
    assert message in str(refusal.value)


def test_a_profile_comes_back_from_its_own_json(tmp_path: Path) -> None:
    profile = DeviceProfile.load(
        written(tmp_path, task="mnist/lenet5", backend={"send_seconds": 1e-4, "rendezvous": True}, overlap_slowdown=1.2)
    )
    path = tmp_path / "again.json"
    path.write_text(json.dumps(profile.to_json()))
    assert DeviceProfile.load(str(path)) == profile
    assert profile.backend.send_seconds == 1e-4


def test_the_digest_tells_any_difference(tmp_path: Path) -> None:
    first = DeviceProfile.load(written(tmp_path))
    other = DeviceProfile.load(written(tmp_path, backend={"latency_seconds": 1e-9}))
    assert first.digest == DeviceProfile.load(written(tmp_path)).digest
    assert first.digest != other.digest
    assert len(first.digest) == 12


def test_scaling_makes_everything_take_so_many_times_as_long(tmp_path: Path) -> None:
    backend = {"send_seconds": 1e-3, "latency_seconds": 1e-3, "collective_seconds": 2e-3, "efficiency": 0.9}
    profile = DeviceProfile.load(written(tmp_path, overhead_seconds=1e-3, backend=backend))
    slower = profile.scaled(compute=2.0, link=3.0)
    assert slower.step_ns(1e6, 8) == 2 * profile.step_ns(1e6, 8)
    assert slower.vector_ns(10**6) == 2 * profile.vector_ns(10**6)
    assert slower.backend.send_seconds == pytest.approx(3e-3)
    assert slower.backend.efficiency == pytest.approx(0.3)
    assert profile.scaled() == profile
