"""Runs a specification on processes: on new ones of this machine, or on those that torchrun started."""

import os
import sys
import time
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist
from torch._C._distributed_c10d import Store

from manyhands.clusters.experiment import Experiment
from manyhands.clusters.processes.fleet import GRACE, Fleet
from manyhands.clusters.processes.member import Place, backend_of, options_of, run_node
from manyhands.clusters.processes.wire import PeerLost
from manyhands.errors import RunError, UserError
from manyhands.runs.folder import RunFolder
from manyhands.runs.recorder import Observer
from manyhands.runs.specification import Specification

__all__ = ["Place", "check_found", "check_world", "join", "launch"]


def check_world(specification: Specification, world: int) -> None:
    """Raise UserError unless torchrun started a process for each node, on hosts of its own."""
    if options_of(specification).hosts:
        raise UserError("torchrun has its own hosts: leave out --cluster.hosts, or start manyhands without torchrun")
    if specification.nodes != world:
        count = specification.strategy.servers
        servers = f" and {count} server{'s' * (count > 1)}" if count else ""
        raise UserError(
            f"torchrun started {world} processes, but --workers {specification.size}{servers} "
            f"need {specification.nodes}: make nnodes x nproc-per-node {specification.nodes}, or change --workers"
        )


def check_found(specification: Specification) -> None:
    """Raise UserError if other processes cannot find the program, or the code of a part of the specification."""
    program = getattr(sys.modules["__main__"], "__file__", None)  # which each of them runs again, as far as its guard
    parts = [type(getattr(specification, field.name)) for field in fields(specification)]
    typed = program is None and any(part.__module__ == "__main__" for part in parts)
    if typed or (program and not Path(program).exists()):
        raise UserError(
            "what is written at a prompt, in a notebook or on the standard input cannot be found by other processes: "
            "put it into a file, or take a simulated cluster"
        )


def join(
    experiment: Experiment, place: Place, folder: RunFolder | None, resume: bool, observer: Observer | None
) -> None:
    """Take part as the node that torchrun assigned. The lead has the folder."""
    options = options_of(experiment.specification)
    if options.interface:
        os.environ["GLOO_SOCKET_IFNAME"] = options.interface
    dist.init_process_group(backend_of(experiment.device), timeout=timedelta(seconds=options.timeout))
    store = dist.distributed_c10d._get_default_store()
    try:
        run_node(experiment, place, store, folder, resume, observer)
    except PeerLost as error:
        raise _name_the_dead(error, store, place) from None
    finally:
        dist.destroy_process_group()


def launch(experiment: Experiment, folder: RunFolder, resume: bool, observer: Observer | None) -> None:
    """Run each node in a new process on this machine; returns when all have ended well.

    Raises RunError that names the node if one fails or dies. Whatever happens, no process stays behind.
    """
    specification = experiment.specification
    with Fleet(specification.nodes, options_of(specification), device=experiment.device) as fleet:
        fleet.run(experiment, folder, observer, resume=resume)


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
