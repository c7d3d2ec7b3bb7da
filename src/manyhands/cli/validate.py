"""``manyhands validate``: predictions against real runs on emulated hosts."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from manyhands.cli.arguments import Output
from manyhands.cli.bench import benchmark, show_benchmark
from manyhands.cli.flags import FLAT, parse
from manyhands.clusters.cluster import Processes
from manyhands.errors import UserError
from manyhands.tasks.registry import plain_name

if TYPE_CHECKING:
    from manyhands.measure.validate import Outcome

DESCRIPTION = """Hold predictions against real runs on emulated hosts (Linux, root), and say how good they are.

Profiles are measured on one and two nodes (or given), frozen, and everything is predicted from them. Then each
configuration is run for real, in repeats that are interleaved: all strategies x workers x networks, and stragglers at
the middle one. Told are signed errors, their mean size (MAPE) with its interval, P90 and worst, Kendall's tau of the
ranking, the noise of the real runs, and the bytes: predicted, counted, and what the kernel saw. Takes a while: let
nothing else run."""


@dataclass(frozen=True, kw_only=True)
class Validate:
    """What ``manyhands validate`` takes."""

    profiles: tuple[Path, ...] = ()
    """files that manyhands calibrate --hosts 2 wrote; default: measured now, of --tasks"""
    tasks: tuple[str, ...] = ("mnist-mini/lenet5", "mnist-mini/cnn")
    """to calibrate: DATASET/MODEL, or FILE.py:NAME of your own"""
    batch_size: tuple[int, ...] = (64, 16)
    """of a worker: one for each profile or task"""
    strategies: tuple[str, ...] = (
        "all-reduce",
        "parameter-server",
        "parameter-server:consistency=async",
        "gossip:topology=ring",
        "local-sgd:period=4",
    )
    """with options"""
    workers: tuple[int, ...] = (2, 3, 4)
    """how many"""
    networks: tuple[str, ...] = ("100Mbit/s", "300Mbit/s", "1Gbit/s")
    """rates of the hosts' links"""
    stragglers: tuple[str, ...] = ("0:2",)
    """slow workers, as RANK:FACTOR, one in each of more configurations at the middle network"""
    cpus: float = 0.3
    """share of a core that each host may use"""
    calibrated: str = "1Gbit/s"
    """rate of the link while calibrating"""
    repeats: int = 5
    """of each configuration"""
    document: Path | None = None
    """a Markdown page to write; what people wrote into it by hand stays"""
    output: Output = field(default_factory=Output, metadata=FLAT)


def run(argv: Sequence[str]) -> int:
    options = parse(Validate, argv, "manyhands validate", DESCRIPTION)
    subjects = len(options.profiles or options.tasks)
    if len(options.batch_size) != subjects:
        raise UserError(f"--batch-size needs {subjects} values, one for each profile, not {len(options.batch_size)}")
    if options.repeats < 2:
        raise UserError(f"--repeats must be at least 2, to tell errors from noise, not {options.repeats}")

    from manyhands.clusters.processes.hosts import check_machine
    from manyhands.clusters.simulated.profile import DeviceProfile
    from manyhands.measure import validity
    from manyhands.measure.calibrate import calibrate, quick_task, stages, write_profile
    from manyhands.measure.validate import Design, Subject, validate

    check_machine()
    given = [DeviceProfile.load(str(path)) for path in options.profiles]
    tasks = [profile.task for profile in given] or list(options.tasks)
    loaded = [quick_task(task, options.output.data_dir) for task in tasks]
    hosts = Processes(hosts=1, network=options.calibrated, cpus=options.cpus, threads=1)
    conditions = {
        "hosts": f"emulated, each with {options.cpus:g} of a core and one thread",
        "repeats": f"{options.repeats}, interleaved",
        "networks": ", ".join(options.networks),
    }
    command = shlex.join(["manyhands", "validate", *argv])
    title = "Predictions against real runs"
    with benchmark("validate", command, title, conditions, options.output) as (bench, say):
        say.expect(0 if given else len(tasks) * len(stages()))
        profiles = []
        for number, (task, batch_size) in enumerate(zip(tasks, options.batch_size, strict=True)):
            path = bench.path / "profiles" / f"{plain_name(task)}.json"
            if given:
                profile = given[number]
            else:
                sizes = (max(1, batch_size // 2), batch_size, 2 * batch_size)
                pair = Processes(hosts=2, network=options.calibrated, cpus=options.cpus, threads=1)

                def tell(stage: object, task: str = task) -> None:
                    say(f"calibrating {task}: {stage}")

                profile = calibrate(task, pair, batch_sizes=sizes, data_dir=options.output.data_dir, progress=tell)
            write_profile(profile, path)
            profiles.append(path)
        design = Design(
            subjects=[
                Subject(task=task, profile=path, batch_size=size)
                for task, path, size in zip(loaded, profiles, options.batch_size, strict=True)
            ],
            strategies=options.strategies,
            workers=options.workers,
            networks=options.networks,
            stragglers=options.stragglers,
            options=hosts,
        )

        def note(outcomes: "list[Outcome]") -> None:
            if len(outcomes[0].measurements) > 1:
                validity.report(bench.result, outcomes)
                bench.save()

        outcomes = validate(design, options.repeats, say=say, note=note)
        if options.document:
            validity.write_document(options.document, bench.result, outcomes, dict(zip(tasks, profiles, strict=True)))
    return show_benchmark(bench.path, options.output)
