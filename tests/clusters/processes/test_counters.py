"""The kernel's counters: their file, whose interface it is, and what is counted of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from manyhands import lab
from manyhands.clusters.cluster import Processes
from manyhands.clusters.processes import counters
from manyhands.clusters.processes.counters import Counters, Meter, Unreadable, own_interface, read_counters
from manyhands.runs.specification import Specification
from manyhands.strategies import parse_strategy

SAMPLE = """Inter-|   Receive                            |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo: 1004588    612    0    0    0     0          0         0  1004588    612    0    0    0     0       0          0
  eth0:12345678   9876    1    2    3     4          5         6 87654321   5432    0    0    0     0       0          0
eth0.7:       1      1    0    0    0     0          0         0        2      2    0    0    0     0       0          0
veth@if2:  18446744073709551615 1 0 0 0 0 0 0  18446744073709551614 2 0 0 0 0 0 0
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "dev"
    file.write_text(text)
    return file


def test_counters_are_read(tmp_path: Path) -> None:
    file = write(tmp_path, SAMPLE)
    assert read_counters("eth0", file) == Counters(sent=87654321, received=12345678)  # the space may be missing
    assert read_counters("lo", file) == Counters(sent=1004588, received=1004588)
    assert read_counters("eth0.7", file) == Counters(sent=2, received=1)
    assert read_counters("veth@if2", file) == Counters(sent=2**64 - 2, received=2**64 - 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SAMPLE.replace("eth0:", "eth1:"), "knows no interface eth0"),
        ("", "knows no interface eth0"),
        ("  eth0: 1 2 3\n", "has an unknown form"),
        ("  eth0: " + "x " * 16 + "\n", "has an unknown form"),
    ],
)
def test_what_cannot_be_read_says_why(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=reason):
        read_counters("eth0", write(tmp_path, text))


def test_a_system_without_counters_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=r"cannot be read \(No such file or directory\)"):
        read_counters("eth0", tmp_path / "none")


def test_an_interface_is_the_nodes_own_on_an_emulated_host_or_alone_under_torchrun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "veth9")
    with pytest.raises(Unreadable, match="share one host's loopback"):
        own_interface(Processes(), 2)
    assert own_interface(Processes(hosts=2), 2) == "veth9"
    with pytest.raises(Unreadable, match="several nodes share an emulated host's interface"):
        own_interface(Processes(hosts=2), 3)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(Unreadable, match="several nodes share the host's interface"):
        own_interface(Processes(interface="eth0"), 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert own_interface(Processes(interface="eth0"), 2) == "eth0"
    with pytest.raises(Unreadable, match=r"name it with --cluster\.interface"):
        own_interface(Processes(), 2)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the kernel says, one after another; a reason where it says nothing."""
    coming: list[Any] = []

    def read(_: str) -> Counters:
        reading = coming.pop(0)
        if isinstance(reading, str):
            raise Unreadable(reading)
        return Counters(*reading)

    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth0")
    monkeypatch.setattr(counters, "read_counters", read)
    return coming


def test_bytes_count_while_the_clock_goes_on(readings: list[Any]) -> None:
    meter = Meter(Processes(hosts=2), 2)
    readings += [(100, 10), (150, 30), (1_000, 2_000), (1_001, 2_002)]
    for action in (meter.start, meter.stop, meter.start, meter.stop):
        action()
    assert meter.total == (51, 22)
    meter.go_on_from((9, 8), "")
    assert meter.total == (9, 8)


def test_what_is_not_counted_throughout_is_not_counted(readings: list[Any]) -> None:
    meter = Meter(Processes(hosts=2), 2)
    readings += [(100, 10), "the file is gone"]
    meter.start()
    meter.stop()
    assert meter.total is None
    assert meter.why == "the file is gone"
    resumed = Meter(Processes(hosts=2), 2)
    resumed.go_on_from(None, "it was not counted before")
    resumed.start()
    assert (resumed.total, resumed.why) == (None, "it was not counted before")
    assert Meter(Processes(), 2).total is None


@pytest.mark.namespaces
@pytest.mark.usefixtures("emulation")
@pytest.mark.parametrize("strategy", ["all-reduce", "parameter-server", "peer-gradients:compression=top-k:0.1"])
def test_on_emulated_hosts_the_kernel_counts_what_is_predicted(strategy: str, tmp_path: Path) -> None:
    """Payload, prediction and measurement; what the cluster itself says between epochs is in none of them."""
    chosen = parse_strategy(strategy)
    cluster = Processes(threads=1, timeout=30, hosts=2 + chosen.servers, network="1Gbit/s")
    specification = Specification(
        task="mnist-mini/lenet5", strategy=chosen, cluster=cluster, workers=2, epochs=2, batch_size=128
    )
    lab.train(specification, out=tmp_path / "run")
    nodes = json.loads((tmp_path / "run" / "ledger.json").read_text())["nodes"]
    assert len(nodes) == cluster.hosts
    for node in nodes:
        traffic = node["bytes"]
        assert "measured_why" not in traffic
        for direction in ("sent", "received"):
            payload, wire, measured = (traffic[line][direction] for line in ("algorithmic", "wire", "measured"))
            assert payload < wire < 1.06 * payload
            assert measured == pytest.approx(wire, rel=0.05), (node["rank"], direction)
            assert payload < measured < 1.1 * payload
