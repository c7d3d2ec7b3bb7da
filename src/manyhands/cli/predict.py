"""``manyhands predict``: how long trainings would take, without any."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from manyhands import terminal
from manyhands.cli.arguments import Output, value_of
from manyhands.cli.flags import FLAT, Variants, parse
from manyhands.clusters.spread import Even, Spread
from manyhands.tasks.partition import Iid, Partition
from manyhands.training.optimizer import OPTIMIZERS, Optimizer

if TYPE_CHECKING:
    from manyhands.measure.predict import Configuration, Predictor

DESCRIPTION = """Predict step time, epoch time, speedup and bytes of strategies, without training.

Each strategy's own code runs in simulation with the learning left out, on devices as a profile describes them
(manyhands calibrate writes one). Every combination of strategies, workers, networks and batch sizes is predicted.

Networks by name: loopback, 1G, 10G, 25G, 100G-roce, 400G-infiniband, nvlink, wan, home-dsl, 4g; or in numbers:
1Gbit/s, or with the latency 300Mbit/s,1ms. Where directions differ (home-dsl, 4g) the narrower one counts."""


@dataclass(frozen=True, kw_only=True)
class Predict:
    """What ``manyhands predict`` takes."""

    task: str = "mnist-mini/lenet5"
    """what is learnt: DATASET/MODEL, of which nothing is fetched, or FILE.py:NAME of your own"""
    strategies: tuple[str, ...] = ()
    """names, with options as in gossip:topology=complete, or all; default: eight that differ most"""
    workers: tuple[int, ...] = (2, 8, 32)
    """how many"""
    network: tuple[str, ...] = ("1G",)
    """names, or rates with or without a latency, as in 300Mbit/s,1ms"""
    batch_size: tuple[int, ...] = (32,)
    """per worker"""
    accumulate: int = 1
    """micro-batches of --batch-size in a worker's step"""
    profile: str = "nominal"
    """of the devices: a shipped name or a JSON file, as manyhands calibrate writes it"""
    strict: bool = False
    """refuse a profile of another task or machine, instead of a warning"""
    partition: Partition = field(default_factory=Iid)
    """which samples each worker holds"""
    stragglers: tuple[str, ...] = ()
    """nodes that are slower than the profile, as RANK:FACTOR"""
    speeds: Spread = field(default_factory=Even)
    """factors by which computing takes longer at each worker, drawn from the seed"""
    links: Spread = field(default_factory=Even)
    """factors by which each worker's interface is slower than the network, in both directions"""
    jitter: float = 0.0
    """standard deviation of the logarithm of a computation's duration"""
    cpus: float = 0.0
    """share of a core that each node may use, as emulated hosts have; 0: a whole one"""
    epochs: int = 1
    """that the training lasts; times are the mean of an epoch"""
    samples: int | None = None
    """train on so many of the data set's first samples; default: all"""
    optimizer: Optimizer | None = None
    """of each node's steps, for all strategies; default: each strategy's own, mostly sgd"""
    output: Output = field(default_factory=Output, metadata=FLAT)


def run(argv: Sequence[str]) -> int:
    optimizers = Variants(OPTIMIZERS, value_of(argv, "--optimizer", "sgd", OPTIMIZERS))
    options = parse(Predict, argv, "manyhands predict", DESCRIPTION, variants={Optimizer: optimizers})

    from manyhands.cli.progress import counting
    from manyhands.measure.predict import check_profile, predict
    from manyhands.report.prediction import terminal_prediction, write_prediction
    from manyhands.report.prediction_page import write_prediction_page
    from manyhands.runs.folder import RunFolder, new_run_path

    predictor = _predictor(options)
    warnings = check_profile(predictor.profile, options.task, options.strict)
    configurations = _configurations(options)
    output = options.output
    if not output.json:
        for warning in warnings:
            print(f"manyhands: warning: {warning}", file=sys.stderr)
    with counting(len(configurations), "predicting") as count:
        predictions = predict(configurations, predictor, warnings=warnings, show=count)
    content = predictions.to_json()
    folder = RunFolder.create(output.out or new_run_path(Path("runs"), "predict"), {"prediction.json": content})
    with terminal.bar("making pictures", None, ""):
        pictures = write_prediction(content, folder.path)
        page = write_prediction_page(content, folder.path / "report.html")
    if output.json:
        files = {"folder": str(folder.path), "report": str(page), "pictures": list(map(str, pictures))}
        print(json.dumps(files | content))
        return 0
    if not output.quiet:
        terminal_prediction(content)
    print(folder.path)
    return 0


def _predictor(options: Predict) -> "Predictor":
    """Of the named task: its data are read only where the partition goes by classes."""
    from manyhands.clusters.simulated.profile import DeviceProfile
    from manyhands.measure.predict import Predictor
    from manyhands.tasks.registry import load_task, outline_task

    profile = DeviceProfile.load(options.profile)
    if isinstance(options.partition, Iid):
        return Predictor(outline_task(options.task), profile)
    return Predictor(load_task(options.task, options.output.data_dir), profile)


def _configurations(options: Predict) -> "list[Configuration]":
    from manyhands.clusters.cluster import Simulated
    from manyhands.grid import default_strategies, resolve_strategies
    from manyhands.measure.networks import parse_network
    from manyhands.measure.predict import grid
    from manyhands.runs.specification import Specification

    base = Specification(
        task=options.task,
        accumulate=options.accumulate,
        partition=options.partition,
        epochs=options.epochs,
        samples=options.samples,
        optimizer=options.optimizer,
    )
    return grid(
        base,
        Simulated(
            profile=options.profile,
            slow=options.stragglers,
            speeds=options.speeds,
            links=options.links,
            jitter=options.jitter,
            cpus=options.cpus,
        ),
        strategies=resolve_strategies(options.strategies) if options.strategies else default_strategies(),
        workers=options.workers,
        networks=map(parse_network, options.network),
        batch_sizes=options.batch_size,
    )
