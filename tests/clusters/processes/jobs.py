"""What tests let the processes of a fleet do; they import it."""

import gc
import os
import socket
from pathlib import Path

import torch
import torch.distributed as dist

from manyhands.clusters.processes.hosts import here
from manyhands.clusters.processes.member import Place
from manyhands.errors import UserError


def whoami(place: Place, word: str) -> tuple[str, int, int, int]:
    return word, place.rank, place.world, os.getpid()


def total(place: Place, numbers: int) -> float:
    """The sum over all processes of their ranks, by an all-reduce of a vector."""
    vector = torch.full((numbers,), float(place.rank))
    dist.all_reduce(vector)
    assert torch.equal(vector, vector[0].expand(numbers))
    return float(vector[0])


def total_and_bytes(place: Place, numbers: int) -> tuple[float, int, int]:
    """The sum, and the bytes that this process's host sent and received for it."""
    host = here()
    assert host is not None
    dist.barrier()
    before = host.count()
    result = total(place, numbers)
    dist.barrier()
    after = host.count()
    return result, after[0] - before[0], after[1] - before[1]


def surroundings(place: Place) -> dict[str, object]:
    """What a process can see of the host that it lives on."""
    host = here()
    assert host is not None
    return {
        "pid": os.getpid(),
        "namespace": os.stat("/proc/self/ns/net").st_ino,
        "interfaces": sorted(name for _, name in socket.if_nameindex()),
        "address": host.address,
        "cores": sorted(os.sched_getaffinity(0)),
        "groups": [os.getpid() in map(int, Path(path).read_text().split()) for path in host.groups],
        "local": (place.local_rank, place.local_world),
        "threads": torch.get_num_threads(),
    }


def variable(_: Place, name: str) -> str | None:
    return os.environ.get(name)


def holdings(_: Place) -> tuple[int, int]:
    """How many threads and open files this process has."""
    gc.collect()
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))


def fail(place: Place, rank: int) -> None:
    """One fails; the others wait for it."""
    if place.rank == rank:
        raise ZeroDivisionError("a defect")
    dist.barrier()


def refuse(place: Place, rank: int) -> None:
    if place.rank == rank:
        raise UserError("--what is wrong: take another")
    dist.barrier()


def die(place: Place, rank: int) -> None:
    if place.rank == rank:
        os.kill(os.getpid(), 9)
    dist.barrier()
