"""``manyhands calibrate``: measure this machine, or hosts emulated on it, once, to predict trainings from then on."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from manyhands import terminal
from manyhands.cli.flags import parse
from manyhands.errors import UserError
from manyhands.tasks.registry import plain_name

if TYPE_CHECKING:
    from manyhands.clusters.simulated.profile import DeviceProfile

DESCRIPTION = """Measure what a task costs on this machine, and write a profile that predicts other trainings.

Two processes, no more: training steps against the batch size (a + b * batch; forward, backward and optimiser apart),
messages there and back, the backend's all-reduce, and what computing loses while gradients travel. Takes a minute or
two; let nothing else run. With --hosts 2, the processes live on emulated hosts (Linux, root).

Then: manyhands predict --profile FILE, manyhands train --cluster.profile FILE."""


@dataclass(frozen=True, kw_only=True)
class Calibrate:
    """What ``manyhands calibrate`` takes."""

    task: str = "mnist-mini/lenet5"
    """whose steps are timed: DATASET/MODEL, or FILE.py:NAME of your own"""
    batch_size: tuple[int, ...] = (16, 32, 64, 128)
    """of a worker: two sizes or more"""
    hosts: int = 0
    """2: on two emulated hosts; 0: two processes of this machine"""
    network: str = "1Gbit/s"
    """rate of the emulated hosts' link"""
    cpus: float = 0.0
    """share of a core that each emulated host may use; 0: a whole one"""
    threads: int = 1
    """intra-operator threads of each process"""
    out: Path | None = None
    """the profile's file, which must not exist; default: profile-TASK.json"""
    data_dir: Path | None = None
    """folder of the data sets; default: MANYHANDS_DATA, then the user's cache"""
    json: bool = False
    """print the profile instead of a table"""
    quiet: bool = False
    """print nothing but errors and the file's name"""


def run(argv: Sequence[str]) -> int:
    options = parse(Calibrate, argv, "manyhands calibrate", DESCRIPTION)
    out = options.out or Path(f"profile-{plain_name(options.task)}.json")
    if out.exists():
        raise UserError(f"{out} exists already: name another --out, a profile is not overwritten")
    if options.hosts not in (0, 2):
        raise UserError(f"--hosts must be 2, or 0 for this machine as it is, not {options.hosts}")

    from manyhands.cli.progress import counting
    from manyhands.clusters.cluster import Processes
    from manyhands.measure.calibrate import calibrate, stages, write_profile

    if options.hosts:
        cluster = Processes(hosts=2, network=options.network, cpus=options.cpus or 1.0, threads=options.threads)
    else:
        cluster = Processes(threads=options.threads)
    with counting(len(stages()), "calibrating") as progress:
        profile = calibrate(
            options.task, cluster, batch_sizes=options.batch_size, data_dir=options.data_dir, progress=progress
        )
    write_profile(profile, out)
    if options.json:
        print(json.dumps({"file": str(out), "digest": profile.digest} | profile.to_json()))
        return 0
    if not options.quiet:
        _show(profile)
    print(out)
    return 0


def _show(profile: "DeviceProfile") -> None:
    from rich.table import Table

    from manyhands.clusters.quantities import format_seconds

    console = terminal.console()
    headings = ("batch", "step", "± 95 %", "forward", "backward", "optimiser")
    table = Table(*headings, title=profile.description, min_width=60)
    for point in profile.measured["steps"]:
        parts = (format_seconds(point[name]) for name in ("forward", "backward", "optimizer"))
        spread = format_seconds(point["half_width"])
        table.add_row(str(point["batch"]), format_seconds(point["seconds"]), spread, *parts)
    console.print(table)
    backend = profile.backend
    flops = profile.flops_per_second / 1e9
    rows = {
        "step = a + b · batch": f"a {format_seconds(profile.overhead_seconds)}, b from {flops:.3g} GFLOP/s",
        "backward : forward": f"{profile.backward_to_forward:.2f}",
        "κ, backward slowed by communication": f"{profile.overlap_slowdown:.2f}",
        "λ, all-reduce slowed by computing": f"{backend.collective_slowdown:.2f}",
        "a gradient's wrapper (DDP)": format_seconds(backend.wrapper_seconds),
        "a message: sender, receiver, delay": ", ".join(
            map(format_seconds, (backend.send_seconds, backend.receive_seconds, backend.latency_seconds))
        ),
        "a step of all-reduce: delay": format_seconds(backend.collective_seconds),
        "link: rate, payload, latency": (
            f"{profile.network['bandwidth']}, {backend.efficiency:.1%}, {profile.network['latency']}"
        ),
        "a core's own speed, from spell to spell": f"± {profile.speed_spread:.1%}",
        "95 % interval: computing, link": f"± {profile.compute_spread:.1%}, ± {profile.link_spread:.1%}",
        "digest": profile.digest,
    }
    for name, value in rows.items():
        console.print(f"{name:<36} {value}", highlight=False)
