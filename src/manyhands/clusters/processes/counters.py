"""The bytes that the kernel counts at a node's network interface, where the node has one to itself."""

import os
from pathlib import Path
from typing import NamedTuple

from manyhands.clusters.cluster import Processes
from manyhands.clusters.processes.hosts import here
from manyhands.errors import UserError

DEVICES = Path("/proc/self/net/dev")
"""of the network namespace of the process that reads it, which /sys/class/net is not"""


class Unreadable(Exception):
    """The counters cannot be read; says why."""


class Counters(NamedTuple):
    """Bytes since the interface came up, with all headers from Ethernet's on."""

    sent: int
    received: int


def read_counters(interface: str, file: Path = DEVICES) -> Counters:
    """Read an interface's counters; raises Unreadable where the system has none, or none of that interface.

    The columns are those of Linux's net/core/net-procfs.c: received bytes come first, sent ones ninth.
    """
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise Unreadable(f"{file} cannot be read ({error.strerror})") from None
    for line in lines:
        name, colon, numbers = line.rpartition(":")
        if colon and name.strip() == interface:
            columns = numbers.split()
            try:
                return Counters(sent=int(columns[8]), received=int(columns[0]))
            except (IndexError, ValueError):
                raise Unreadable(f"{file} has an unknown form") from None
    raise Unreadable(f"{file} knows no interface {interface}")


def own_interface(options: Processes, nodes: int) -> str:
    """The interface over which this process's node talks, and nobody else does; raises Unreadable if there is none."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        if int(os.environ["LOCAL_WORLD_SIZE"]) > 1:
            raise Unreadable("several nodes share the host's interface")
        if not options.interface:
            raise Unreadable("it is not known which interface the nodes talk over: name it with --cluster.interface")
        return options.interface
    hosts = getattr(options, "hosts", 0)
    if not hosts:
        raise Unreadable("the nodes share one host's loopback with all that runs there")
    if nodes > hosts:
        raise Unreadable("several nodes share an emulated host's interface")
    return os.environ["GLOO_SOCKET_IFNAME"]


class Meter:
    """Counts a node's bytes while it runs; what the cluster itself sends in pauses is left out.

    What cannot be counted throughout is not counted at all: ``why`` then says what is in the way.
    """

    def __init__(self, options: Processes, nodes: int) -> None:
        self._interface, self._since = "", Counters(0, 0)
        self._sent, self._received = 0, 0
        self.why = ""
        try:
            self._interface = own_interface(options, nodes)
        except Unreadable as reason:
            self.why = str(reason)

    def go_on_from(self, measured: tuple[int, int] | None, why: str) -> None:
        """Add to what was counted before the run was interrupted."""
        if measured is None:
            self.why = self.why or why
        else:
            self._sent, self._received = measured

    def start(self) -> None:
        self._since = self._read()

    def stop(self) -> None:
        now = self._read()
        self._sent += now.sent - self._since.sent
        self._received += now.received - self._since.received

    @property
    def total(self) -> tuple[int, int] | None:
        """Bytes sent and received so far."""
        return None if self.why else (self._sent, self._received)

    def _read(self) -> Counters:
        if not self.why:
            try:
                host = here()
                return Counters(*host.count()) if host else read_counters(self._interface)
            except (Unreadable, UserError, OSError) as reason:
                self.why = str(reason)
        return Counters(0, 0)
