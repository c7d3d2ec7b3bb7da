"""Starts the processes of a cluster, or joins those that torchrun started, and sees to it that none is left behind."""

import contextlib
import json
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import Store, TCPStore

from manyhands.clusters.cluster import Processes
from manyhands.clusters.experiment import Experiment, choose_precision
from manyhands.clusters.processes.driver import Driver
from manyhands.clusters.processes.wire import LOST, PeerLost
from manyhands.clusters.simulated.executor import available_cores
from manyhands.errors import RunError, UserError
from manyhands.runs.folder import RunFolder
from manyhands.runs.recorder import Checkpoint, Observer, Recorder
from manyhands.runs.specification import Specification
from manyhands.training.memory import keep_freed_memory
from manyhands.training.precision import Precision

LOOPBACK = "127.0.0.1"
GRACE = 5.0
"""seconds that processes get to end by themselves once one has failed"""


@dataclass(frozen=True)
class Place:
    """A process's place among all: what torchrun calls RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE."""

    rank: int
    world: int
    local_rank: int
    local_world: int

    @classmethod
    def of_torchrun(cls) -> "Place | None":
        """This process's place if torchrun started it."""
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            return None
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        return cls(*(int(os.environ[name]) for name in names))


def check_world(specification: Specification, world: int) -> None:
    """Raise UserError unless torchrun started a process for each node."""
    if specification.nodes != world:
        count = specification.strategy.servers
        servers = f" and {count} server{'s' * (count > 1)}" if count else ""
        raise UserError(
            f"torchrun started {world} processes, but --workers {specification.size}{servers} "
            f"need {specification.nodes}: make nnodes x nproc-per-node {specification.nodes}, or change --workers"
        )


def join(
    experiment: Experiment, place: Place, folder: RunFolder | None, resume: bool, observer: Observer | None
) -> None:
    """Take part as the node that torchrun assigned. The lead has the folder."""
    options = _options(experiment.specification)
    if options.interface:
        os.environ["GLOO_SOCKET_IFNAME"] = options.interface
    dist.init_process_group(_backend(experiment.device), timeout=timedelta(seconds=options.timeout))
    store = dist.distributed_c10d._get_default_store()
    try:
        _run_node(experiment, place, store, folder, resume, observer)
    except PeerLost as error:
        raise _name_the_dead(error, store, place) from None
    finally:
        dist.destroy_process_group()


def launch(experiment: Experiment, folder: RunFolder, resume: bool, observer: Observer | None) -> None:
    """Run each node in a new process on this host; returns when all have ended well.

    Raises RunError that names the node if one fails or dies. Whatever happens, no process stays behind.
    """
    specification, nodes = experiment.specification, experiment.specification.nodes
    options = _options(specification)
    with _listening_socket(options.port) as listener:
        port = listener.getsockname()[1]
        store = TCPStore(
            LOOPBACK, port, is_master=True, wait_for_workers=False, master_listen_fd=os.dup(listener.fileno())
        )
        context = multiprocessing.get_context("spawn")
        children: list[tuple[SpawnProcess, Connection]] = []
        try:
            for rank in range(nodes):
                ours, theirs = context.Pipe(duplex=False)
                child = context.Process(
                    target=_child,
                    args=(experiment, Place(rank, nodes, rank, nodes), port, folder.path, resume, theirs, os.getpid()),
                    name=f"manyhands-node-{rank}",
                    daemon=True,
                )
                with _deaf_to_interrupts():
                    child.start()
                theirs.close()
                children.append((child, ours))
            _watch(children, folder, observer)
        finally:
            _end([child for child, _ in children])
            del store


def _options(specification: Specification) -> Processes:
    assert isinstance(specification.cluster, Processes)
    return specification.cluster


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


def _child(
    experiment: Experiment, place: Place, port: int, path: Path, resume: bool, pipe: Connection, parent: int
) -> None:
    """The life of one node's process."""
    _die_with(parent)
    options = _options(experiment.specification)
    try:
        store = TCPStore(LOOPBACK, port, timeout=timedelta(seconds=options.timeout))
        if place.world > 1:
            os.environ["GLOO_SOCKET_IFNAME"] = options.interface or _loopback_interface()
            dist.init_process_group(
                _backend(experiment.device),
                store=store,
                rank=place.rank,
                world_size=place.world,
                timeout=timedelta(seconds=options.timeout),
            )
        lead = place.rank == experiment.conductors[0]
        _run_node(experiment, place, store, RunFolder(path) if lead else None, resume, None)
        if place.world > 1:
            dist.destroy_process_group()
    except (UserError, RunError) as error:
        pipe.send((isinstance(error, PeerLost), str(error)))
        pipe.close()
        os._exit(2)  # a broken process group must not hold us up


def _run_node(
    experiment: Experiment,
    place: Place,
    store: Store,
    folder: RunFolder | None,
    resume: bool,
    observer: Observer | None,
) -> None:
    """What both kinds of start have in common. One node chooses the precision for all."""
    keep_freed_memory()
    threads = _options(experiment.specification).threads
    torch.set_num_threads(threads or max(1, available_cores() // place.local_world))
    experiment = replace(experiment, device=_own_device(experiment.device, place))
    if place.rank == 0:
        store.set("precision", json.dumps(choose_precision(experiment).to_json()))
    experiment.precision = Precision.from_json(json.loads(store.get("precision")))
    recorder, checkpoint = None, None
    if folder:
        folder.update_run(precision=experiment.precision.to_json())
        recorder = Recorder(folder, len(experiment.task.train), experiment.specification.strategy.unit, observer)
        if resume:
            checkpoint = Checkpoint.load(folder)
            recorder.go_on_from(checkpoint)
    Driver(experiment, place.rank, store, recorder).run(checkpoint, resume)


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started here never see Ctrl-C, not even while they import: it is the launcher's, which ends them."""
    resource_tracker.ensure_running()  # which the first start would do, and unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _own_device(device: torch.device, place: Place) -> torch.device:
    """One accelerator a process, where there are several."""
    return torch.device("cuda", place.local_rank % torch.cuda.device_count()) if device.type == "cuda" else device


def _backend(device: torch.device) -> str:
    return "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"


def _loopback_interface() -> str:
    names = [name for _, name in socket.if_nameindex()]
    return "lo" if "lo" in names else "lo0"


def _die_with(parent: int) -> None:
    """End this process when the launcher is gone, even if it was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _watch(children: list[tuple[SpawnProcess, Connection]], folder: RunFolder, observer: Observer | None) -> None:
    """Pass on new rows of the history; raise as soon as it is known which node failed first."""
    shown = len(folder.read_history())
    deadline = None
    complaints: dict[int, tuple[bool, str]] = {}
    while True:
        codes = [child.exitcode for child, _ in children]  # first, so that a last row is not missed
        rows = folder.read_history()
        for row in rows[shown:]:
            if observer:
                observer(row)
        shown = len(rows)
        if all(code == 0 for code in codes):
            return
        if any(code not in (None, 0) for code in codes):
            # Those who lost a peer say so at once; the one to blame may take a moment to be seen.
            deadline = deadline or time.monotonic() + GRACE
            _hear(children, complaints)
            own = [text for lost, text in complaints.values() if not lost]
            died = [r for r, code in enumerate(codes) if code not in (None, 0) and r not in complaints]
            if own:
                raise RunError(own[0])
            if died:
                raise RunError(f"node {died[0]} died ({_cause(codes[died[0]])}); the run was stopped")
            if None not in codes or time.monotonic() > deadline:
                # Those who are well notice that a peer has gone; who says nothing even then stands still.
                silent = ", ".join(str(rank) for rank, code in enumerate(codes) if code is None)
                text = next(iter(complaints.values()))[1]
                raise RunError(text.replace(LOST, f"node {silent} is lost") if silent else text)
        time.sleep(0.05)


def _hear(children: list[tuple[SpawnProcess, Connection]], complaints: dict[int, tuple[bool, str]]) -> None:
    """Collect what failed processes said, by rank: whether a lost peer was the reason, and the text."""
    for rank, (child, pipe) in enumerate(children):
        if child.exitcode is not None and rank not in complaints and pipe.poll():
            with contextlib.suppress(EOFError):
                complaints[rank] = pipe.recv()


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit status {code}"


def _end(children: list[SpawnProcess]) -> None:
    for child in children:
        if child.is_alive():
            child.terminate()
    for child in children:
        child.join(GRACE)
        if child.is_alive():
            child.kill()
            child.join()


def _name_the_dead(error: PeerLost, store: Store, place: Place) -> RunError:
    """Under torchrun nobody watches over us: the survivors leave a sign each, and who leaves none is dead."""
    try:
        store.set(f"alive/{place.rank}", "yes")
        time.sleep(GRACE)
        dead = [rank for rank in range(place.world) if not store.check([f"alive/{rank}"])]
    except RuntimeError:
        return RunError(f"the process that holds the cluster together is gone: {error}")
    names = ", ".join(map(str, dead))
    return RunError(f"node {names} died; the run was stopped" if dead else str(error))
