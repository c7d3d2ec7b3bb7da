"""manyhands: one laboratory for distributed deep learning."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from manyhands.clusters.cluster import Processes as Processes
    from manyhands.clusters.cluster import Simulated as Simulated
    from manyhands.clusters.node import Node as Node
    from manyhands.lab import replay as replay
    from manyhands.lab import resume as resume
    from manyhands.lab import train as train
    from manyhands.report.page import write_report as write_report
    from manyhands.runs.reading import RunView as RunView
    from manyhands.runs.specification import Specification as Specification
    from manyhands.strategies.base import Strategy as Strategy
    from manyhands.strategies.base import register as register
    from manyhands.tasks.registry import load_task as load_task
    from manyhands.tasks.task import Task as Task

_HOMES = {
    "Node": "manyhands.clusters.node",
    "Processes": "manyhands.clusters.cluster",
    "RunView": "manyhands.runs.reading",
    "Simulated": "manyhands.clusters.cluster",
    "Specification": "manyhands.runs.specification",
    "Strategy": "manyhands.strategies.base",
    "Task": "manyhands.tasks.task",
    "load_task": "manyhands.tasks.registry",
    "register": "manyhands.strategies.base",
    "replay": "manyhands.lab",
    "resume": "manyhands.lab",
    "train": "manyhands.lab",
    "write_report": "manyhands.report.page",
}
"""where the public names live; they are imported on first use, so that ``manyhands --help`` does not wait for torch"""

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'manyhands' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
