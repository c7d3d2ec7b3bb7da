"""On what a run ran: versions, hardware and the source's revision."""

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from manyhands import __version__


def versions() -> dict[str, str]:
    """Of manyhands, Python and what the results may depend on."""
    import numpy
    import torch

    return {
        "manyhands": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
    }


def hardware() -> dict[str, Any]:
    """The processor, its usable cores, memory in GiB and accelerator, if any."""
    import torch

    accelerator = None
    if torch.cuda.is_available():
        accelerator = torch.cuda.get_device_name()
    elif torch.backends.mps.is_available():
        accelerator = "Apple MPS"
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "memory_gib": _memory_gib(),
        "accelerator": accelerator,
        "system": platform.platform(terse=True),
    }


def backends() -> dict[str, bool]:
    """What can compute, and what processes can talk over."""
    import torch
    import torch.distributed as dist

    talks = dist.is_available()
    return {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "gloo": talks and dist.is_gloo_available(),
        "nccl": talks and dist.is_nccl_available(),
        "mpi": talks and dist.is_mpi_available(),
    }


@cache
def revision() -> str | None:
    """The commit of the source tree this package runs from; None if it is installed elsewhere.

    As it was when this process first asked: what it runs was read then.
    """
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


@cache
def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None
