"""Emulated hosts: network namespaces on one machine, joined by a switch, over links of a given rate.

Each host has one interface, ``eth0``, at one end of a veth pair; the other end is a port of a bridge, which is the
switch and has a namespace of its own, so that nothing of the machine's own network is touched. A token bucket (tbf)
limits what leaves a host, another at the port what reaches it. The rate counts whole Ethernet frames: of a stream over
TCP, payloads get 1448/1514 = 95.6 % of it.

A bucket that is full lets ``burst`` bytes pass at once, about 0.3 ms of the rate: a message of S bytes on the wire
takes (S - burst) / rate after a pause. Less would make it depend on the machine's timers and so be less exact.
"""

import contextlib
import errno
import os
import socket
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

from manyhands.clusters.processes import namespaces
from manyhands.clusters.processes.cgroups import ControlGroups
from manyhands.clusters.quantities import format_rate
from manyhands.errors import UserError

INTERFACE = "eth0"
MAX_HOSTS = 250
RATES = (1e6 / 8, 32e9 / 8)
"""bytes per second that a token bucket can keep: slower ones hold a packet for longer than TCP waits"""
QUEUE_SECONDS = 0.05
"""what a switch's port holds back, in time at the rate, when several hosts send to one"""
MIN_QUEUE = 100_000
_PACKET_SECONDS = 250e-6
"""A host sends packets that take so long, at the most: fewer and larger ones spare the processor, smaller ones take
turns more finely."""
_SEGMENT = 1600
"""bytes with room for one segment of TCP"""
_ROOT = 0xFFFFFFFF
"""of <linux/pkt_sched.h>"""


@dataclass(frozen=True)
class Host:
    """What a process needs to live on a host; can be pickled."""

    number: int
    address: str
    interface: str
    namespace: str
    """path of a file, there as long as the process that made the hosts"""
    switch: str
    """the same of the switch's namespace"""
    groups: tuple[str, ...]

    def enter(self) -> None:
        """Move this process into the host: its main thread, before it has started others that use the network.

        Sockets that are open already stay in the network in which they were made.
        """
        global _here
        with _opened(self.namespace) as file:
            namespaces.enter(file)
        for path in self.groups:
            with open(path, "w") as members:
                members.write(str(os.getpid()))
        # Threads that wake must not push aside the one that runs, on the one core that they share: Gloo's event loop
        # spins while a thread that it has pushed aside holds its lock, up to a tick of the kernel, 4 ms.
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        _here = self

    def count(self) -> tuple[int, int]:
        """Bytes on the wire that the host has sent and received, by the kernel's count, from Ethernet's headers on.

        They are those of the token buckets. What /proc/net/dev tells is less: a host hands TCP's segments to its link
        in large packets, which have one header there until they are cut up at their destination.
        """
        with _opened(self.namespace) as file:
            sent = namespaces.within(file, partial(_count, INTERFACE))
        with _opened(self.switch) as file:
            return sent, namespaces.within(file, partial(_count, _port(self.number)))


_here: Host | None = None


def here() -> Host | None:
    """The host on which this process lives."""
    return _here


class Hosts:
    """So many emulated hosts, to be used as a context manager, after which nothing of them is left.

    ``rate``: bytes per second of each host's interface, in each direction. ``cpus``: cores that each host may use;
    default: those of the machine shared out, at most one each. ``delay``: seconds from host to host, besides.
    Raises UserError where the machine cannot do it. Needs Linux and root.
    """

    interface = INTERFACE

    def __init__(self, count: int, rate: float, *, cpus: float | None = None, delay: float = 0.0) -> None:
        check_count(count)
        check_rate(rate)
        self.count, self.rate, self.delay = count, rate, delay
        self.cores = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
        self.cpus = cpus or min(1.0, len(self.cores) / count)
        self._namespaces: list[int] = []
        self._switch = -1
        self._groups: ControlGroups | None = None

    def __enter__(self) -> "Hosts":
        check_machine()
        try:
            self._groups = ControlGroups(self.count, self.cpus, self.cores)
            self._connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes on the hosts, and remove everything."""
        if self._groups:
            self._groups.close()
            self._groups = None
        for file in (*self._namespaces, self._switch):
            if file >= 0:
                os.close(file)
        self._namespaces, self._switch = [], -1

    def address(self, host: int) -> str:
        """The IPv4 address of a host."""
        return f"10.77.0.{host + 1}"

    def host(self, number: int) -> Host:
        """A host as its processes need it."""
        assert self._groups, "the hosts are not there yet, or no more"
        files = f"/proc/{os.getpid()}/fd"
        return Host(
            number,
            self.address(number),
            self.interface,
            f"{files}/{self._namespaces[number]}",
            f"{files}/{self._switch}",
            self._groups.members(number),
        )

    def enter(self, host: int) -> None:
        """Move this process into a host; see `Host.enter`."""
        self.host(host).enter()

    def limit(self, host: int, cpus: float) -> None:
        """Let a host use so many cores' time from now on."""
        assert self._groups
        self._groups.limit(host, cpus)

    def shape(self, rate: float) -> None:
        """Give all links another rate. Connections that are open keep the size of their packets, which fits the old."""
        check_rate(rate)
        self.rate = rate
        for number, namespace in enumerate(self._namespaces):
            namespaces.within(namespace, partial(self._shape_end, INTERFACE))
            namespaces.within(self._switch, partial(self._shape_end, _port(number)))

    def _connect(self) -> None:
        try:
            self._switch = namespaces.make()
            for _ in range(self.count):
                self._namespaces.append(namespaces.make())
        except OSError as error:
            raise UserError(
                f"emulated hosts need network namespaces, which this system refuses ({error.strerror}): "
                "leave out --cluster.hosts"
            ) from None
        namespaces.within(self._switch, self._make_switch)
        for number, namespace in enumerate(self._namespaces):
            namespaces.within(namespace, partial(self._set_up, number))

    def _make_switch(self) -> None:
        with _netlink() as ip:
            ip.link("add", ifname="switch", kind="bridge", br_forward_delay=0, br_stp_state=0, br_mcast_snooping=0)
            (switch,) = ip.link_lookup(ifname="switch")
            ip.link("set", index=switch, state="up")
            for number, namespace in enumerate(self._namespaces):
                peer = {"ifname": INTERFACE, "net_ns_fd": namespace}
                ip.link("add", ifname=_port(number), kind="veth", peer=peer)
                (port,) = ip.link_lookup(ifname=_port(number))
                ip.link("set", index=port, master=switch, state="up")
        for number in range(self.count):
            self._shape_end(_port(number))

    def _set_up(self, number: int) -> None:
        with _netlink() as ip:
            (loopback,) = ip.link_lookup(ifname="lo")
            (interface,) = ip.link_lookup(ifname=INTERFACE)
            ip.link("set", index=loopback, state="up")
            ip.addr("add", index=interface, address=self.address(number), prefixlen=24)
            if self.delay:
                self._slow_down(ip, interface)
        self._shape_end(INTERFACE)
        with _netlink() as ip:
            ip.link("set", index=interface, state="up")

    def _slow_down(self, ip: Any, interface: int) -> None:
        """A delay before the token bucket of what leaves a host."""
        from pyroute2.netlink.exceptions import NetlinkError

        packets = max(1000, round(4 * self.rate * self.delay / 1500))
        try:
            ip.tc("add", "netem", interface, handle="1:", parent=_ROOT, delay=round(self.delay * 1e6), limit=packets)
        except NetlinkError as error:
            if error.code not in (errno.ENOENT, errno.EOPNOTSUPP):
                raise
            raise UserError(
                "--cluster.delay needs netem, which this kernel lacks (CONFIG_NET_SCH_NETEM): leave it out, "
                "the rates of --cluster.network work without"
            ) from None

    def _shape_end(self, name: str) -> None:
        packet, burst, queue = bucket(self.rate)
        parent = 0x00010001 if self.delay and name == INTERFACE else _ROOT
        with _netlink() as ip:
            (index,) = ip.link_lookup(ifname=name)
            ip.link("set", index=index, gso_max_size=packet)
            ip.tc("replace", "tbf", index, handle="10:", parent=parent, rate=int(self.rate), burst=burst, limit=queue)

    def measure(self, seconds: float = 0.3) -> tuple[float, float]:
        """What a link really gives: payload bytes per second of a TCP stream, and seconds one way of a single byte.

        Between the first two hosts. One way is half of the median round trip of 100, which wakes a thread at each end.
        """
        assert self.count > 1, "one host has nobody to talk to"
        listener = namespaces.within(self._namespaces[1], lambda: socket.create_server((self.address(1), 0)))
        address = listener.getsockname()
        sender = namespaces.within(self._namespaces[0], lambda: socket.create_connection(address, timeout=10))
        with listener, sender, listener.accept()[0] as receiver:
            for end in (sender, receiver):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                end.settimeout(10)
            latency = statistics.median(_round_trips(sender, receiver, 100)) / 2
            return _stream(sender, receiver, seconds), latency


def bucket(rate: float) -> tuple[int, int, int]:
    """Bytes of the largest packet that a host hands to its link, of a burst, and of the queue, at a rate."""
    packet = min(65_536, max(_SEGMENT, round(rate * _PACKET_SECONDS)))
    burst = max(round(1.2 * rate * _PACKET_SECONDS), packet + _SEGMENT)
    return packet, burst, max(MIN_QUEUE, round(rate * QUEUE_SECONDS))


def check_count(count: int) -> None:
    """Raise UserError for a number of hosts that there cannot be."""
    if not 1 <= count <= MAX_HOSTS:
        raise UserError(f"--cluster.hosts must lie in 1 … {MAX_HOSTS}, not {count}")


def check_rate(rate: float) -> None:
    """Raise UserError for a rate that links cannot be given."""
    if not RATES[0] <= rate <= RATES[1]:
        least, most = map(format_rate, RATES)
        shown = format_rate(rate) if 0 <= rate < inf else str(rate)
        raise UserError(f"--cluster.network must lie in {least} … {most} for emulated hosts, not {shown}")


def check_machine() -> None:
    """Raise UserError unless this is root on Linux with what is needed."""
    without = "leave out --cluster.hosts to run the processes over this machine's loopback"
    if sys.platform != "linux":
        raise UserError(f"emulated hosts need Linux: {without}")
    if os.geteuid() != 0:
        raise UserError(f"emulated hosts need root, for network namespaces and control groups: {without}")
    try:
        import pyroute2  # noqa: F401
    except ImportError:
        raise UserError(f"emulated hosts need pyroute2: pip install 'manyhands[emulation]', or {without}") from None


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


def _count(name: str) -> int:
    """Bytes that have passed an interface's token bucket."""
    with _netlink() as ip:
        (index,) = ip.link_lookup(ifname=name)
        (bucket,) = (q for q in ip.get_qdiscs(index=index) if q.get_attr("TCA_KIND") == "tbf")
        return int(bucket.get_attr("TCA_STATS2").get_attr("TCA_STATS_BASIC")["bytes"])


def _port(number: int) -> str:
    return f"host{number}"


@contextlib.contextmanager
def _netlink() -> Iterator[Any]:
    """The kernel's interface for networks, in the namespace of the calling thread."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as ip:
            yield ip
    except NetlinkError as error:
        raise UserError(f"emulated hosts cannot be connected on this kernel: {error}") from None


def _round_trips(one: socket.socket, other: socket.socket, count: int) -> list[float]:
    def answer() -> None:
        with contextlib.suppress(OSError):
            for _ in range(count):
                other.sendall(other.recv(1))

    thread = threading.Thread(target=answer)
    thread.start()
    times = []
    for _ in range(count):
        start = time.perf_counter()
        one.sendall(b"?")
        one.recv(1)
        times.append(time.perf_counter() - start)
    thread.join()
    return times


def _stream(sender: socket.socket, receiver: socket.socket, seconds: float) -> float:
    """Payload bytes per second, without the first 0.1 s: TCP finds its pace, and the buckets empty."""
    warm_up = 0.1
    stop = threading.Event()

    def send() -> None:
        chunk = bytes(65_536)
        with contextlib.suppress(OSError):
            while not stop.is_set():
                sender.sendall(chunk)
            sender.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send)
    thread.start()
    buffer = bytearray(2**20)
    try:
        _take(receiver, buffer, warm_up)
        received, took = _take(receiver, buffer, seconds)
    finally:
        stop.set()
        while receiver.recv_into(buffer):
            pass
        thread.join()
    return received / took


def _take(receiver: socket.socket, buffer: bytearray, seconds: float) -> tuple[int, float]:
    """Receive for so long; returns bytes, and seconds from the start to the last of them."""
    start = now = time.perf_counter()
    received = 0
    while now - start < seconds:
        received += receiver.recv_into(buffer)
        now = time.perf_counter()
    return received, now - start
