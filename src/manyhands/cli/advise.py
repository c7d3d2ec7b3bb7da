"""``manyhands advise``: which strategy, how many workers, what batch."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from manyhands import terminal
from manyhands.cli.arguments import Output, value_of
from manyhands.cli.flags import FLAT, Variants, parse
from manyhands.training.optimizer import OPTIMIZERS, Optimizer

DESCRIPTION = """Rank strategies, workers and batch sizes by the predicted time to an accuracy, and show why.

One worker is trained until it is that accurate; on the way the noise of its gradients is measured, which says how many
more samples larger batches need. Samples per second are predicted from a profile (manyhands calibrate writes one).
Their product is the goodput: throughput × statistical efficiency (Pollux, Qiao et al. 2021).

Of strategies that do not average each gradient the theory knows nothing: they are marked, their times are at best."""


@dataclass(frozen=True, kw_only=True)
class Advise:
    """What ``manyhands advise`` takes."""

    task: str = "mnist-mini/lenet5"
    """what is learnt: DATASET/MODEL, or FILE.py:NAME of your own"""
    target: float = 0.9
    """test accuracy to be reached"""
    strategies: tuple[str, ...] = ()
    """names, with options as in gossip:topology=complete, or all; default: eight that differ most"""
    workers: tuple[int, ...] = (1, 2, 4, 8)
    """how many; one stands for single"""
    network: str = "1G"
    """a name (1G, 10G, wan, 4g …) or a rate with or without a latency, as in 300Mbit/s,1ms"""
    batch_size: tuple[int, ...] = (16, 64)
    """per worker"""
    profile: str = "nominal"
    """of the devices: a shipped name or a JSON file, as manyhands calibrate writes it"""
    strict: bool = False
    """refuse a profile of another task or machine, instead of a warning"""
    stragglers: tuple[str, ...] = ()
    """nodes that are slower than the profile, as RANK:FACTOR"""
    reference_batch: int = 32
    """batch size of the one worker that is trained"""
    epochs: int = 10
    """that its training may last; if the target is not reached, options are ranked by goodput alone"""
    lr: float | None = None
    """its learning rate; default: that of the optimiser"""
    optimizer: Optimizer | None = None
    """of its steps; the theory is of sgd, which is the default"""
    augment: bool = False
    """crop and flip the training images at random"""
    samples: int | None = None
    """train on so many of the data set's first samples; default: all"""
    seed: int = 0
    """of all random numbers"""
    output: Output = field(default_factory=Output, metadata=FLAT)


def run(argv: Sequence[str]) -> int:
    optimizers = Variants(OPTIMIZERS, value_of(argv, "--optimizer", "sgd", OPTIMIZERS))
    options = parse(Advise, argv, "manyhands advise", DESCRIPTION, variants={Optimizer: optimizers})

    from manyhands.cli.progress import counting
    from manyhands.clusters.cluster import Simulated
    from manyhands.clusters.simulated.profile import DeviceProfile
    from manyhands.grid import default_strategies, resolve_strategies
    from manyhands.measure.advise import Advice, rank
    from manyhands.measure.networks import parse_network
    from manyhands.measure.noise_scale import train_reference
    from manyhands.measure.predict import Predictor, check_profile, grid, predict
    from manyhands.report.advice import terminal_advice
    from manyhands.report.numbers import percent
    from manyhands.runs.folder import RunFolder, new_run_path
    from manyhands.runs.specification import Specification
    from manyhands.strategies import Single
    from manyhands.tasks.registry import load_task

    profile, output = DeviceProfile.load(options.profile), options.output
    warnings = check_profile(profile, options.task, options.strict)
    base = Specification(
        task=options.task,
        epochs=options.epochs,
        batch_size=options.reference_batch,
        lr=options.lr,
        optimizer=options.optimizer,
        augment=options.augment,
        samples=options.samples,
        seed=options.seed,
    )
    cluster, networks = Simulated(profile=options.profile, slow=options.stragglers), [parse_network(options.network)]
    named = resolve_strategies(options.strategies) if options.strategies else default_strategies()
    several = [count for count in options.workers if count > 1]
    alone = grid(base, cluster, strategies=[Single()], workers=[1], networks=networks, batch_sizes=options.batch_size)
    together = grid(base, cluster, strategies=named, workers=several, networks=networks, batch_sizes=options.batch_size)
    configurations = [*(alone if 1 in options.workers else ()), *together]
    task = load_task(options.task, output.data_dir, augment=options.augment)
    if not output.json:
        for warning in warnings:
            print(f"manyhands: warning: {warning}", file=sys.stderr)
    with counting(len(configurations), "predicting") as count:
        predictions = predict(configurations, Predictor(task, profile), warnings=warnings, show=count)
    with terminal.bar("training one worker", options.epochs, "epochs") as line:
        samples = options.samples or len(task.train)
        reference = train_reference(
            base, options.target, task, lambda seen, accuracy: line.move(seen / samples, state=percent(accuracy, 1))
        )
    options_ = rank(predictions.predicted, reference)
    content = Advice(target=options.target, reference=reference, options=options_, predictions=predictions).to_json()
    folder = RunFolder.create(output.out or new_run_path(Path("runs"), "advise"), {"advice.json": content})
    if output.json:
        print(json.dumps({"folder": str(folder.path)} | content))
        return 0
    if not output.quiet:
        terminal_advice(content)
    print(folder.path)
    return 0
