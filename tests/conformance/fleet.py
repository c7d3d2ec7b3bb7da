"""Fleets of processes that the tests share: starting processes anew for each test would take minutes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from table import Run

from manyhands import lab
from manyhands.clusters.cluster import Processes
from manyhands.clusters.processes import fleet
from manyhands.runs.specification import Specification
from manyhands.tasks.task import Task

CLUSTER = Processes(threads=1, timeout=60)


class Fleet(fleet.Fleet):
    """A fleet that trains specifications of simulations, for real."""

    def train(self, specification: Specification, task: Task, folder: Path) -> Run:
        return Run(lab.train(replace(specification, cluster=CLUSTER), task=task, out=folder, fleet=self))


@contextmanager
def fleets() -> Iterator[Callable[[int], Fleet]]:
    """A function that gives the fleet of a size, started when it is first asked for."""
    started: dict[int, Fleet] = {}
    with ExitStack() as stack:

        def fleet(nodes: int) -> Fleet:
            if nodes not in started:
                started[nodes] = Fleet(nodes, CLUSTER)
                stack.enter_context(started[nodes])
            return started[nodes]

        yield fleet
