"""Processes that live on and do one thing after another: to start them anew for each takes its time."""

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from math import nan
from multiprocessing import connection, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch._C._distributed_c10d import PrefixStore, TCPStore

from manyhands.clusters.cluster import Processes
from manyhands.clusters.experiment import Experiment
from manyhands.clusters.processes.hosts import Hosts
from manyhands.clusters.processes.member import (
    LOOPBACK,
    Failure,
    Job,
    Place,
    backend_of,
    call,
    options_of,
    serve,
    train,
)
from manyhands.clusters.processes.relay import read_share
from manyhands.clusters.processes.wire import LOST
from manyhands.clusters.quantities import bytes_per_second, nanoseconds
from manyhands.errors import RunError, UserError
from manyhands.runs.folder import RunFolder
from manyhands.runs.recorder import Follower, Observer

__all__ = ["Fleet", "Place"]

GRACE = 5.0
"""seconds that processes get to end by themselves once one has failed"""
IMPORTED = ["manyhands.clusters.processes.member"]
"""modules, torch with them, that processes have when they start"""
PATIENCE = 0.05
"""seconds between two looks at what a run has written"""


@dataclass
class _Member:
    """The launcher's side of a process."""

    process: BaseProcess
    pipe: Connection
    results: list[Any]
    failure: Failure | None = None

    def listen(self) -> None:
        """Take what it has said since the last time."""
        with contextlib.suppress(EOFError, OSError):
            while self.pipe.poll():
                said = self.pipe.recv()
                if isinstance(said, Failure):
                    self.failure = said
                else:
                    self.results.append(said)


class Fleet:
    """So many processes on this machine, on emulated hosts if the options say so; to be used as a context manager.

    They are started when they are first needed, and anew if one has failed. Whatever happens, none stays behind.
    """

    hosts: Hosts | None = None

    def __init__(self, nodes: int, options: Processes, *, device: str | torch.device = "cpu") -> None:
        options.check(nodes)
        self.nodes, self.options = nodes, options
        self.device = torch.device(device)
        if options.hosts and self.device.type != "cpu":
            raise UserError(
                "emulated hosts shape what processors send: take --device cpu, or leave out --cluster.hosts"
            )
        self._members: list[_Member] = []
        self._resources = ExitStack()
        self._port = 0
        self._jobs = 0
        self._now = options
        """what the hosts are set to"""

    def __enter__(self) -> "Fleet":
        options = self.options
        with ExitStack() as stack:
            listener = stack.enter_context(_listening_socket(options.port))
            self._port = listener.getsockname()[1]
            self._store = TCPStore(
                LOOPBACK, self._port, is_master=True, wait_for_workers=False, master_listen_fd=os.dup(listener.fileno())
            )
            stack.callback(self.__dict__.pop, "_store")
            if options.hosts:
                hosts = Hosts(
                    options.hosts,
                    bytes_per_second(options.network),
                    cpus=options.cpus or None,
                    delay=nanoseconds(options.delay) / 1e9 if options.delay else 0.0,
                )
                self.hosts = stack.enter_context(hosts)
                self._divide(options)
            stack.callback(self._end)
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes and remove the hosts."""
        self._resources.close()
        self.hosts, self._port = None, 0

    def run(
        self, experiment: Experiment, folder: RunFolder, observer: Observer | None = None, *, resume: bool = False
    ) -> None:
        """Train, on the first of the processes; returns when all have ended well.

        The hosts get the rate and the quotas that the specification asks for; what a link then really gives is
        measured before, and written into the folder. Raises RunError that names the node if one fails or dies, and
        UserError for a specification of a cluster that this is not.
        """
        options, nodes = options_of(experiment.specification), experiment.specification.nodes
        self._fit(options, nodes)
        self._measure(options, folder)
        shown, share, watched = len(folder.read_history()), nan, isinstance(observer, Follower)
        if isinstance(observer, Follower):
            observer.follow(lambda: share)

        def look() -> None:
            nonlocal shown, share
            if watched:
                share = read_share(PrefixStore(f"job{self._jobs}", self._store))
            rows = folder.read_history()
            for row in rows[shown:]:
                if observer:
                    observer(row)
            shown = len(rows)

        self._do(train, (experiment, folder.path, resume, watched), nodes, options, False, look)

    def call(
        self, function: Callable[..., Any], *arguments: Any, nodes: int | None = None, options: Processes | None = None
    ) -> list[Any]:
        """``function(place, *arguments)`` in the first processes at once, in a process group; the results by rank.

        The hosts are as they were last, or get the rate and the quotas of other ``options``. The function must be
        importable where processes start anew, and its results picklable. Raises RunError if it fails.
        """
        if options:
            self._fit(options, nodes or self.nodes)
        return self._do(call, (function, *arguments), nodes or self.nodes, self._now, True, lambda: None)

    # ---- hosts

    def _fit(self, options: Processes, nodes: int) -> None:
        """Set the hosts to what a specification says; raises UserError where they cannot be."""
        options.check(nodes)
        if nodes > self.nodes:
            raise UserError(f"{nodes} nodes do not fit a fleet of {self.nodes} processes")
        own = self.options
        same = own.hosts == options.hosts or 0 < nodes <= options.hosts <= own.hosts  # each node has a host of its own
        if not same or own.delay != options.delay or own.interface != options.interface:
            raise UserError(
                "the cluster of the specification has other hosts, or another delay or interface, than the fleet"
            )
        if not self.hosts:
            return
        rate = bytes_per_second(options.network)
        if rate != self.hosts.rate:
            self.hosts.shape(rate)
        self._divide(options)

    def _divide(self, options: Processes) -> None:
        """Give each host its share of the cores, and slow ones less."""
        assert self.hosts
        self._now = options
        cpus = self.cpus(options)
        slow: dict[int, float] = {}
        for rank, factor in options.slow_factors().items():
            host = rank % options.hosts
            slow[host] = max(factor, slow.get(host, factor))
        for host in range(options.hosts):
            self.hosts.limit(host, cpus / slow.get(host, 1.0))

    def cpus(self, options: Processes) -> float:
        """The cores that each host may use unless it is slow."""
        assert self.hosts
        return options.cpus or min(1.0, len(self.hosts.cores) / options.hosts)

    def _measure(self, options: Processes, folder: RunFolder) -> None:
        if not self.hosts:
            return
        measured, latency = self.hosts.measure() if self.hosts.count > 1 else (None, None)
        network = {
            "nominal": self.hosts.rate,
            "measured": measured,
            "latency": latency,
            "hosts": options.hosts,
            "cpus": self.cpus(options),
        }
        folder.update_run(network=network)

    # ---- processes

    def _do(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        nodes: int,
        options: Processes,
        grouped: bool,
        look: Callable[[], None],
    ) -> list[Any]:
        if nodes > self.nodes:
            raise UserError(f"{nodes} nodes do not fit a fleet of {self.nodes} processes")
        assert self._port, "use it as a context manager"
        self._jobs += 1
        job = Job(self._jobs, nodes, options, function, arguments, grouped)
        try:
            if self._members:
                for member in self._members[:nodes]:
                    with contextlib.suppress(BrokenPipeError):  # it has died in between, as will be seen
                        member.pipe.send(job)
            else:
                self._start(job)
            return self._wait(self._members[:nodes], look)
        except BaseException:
            self._end()
            raise

    def _start(self, job: Job) -> None:
        """Start all processes; those that take part in the first job get it on their way."""
        context = _context()
        for rank in range(self.nodes):
            ours, theirs = context.Pipe()
            host = self.hosts.host(rank % self.hosts.count) if self.hosts else None
            process = context.Process(
                target=serve,
                args=(
                    rank,
                    self.options,
                    backend_of(self.device),
                    self._port,
                    host,
                    theirs,
                    job if rank < job.world else None,
                    dict(os.environ),
                ),
                name=f"manyhands-node-{rank}",
                daemon=True,
            )
            with _deaf_to_interrupts():
                process.start()
            theirs.close()
            self._members.append(_Member(process, ours, []))

    def _wait(self, members: list[_Member], look: Callable[[], None]) -> list[Any]:
        """The results of a job; raises as soon as it is known which node failed first."""
        deadline = None
        while True:
            codes = [member.process.exitcode for member in members]  # first, so that a last word is not missed
            for member in members:
                member.listen()
            done = all(member.results for member in members)
            look()
            if done:
                return [member.results.pop() for member in members]
            died = [rank for rank, code in enumerate(codes) if code is not None and not members[rank].results]
            if died:
                # Those who lost a peer say so at once; the one to blame may take a moment to be seen.
                deadline = deadline or time.monotonic() + GRACE
                _blame(members, codes, died, time.monotonic() > deadline)
            connection.wait([m.pipe for m in members if not m.results and not m.failure], 0 if died else PATIENCE)
            if died:
                time.sleep(PATIENCE)

    def _end(self) -> None:
        """End the processes."""
        members, self._members = self._members, []
        for member in members:
            if member.process.is_alive():
                member.process.terminate()
        for member in members:
            member.process.join(GRACE)
            if member.process.is_alive():
                member.process.kill()
                member.process.join()
            member.pipe.close()


def _context() -> ForkServerContext | SpawnContext:
    """How processes start: as copies of one that has imported what they need and done nothing else, in no time.

    That one starts with a program's first fleet and ends with the program. Not on macOS, whose libraries do not bear to
    be copied.
    """
    if sys.platform == "darwin":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context


def _blame(members: list[_Member], codes: list[int | None], died: list[int], late: bool) -> None:
    """Raise RunError if it is clear why a job failed."""
    failures = sorted((m.failure for m in members if m.failure), key=lambda failure: failure.when)
    own = [failure.text for failure in failures if not failure.lost]
    if own:
        raise RunError(own[0])
    silent = [rank for rank in died if not members[rank].failure]
    if silent:
        raise RunError(f"node {silent[0]} died ({_cause(codes[silent[0]])}); the run was stopped")
    if None not in codes or late:
        # Those who are well notice that a peer has gone; who says nothing even then stands still.
        still = ", ".join(str(r) for r, code in enumerate(codes) if code is None and not members[r].results)
        text = failures[0].text
        raise RunError(text.replace(LOST, f"node {still} is lost") if still else text)


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit status {code}"


@contextlib.contextmanager
def _listening_socket(port: int) -> Iterator[socket.socket]:
    """On loopback alone: the store that torch would open listens on every interface."""
    with socket.socket() as listener:
        try:
            listener.bind((LOOPBACK, port))
        except OSError as error:
            raise UserError(f"--cluster.port {port} cannot be used ({error.strerror}): choose another, or 0") from None
        listener.listen(128)
        yield listener


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started here never see Ctrl-C, not even while they import: it is the launcher's, which ends them."""
    resource_tracker.ensure_running()  # which the first start would do, and unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
