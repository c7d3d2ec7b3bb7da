"""Control groups: where they are made, what is written into them, and that nothing of them is left."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proc import alive, until

from manyhands.clusters.processes import janitor
from manyhands.clusters.processes.cgroups import ControlGroups, Hierarchy, check_cpus, find_hierarchies, quota
from manyhands.errors import UserError

V1 = """\
24 1 8:1 / / rw - ext4 /dev/vda rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 /box /sys/fs/cgroup/cpuset rw,relatime shared:7 - cgroup cgroup rw,cpuset
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""


def test_groups_of_version_1_are_made_below_the_own_one() -> None:
    own = "3:cpuset:/box/inner\n1:cpu,cpuacct:/jobs\n0::/\n"
    cpu, cpuset = find_hierarchies(V1, own)
    assert cpu == Hierarchy(1, Path("/sys/fs/cgroup/cpu,cpuacct/jobs"), ("cpu",))
    assert cpuset == Hierarchy(1, Path("/sys/fs/cgroup/cpuset/inner"), ("cpuset",))


def test_groups_of_version_2_are_made_where_the_controllers_are_handed_down(tmp_path: Path) -> None:
    """Not in a group that holds processes, as a session's does."""
    session = tmp_path / "user.slice/session-1.scope"
    session.mkdir(parents=True)
    for folder, text in ((tmp_path, "cpuset cpu io"), (session.parent, "memory"), (session, "")):
        (folder / "cgroup.subtree_control").write_text(text)
    mounts = f"30 1 0:28 / {tmp_path} rw - cgroup2 cgroup2 rw\n"
    (both,) = find_hierarchies(mounts, "0::/user.slice/session-1.scope\n")
    assert both == Hierarchy(2, tmp_path, ("cpu", "cpuset"))


def test_a_machine_without_control_groups_is_told_so() -> None:
    with pytest.raises(UserError, match=r"need control groups .*: leave out --cluster.hosts"):
        find_hierarchies("24 1 8:1 / / rw - ext4 /dev/vda rw\n", "0::/\n")


def test_quotas() -> None:
    """0.6 of a core: 6 of every 10 ms."""
    assert quota(1, 0.6) == {"cpu.cfs_period_us": "10000", "cpu.cfs_quota_us": "6000"}
    assert quota(2, 0.6) == {"cpu.max": "6000 10000"}
    check_cpus(0.1, 2)
    for cpus in (0.0999, 2.1, float("nan")):
        with pytest.raises(UserError, match=r"can have 0.1 to 2 cores of this machine, not"):
            check_cpus(cpus, 2)


@given(cores=st.integers(1, 16), count=st.integers(1, 40), data=st.data())
def test_hosts_get_as_few_cores_as_their_quota_needs_and_take_turns(
    cores: int, count: int, data: st.DataObject
) -> None:
    cpus = data.draw(st.floats(0.1, cores))
    groups = ControlGroups.__new__(ControlGroups)
    groups.cores = list(range(100, 100 + cores))
    given = [groups.cores_of(host, cpus) for host in range(count)]
    for own in given:
        assert len(own) == len(set(own))
        assert cpus <= len(own) < cpus + 1
        assert set(own) <= set(groups.cores)
    loads = [sum(core in own for own in given) for core in groups.cores]
    assert max(loads) - min(loads) <= 1


on_linux = [pytest.mark.namespaces, pytest.mark.usefixtures("emulation")]


def sleeper() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["sleep", "600"])


class TestKernel:
    """With real groups."""

    pytestmark = on_linux

    def test_what_runs_in_a_group_ends_with_it(self) -> None:
        groups = ControlGroups(2, 0.5, sorted(os.sched_getaffinity(0)))
        inside, outside = sleeper(), sleeper()
        try:
            for path in groups.members(1):
                Path(path).write_text(str(inside.pid))
            assert len(os.sched_getaffinity(inside.pid)) == 1
            assert all(group.is_dir() for group in groups.groups)
            groups.close()
            assert inside.wait(5) == -signal.SIGKILL
            assert outside.poll() is None
            assert not any(group.exists() for group in groups.groups)
        finally:
            groups.close()
            outside.kill()
            outside.wait()

    def test_a_quota_can_be_changed(self) -> None:
        groups = ControlGroups(1, 1.0, sorted(os.sched_getaffinity(0)))
        try:
            groups.limit(0, 0.25)
            shown = [path.read_text() for group in groups.groups for path in group.glob("host0/cpu.*")]
            assert "2500\n" in shown or "2500 10000\n" in shown
            with pytest.raises(UserError, match=r"cores of this machine, not 0.01"):
                groups.limit(0, 0.01)
        finally:
            groups.close()

    def test_they_go_even_if_their_janitor_was_killed(self) -> None:
        groups = ControlGroups(1, 1.0, sorted(os.sched_getaffinity(0)))
        groups._janitor.kill()
        groups._janitor.wait()
        groups.close()
        assert not any(group.exists() for group in groups.groups)

    def test_they_go_at_the_next_start_if_owner_and_janitor_were_killed(self) -> None:
        program = (
            "import os; from manyhands.clusters.processes.cgroups import ControlGroups; "
            "g = ControlGroups(1, 1.0, sorted(os.sched_getaffinity(0))); "
            "g._janitor.kill(); print(*g.groups, flush=True); os.kill(os.getpid(), 9)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        left = [Path(word) for word in done.stdout.split()]
        assert left
        assert all(group.exists() for group in left)
        ControlGroups(1, 1.0, sorted(os.sched_getaffinity(0))).close()
        assert not any(group.exists() for group in left)

    def test_a_janitor_heeds_no_signal_but_the_end_of_its_input(self) -> None:
        command = [sys.executable, "-I", "-S", janitor.__file__]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process.send_signal(number)
        assert alive(process.pid)
        process.communicate()
        assert until(lambda: not alive(process.pid), 5)
        assert process.returncode == 0
