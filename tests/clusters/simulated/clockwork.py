"""A cluster on which everything takes a round time, so that a run's can be worked out by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from manyhands.clusters.cluster import Simulated
from manyhands.clusters.simulated.profile import Backend, DeviceProfile


def clockwork(folder: Path, rendezvous: bool = False, **options: Any) -> Simulated:
    """A batch takes 1 ms, a message 1 ms and another for every 40 bytes, vector arithmetic nothing.

    The weights of `scripted.make_task` are 40 bytes. ``rendezvous``: messages travel when their receiver asks. Clients
    are computed one by one, so that the bits of one do not depend on who else is.
    """
    profile = replace(
        DeviceProfile.load("nominal"),
        name="clockwork",
        flops_per_second=1e30,
        overhead_seconds=1e-3,
        memory_bytes_per_second=1e30,
        backend=Backend(rendezvous=rendezvous),
    )
    path = folder / "clockwork.json"
    path.write_text(json.dumps(profile.to_json()))
    defaults = {"profile": str(path), "bandwidth": "40kB/s", "latency": "1ms", "executor": "single"}
    return Simulated(**(defaults | options))


def write(path: Path, content: Any) -> str:
    """A JSON file, and where it is."""
    path.write_text(json.dumps(content))
    return str(path)
