"""Processes that stay, and run one specification after another: starting them anew for each would take minutes."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch.distributed as dist
from table import Run

from manyhands import lab
from manyhands.clusters.cluster import Processes
from manyhands.clusters.processes import launch
from manyhands.runs.folder import RunFolder
from manyhands.runs.specification import Specification
from manyhands.tasks.task import Task

CLUSTER = Processes(threads=1, timeout=60)


class Fleet:
    """As many processes as a specification has nodes, connected by a process group of their own."""

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes
        context = multiprocessing.get_context("spawn")
        self._listener = launch._listening_socket(0)
        listener = self._listener.__enter__()
        self._store = dist.TCPStore(
            launch.LOOPBACK, listener.getsockname()[1], is_master=True, wait_for_workers=False,
            master_listen_fd=launch.os.dup(listener.fileno()),
        )  # fmt: skip
        self._pipes: list[Connection] = []
        self._processes = []
        for rank in range(nodes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(rank, nodes, listener.getsockname()[1], theirs), daemon=True)
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)

    def run(self, specification: Specification, task: Task, folder: Path) -> Run:
        """Train for real; the folder is that of `lab.train`."""
        experiment = lab.prepare(replace(specification, cluster=CLUSTER), task)
        lab._open(experiment, folder, resume=False)
        for pipe in self._pipes:
            pipe.send((experiment, folder))
        failures = [pipe.recv() for pipe in self._pipes]
        assert failures == [None] * self.nodes
        return Run(folder)

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.send(None)
        for process in self._processes:
            process.join(20)
            process.kill()
        self._listener.__exit__(None, None, None)


def _serve(rank: int, nodes: int, port: int, pipe: Connection) -> None:
    launch.os.environ["GLOO_SOCKET_IFNAME"] = launch._loopback_interface()
    store = dist.TCPStore(launch.LOOPBACK, port, timeout=timedelta(seconds=60))
    if nodes > 1:
        dist.init_process_group("gloo", store=store, rank=rank, world_size=nodes, timeout=timedelta(seconds=60))
    number = 0
    while (job := pipe.recv()) is not None:
        experiment, path = job
        number += 1
        try:
            own: Any = dist.PrefixStore(f"run{number}", store)
            folder = RunFolder(path) if rank == experiment.conductors[0] else None
            launch._run_node(experiment, launch.Place(rank, nodes, rank, nodes), own, folder, False, None)
            pipe.send(None)
        except BaseException as error:
            pipe.send(f"node {rank}: {type(error).__name__}: {error}")
            raise


@contextmanager
def fleets() -> Iterator[Any]:
    """A function that gives the fleet of a size, started when it is first asked for."""
    started: dict[int, Fleet] = {}

    def fleet(nodes: int) -> Fleet:
        if nodes not in started:
            started[nodes] = Fleet(nodes)
        return started[nodes]

    try:
        yield fleet
    finally:
        for each in started.values():
            each.close()
