"""One process of a cluster: its place among all, and its life, in which it does one thing after another."""

import json
import multiprocessing
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore

from manyhands.clusters.cluster import Processes
from manyhands.clusters.experiment import Experiment, choose_precision
from manyhands.clusters.processes.driver import Driver
from manyhands.clusters.processes.hosts import Host
from manyhands.clusters.processes.relay import Relay
from manyhands.clusters.processes.wire import PeerLost
from manyhands.clusters.simulated.executor import available_cores
from manyhands.errors import RunError, UserError
from manyhands.runs.folder import RunFolder
from manyhands.runs.recorder import Checkpoint, Observer, Recorder
from manyhands.runs.specification import Specification
from manyhands.training.memory import keep_freed_memory
from manyhands.training.precision import Precision

LOOPBACK = "127.0.0.1"


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

    @classmethod
    def on_hosts(cls, rank: int, world: int, hosts: int) -> "Place":
        """Node r lives on host r % hosts; no hosts are one: this machine."""
        hosts = hosts or 1
        return cls(rank, world, rank // hosts, len(range(rank % hosts, world, hosts)))


@dataclass(frozen=True)
class Job:
    """Something that the first ``world`` processes do together."""

    number: int
    """by which its process group finds together; of a fleet each has its own"""
    world: int
    options: Processes
    function: Callable[..., Any]
    """called with the process's place, the store of the group, and the arguments"""
    arguments: tuple[Any, ...]
    grouped: bool
    """whether a single process needs a process group too"""


@dataclass(frozen=True)
class Failure:
    """Why a process could not do its part of a job."""

    lost: bool
    """because of another one"""
    text: str
    when: float
    """on the clock that all processes of a machine share"""


def serve(
    rank: int,
    fleet: Processes,
    backend: str,
    port: int,
    host: Host | None,
    pipe: Connection,
    job: Job | None,
    environment: dict[str, str],
) -> None:
    """The life of a process: do what comes through the pipe, until nothing does, or something goes wrong.

    ``port`` is the launcher's, at which all find each other: over this machine's loopback, so that what a cluster says
    to itself does not take room on emulated links. ``job`` is the first one.
    """
    die_with_launcher()
    os.environ.clear()
    os.environ.update(environment)
    store = TCPStore(LOOPBACK, port, timeout=timedelta(seconds=fleet.timeout))
    interface = fleet.interface or loopback_interface()
    if host:
        host.enter()
        interface = host.interface
    os.environ["GLOO_SOCKET_IFNAME"] = interface
    while True:
        if job:
            pipe.send(_do(job, Place.on_hosts(rank, job.world, fleet.hosts), backend, store, pipe))
        try:
            job = pipe.recv()
        except EOFError:
            return
        if job is None:
            return


def _do(job: Job, place: Place, backend: str, store: Store, pipe: Connection) -> Any:
    """A job's result. A process that fails ends, which the others notice when they wait for it."""
    try:
        own = PrefixStore(f"job{job.number}", store)
        grouped = job.grouped or job.world > 1
        if grouped:
            timeout = timedelta(seconds=job.options.timeout)
            dist.init_process_group(backend, store=own, rank=place.rank, world_size=place.world, timeout=timeout)
            dist.all_reduce(torch.zeros(1))  # who leaves before all are connected breaks the others' connections
        set_threads(job.options, place)
        result = job.function(place, own, *job.arguments)
        if grouped:
            dist.destroy_process_group()
        return result
    except (UserError, RunError) as error:
        _tell(pipe, Failure(isinstance(error, PeerLost), str(error), time.monotonic()))
        status = 2
    except BaseException as error:
        text = (
            f"node {place.rank} died ({type(error).__name__}: {str(error).partition(chr(10))[0]}); the run was stopped"
        )
        lost = isinstance(error, dist.DistError) or "gloo/" in str(error)
        if not (lost and pipe.poll(1.0)):  # else the launcher has gone, and its store with it
            traceback.print_exc()
        _tell(pipe, Failure(lost, text, time.monotonic()))
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    pipe.close()
    os._exit(status)  # a broken process group must not hold us up


def _tell(pipe: Connection, failure: Failure) -> None:
    with suppress(OSError):  # where the launcher has gone, nobody is left to be told
        pipe.send(failure)


def call(place: Place, _: Store, function: Callable[..., Any], *arguments: Any) -> Any:
    """A function of the caller's."""
    return function(place, *arguments)


def train(place: Place, store: Store, experiment: Experiment, path: Path, resume: bool, watched: bool) -> None:
    """The part of one node in a training. The lead has the folder, and if it is ``watched`` tells how far it is."""
    lead = place.rank == experiment.conductors[0]
    with Relay(store) if lead and watched else nullcontext() as relay:
        run_node(experiment, place, store, RunFolder(path) if lead else None, resume, relay)


def run_node(
    experiment: Experiment,
    place: Place,
    store: Store,
    folder: RunFolder | None,
    resume: bool,
    observer: Observer | None,
) -> None:
    """What all kinds of start have in common. One node chooses the precision for all."""
    keep_freed_memory()
    set_threads(options_of(experiment.specification), place)
    experiment = replace(experiment, device=_own_device(experiment.device, place))
    if place.rank == 0:
        store.set("precision", json.dumps(choose_precision(experiment).to_json()))
    experiment.precision = Precision.from_json(json.loads(store.get("precision")))
    recorder, checkpoint = None, None
    if folder:
        folder.update_run(precision=experiment.precision.to_json())
        recorder = Recorder(folder, experiment.specification, len(experiment.task.train), "real", observer)
        if resume:
            checkpoint = Checkpoint.load(folder)
            recorder.go_on_from(checkpoint)
    Driver(experiment, place.rank, store, recorder).run(checkpoint, resume)


def set_threads(options: Processes, place: Place) -> None:
    """Share the cores among the processes of a host: on an emulated host those that it may use."""
    torch.set_num_threads(options.threads or max(1, available_cores() // place.local_world))


def options_of(specification: Specification) -> Processes:
    assert isinstance(specification.cluster, Processes)
    return specification.cluster


def backend_of(device: torch.device) -> str:
    return "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"


def loopback_interface() -> str:
    names = [name for _, name in socket.if_nameindex()]
    return "lo" if "lo" in names else "lo0"


def die_with_launcher() -> None:
    """End this process when the launcher is gone, even if it was killed."""
    launcher = multiprocessing.parent_process()
    assert launcher is not None

    def watch() -> None:
        launcher.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _own_device(device: torch.device, place: Place) -> torch.device:
    """One accelerator a process, where there are several."""
    return torch.device("cuda", place.local_rank % torch.cuda.device_count()) if device.type == "cuda" else device
