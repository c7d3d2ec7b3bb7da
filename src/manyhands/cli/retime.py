"""``manyhands retime``: a finished run on another network or device, without training again."""

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from manyhands import terminal
from manyhands.cli.arguments import Output
from manyhands.cli.flags import FLAT, parse

DESCRIPTION = """Put a finished run on another network, or on other devices, without training again.

What a synchronous strategy learns does not depend on time: a new folder has the same history, with the seconds of a
rehearsal on the other network. Asynchronous ones (async, ssp, ad-psgd, elastic-averaging, fedasync, fedbuff) must be
trained again."""


@dataclass(frozen=True, kw_only=True)
class Retime:
    """What ``manyhands retime`` takes."""

    run: Path
    """a finished run's folder"""
    network: str | None = None
    """a name (1G, 10G, wan, 4g …) or a rate with or without a latency, as in 300Mbit/s,1ms; default: as it was"""
    profile: str | None = None
    """of the devices: a shipped name or a JSON file; default: as it was, or nominal for a run on processes"""
    strict: bool = False
    """refuse a profile of another task or machine, instead of a warning"""
    output: Output = field(default_factory=Output, metadata=FLAT)


def run(argv: Sequence[str]) -> int:
    options = parse(Retime, argv, "manyhands retime", DESCRIPTION)

    from manyhands.clusters.simulated.profile import DeviceProfile
    from manyhands.measure.networks import parse_network
    from manyhands.measure.predict import check_profile
    from manyhands.measure.retime import retime
    from manyhands.report.numbers import duration, percent
    from manyhands.runs.folder import RunFolder
    from manyhands.runs.specification import read_specification

    network, output = parse_network(options.network) if options.network else None, options.output
    original = RunFolder(options.run)
    record = original.read_run()
    warnings = []
    if options.profile:
        task = str(record.get("specification", {}).get("task"))
        warnings = check_profile(DeviceProfile.load(options.profile), task, options.strict)
    if not output.json:
        for warning in warnings:
            print(f"manyhands: warning: {warning}", file=sys.stderr)
    words = [
        str(options.run),
        *(["--network", options.network] if options.network else []),
        *(["--profile", options.profile] if options.profile else []),
    ]
    specification = read_specification(original)
    with terminal.bar("rehearsing", specification.total, f"{specification.strategy.unit}s") as line:
        folder = retime(
            options.run,
            network,
            options.profile,
            out=output.out,
            data_dir=output.data_dir,
            command=shlex.join(["manyhands", "retime", *words]),
            follow=line.follow,
        )
    before, after = original.read_history()[-1], RunFolder(folder).read_history()[-1]
    if output.json:
        about = {"folder": str(folder), "retimed_of": str(options.run), "seconds_before": before["seconds"]}
        print(json.dumps(about | after | {"warnings": warnings}))
        return 0
    if not output.quiet:
        clock = "simulated" if record["specification"]["cluster"]["name"] == "simulated" else "real"
        print(
            f"test accuracy {percent(after['test_accuracy'])} after {duration(after['seconds'])} on the simulated "
            f"clock; it was {duration(before['seconds'])} on its own, {clock} clock"
        )
    print(folder)
    return 0
