"""Emulated hosts: who lives where, what passes the links, and that nothing is left, whatever ends them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jobs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proc import TWO_WORKERS, alive, descendants, until

from manyhands import lab
from manyhands.clusters.cluster import Processes
from manyhands.clusters.processes import hosts as module
from manyhands.clusters.processes.cgroups import PREFIX
from manyhands.clusters.processes.fleet import Fleet
from manyhands.clusters.processes.hosts import RATES, Hosts, bucket, check_rate
from manyhands.clusters.processes.launch import check_world
from manyhands.errors import UserError
from manyhands.runs.folder import RunFolder
from manyhands.runs.specification import Specification
from manyhands.strategies import AllReduce, LocalSGD

emulated = [pytest.mark.namespaces, pytest.mark.usefixtures("emulation")]
MBIT = 1e6 / 8


def options(hosts: int = 2, **others: Any) -> Processes:
    return Processes(**{"hosts": hosts, "threads": 1, "timeout": 30, **others})


def groups_of(pid: int) -> list[Path]:
    """The control groups that a process made and has not removed."""
    return [path for path in Path("/sys/fs/cgroup").glob(f"**/{PREFIX}{pid}-*") if path.is_dir()]


def namespaces() -> dict[int, int]:
    """Network namespaces of all processes: inode by pid."""
    found = {}
    for folder in os.listdir("/proc"):
        if folder.isdigit():
            try:
                found[int(folder)] = os.stat(f"/proc/{folder}/ns/net").st_ino
            except OSError:
                continue
    return found


# ---- what can be said without making any


@given(rate=st.floats(*RATES))
def test_a_bucket_holds_the_largest_packet_and_little_more(rate: float) -> None:
    packet, burst, queue = bucket(rate)
    assert 1514 <= packet <= 65_536
    assert packet < burst < queue
    assert burst <= max(packet + 1600, 0.3e-3 * rate + 1)


@pytest.mark.parametrize("rate", [0.0, 1e6 / 8 - 1, 33e9 / 8, float("inf"), float("nan"), -1.0])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(UserError, match=r"--cluster.network must lie in 1 Mbit/s … 32 Gbit/s for emulated hosts, not"):
        check_rate(rate)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"hosts": -1}, "--cluster.hosts must not be negative, but is -1"),
        ({"hosts": 251}, "--cluster.hosts must lie in 1 … 250, not 251"),
        ({"network": "1kbit/s"}, "--cluster.network must lie in 1 Mbit/s … 32 Gbit/s for emulated hosts, not 1 kbit/s"),
        ({"network": "fast"}, "'fast' is not a rate: .*"),
        ({"delay": "long"}, "'long' is not a time: .*"),
        ({"cpus": -1.0}, "--cluster.cpus must be zero or more and finite, not -1.0"),
        ({"slow": ("x",)}, "--cluster.slow takes RANK:FACTOR, e.g. 3:4, not 'x'"),
        ({"interface": "eth0"}, "--cluster.interface: emulated hosts have their own, leave it out"),
        ({"hosts": 0, "network": "2Gbit/s"}, "--cluster.network is for emulated hosts: give --cluster.hosts too, .*"),
        ({"hosts": 0, "slow": ("0:2",)}, "--cluster.slow is for emulated hosts: give --cluster.hosts too, .*"),
    ],
)
def test_options_that_cannot_be_are_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=f"^{text}$"):
        options(**given)


def test_hosts_are_no_more_than_nodes_and_slow_nodes_are_among_them(tmp_path: Path) -> None:
    specification = Specification(task="mnist-mini/logistic", strategy=LocalSGD(), workers=2, cluster=options(3))
    with pytest.raises(UserError, match=r"^--cluster.hosts 3 is more than the 2 nodes: each host needs one$"):
        lab.train(specification, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match=r"^--cluster.slow names node 2, but the nodes are 0 to 1$"):
        options(slow=("2:4",)).check(2)
    options(slow=("1:4",)).check(2)


def test_torchrun_and_accelerators_are_refused() -> None:
    specification = Specification(task="mnist-mini/logistic", strategy=LocalSGD(), workers=2, cluster=options())
    with pytest.raises(UserError, match=r"^torchrun has its own hosts: leave out --cluster.hosts, or .*"):
        check_world(specification, 2)
    with pytest.raises(UserError, match=r"^emulated hosts shape what processors send: take --device cpu"):
        Fleet(2, options(), device="cuda")


def test_who_is_not_root_or_not_on_linux_hears_what_works_without(monkeypatch: pytest.MonkeyPatch) -> None:
    without = "leave out --cluster.hosts to run the processes over this machine's loopback$"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UserError, match=f"^emulated hosts need (root|Linux).*: {without}"), Hosts(2, 1e8):
        pass
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UserError, match=f"^emulated hosts need Linux: {without}"), Hosts(2, 1e8):
        pass


def test_without_pyroute2_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setitem(sys.modules, "pyroute2", None)
    with pytest.raises(UserError, match=r"^emulated hosts need pyroute2: pip install 'manyhands\[emulation\]', or"):
        module.check_machine()


# ---- on real ones


@pytest.fixture(scope="module")
def fleet(emulation: None) -> Iterator[Fleet]:
    with Fleet(3, options(2, cpus=0.5, network="200Mbit/s")) as fleet:
        yield fleet


class TestHosts:
    pytestmark = emulated

    def test_each_process_lives_on_its_host_alone(self, fleet: Fleet) -> None:
        seen = fleet.call(jobs.surroundings)
        assert [len({seen[a]["namespace"], seen[b]["namespace"]}) for a, b in ((0, 1), (1, 2), (0, 2))] == [2, 2, 1]
        assert os.stat("/proc/self/ns/net").st_ino not in {each["namespace"] for each in seen}
        assert all(each["interfaces"] == ["eth0", "lo"] for each in seen)
        assert [each["address"] for each in seen] == ["10.77.0.1", "10.77.0.2", "10.77.0.1"]
        assert all(each["groups"] and all(each["groups"]) for each in seen)
        assert all(len(each["cores"]) == 1 for each in seen)
        assert [each["local"] for each in seen] == [(0, 2), (0, 1), (1, 2)]

    def test_all_that_processes_say_to_each_other_passes_the_links(self, fleet: Fleet) -> None:
        """Two workers send each half of a vector of N numbers and receive the other, then again: 4 N bytes, and
        headers of 66 for each 1448; acknowledgements come on top, one for two segments at the most."""
        numbers = 500_000
        least = 4 * numbers * (1 + 66 / 1448)
        for result, sent, received in fleet.call(jobs.total_and_bytes, numbers, nodes=2):
            assert result == 1.0
            for counted in (sent, received):
                assert 0.999 * least <= counted <= 1.03 * least

    def test_a_rate_is_a_limit_and_can_be_changed(self, fleet: Fleet) -> None:
        assert fleet.hosts
        measured = {}
        for rate in (20 * MBIT, 400 * MBIT):
            fleet.hosts.shape(rate)
            measured[rate], latency = fleet.hosts.measure()
            assert 0 < latency < 1
            assert 0 < measured[rate] <= rate
        assert measured[20 * MBIT] < measured[400 * MBIT]

    def test_a_run_has_the_network_and_the_quotas_of_its_specification(self, fleet: Fleet, tmp_path: Path) -> None:
        cluster = options(2, cpus=0.4, network="100Mbit/s", slow=("1:2",))
        specification = Specification(
            task="mnist-mini/logistic", strategy=AllReduce(), workers=2, epochs=1, cluster=cluster
        )
        folder = lab.train(specification, out=tmp_path / "run", fleet=fleet)
        network = RunFolder(folder).read_run()["network"]
        assert network.keys() == {"nominal", "measured", "latency", "hosts", "cpus"}
        assert (network["nominal"], network["hosts"], network["cpus"]) == (100 * MBIT, 2, 0.4)
        assert 0 < network["measured"] <= network["nominal"]
        assert fleet.hosts
        assert fleet.hosts.rate == 100 * MBIT
        assert fleet.hosts._groups
        shown = {
            (path.parent.name, path.read_text())
            for group in fleet.hosts._groups.groups
            for path in group.glob("host?/cpu.*")
        }
        assert {("host0", "4000\n"), ("host1", "2000\n")} <= shown or {
            ("host0", "4000 10000\n"),
            ("host1", "2000 10000\n"),
        } <= shown

    def test_bytes_on_hosts_are_measured(self, tmp_path: Path) -> None:
        specification = Specification(
            task="mnist-mini/lenet5", strategy=AllReduce(), workers=2, epochs=1, cluster=options(2, network="300Mbit/s")
        )
        folder = lab.train(specification, out=tmp_path / "run")
        for node in json.loads((folder / "ledger.json").read_text())["nodes"]:
            for direction in ("sent", "received"):
                wire, measured = (node["bytes"][kind][direction] for kind in ("wire", "measured"))
                assert abs(measured - wire) <= 0.05 * wire

    def test_several_may_be_at_once(self) -> None:
        before = groups_of(os.getpid())
        with Hosts(2, 1e8) as one, Hosts(3, 1e7) as other:
            assert len({one.host(0).namespace, other.host(0).namespace}) == 2
            assert one.measure(0.05)[0] > 0
            assert other.measure(0.05)[0] > 0
            assert len(groups_of(os.getpid())) > len(before)
        assert groups_of(os.getpid()) == before

    def test_a_delay_is_kept_or_refused(self) -> None:
        """Kernels without netem cannot delay."""
        before = groups_of(os.getpid())
        refusal = ""
        try:
            with Hosts(2, 1e8, delay=0.02) as hosts:
                assert hosts.measure(0.05)[1] >= 0.02
        except UserError as error:
            refusal = str(error)
        assert not refusal or refusal.startswith("--cluster.delay needs netem, which this kernel lacks")
        assert groups_of(os.getpid()) == before


class TestRemoval:
    """After whatever end: no process, no control group, no namespace (which lives as long as processes in it)."""

    pytestmark = emulated
    FLAGS = (*TWO_WORKERS, "--hosts", "2", "--network", "300Mbit/s", "--epochs", "5000", "--quiet")

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_after_an_exception(self, error: type[BaseException]) -> None:
        before, groups = set(namespaces().values()), groups_of(os.getpid())
        files = len(os.listdir("/proc/self/fd"))
        inside: set[object] = set()

        def fail() -> None:
            with Fleet(2, options()) as fleet:
                inside.update(each["namespace"] for each in fleet.call(jobs.surroundings))
                assert len(groups_of(os.getpid())) > len(groups)
                raise error

        with pytest.raises(error):
            fail()
        assert len(inside) == 2
        assert inside.isdisjoint(before)
        assert inside.isdisjoint(namespaces().values())
        assert groups_of(os.getpid()) == groups
        assert len(os.listdir("/proc/self/fd")) <= files + 2, "the resource tracker of Python and its pipe may be new"

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
    def test_in_the_middle_of_a_run(self, number: signal.Signals, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "manyhands", "train", *self.FLAGS, "--out", str(tmp_path / "run")]
        own = os.stat("/proc/self/ns/net").st_ino
        launcher = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        run = RunFolder(tmp_path / "run")
        assert until(lambda: len(run.read_history()) > 2, 90), launcher.communicate()
        pids = descendants(launcher.pid)
        inside = {inode for pid, inode in namespaces().items() if pid in pids} - {own}
        assert len(inside) == 2
        assert groups_of(launcher.pid)
        if number == signal.SIGKILL:
            launcher.kill()  # it alone, which cannot say good-bye
        else:
            os.killpg(launcher.pid, number)
        _, complaint = launcher.communicate(timeout=30)
        if number == signal.SIGINT:
            assert complaint.startswith("manyhands: interrupted; go on with:")
        assert until(lambda: not any(map(alive, pids)), 10)
        assert until(lambda: not groups_of(launcher.pid), 10)
        assert inside.isdisjoint(namespaces().values())

    def test_while_it_starts(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "manyhands", "train", *self.FLAGS, "--out", str(tmp_path / "run")]
        launcher = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        assert until(lambda: bool(groups_of(launcher.pid)), 60)
        pids = descendants(launcher.pid)
        launcher.kill()
        launcher.wait()
        assert until(lambda: not groups_of(launcher.pid), 10)
        assert until(lambda: not any(map(alive, pids)), 10)
