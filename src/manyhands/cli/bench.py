"""``manyhands bench``: what communication, batches and workers cost and give, measured on this machine."""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyhands import terminal
from manyhands.cli.arguments import Output, value_of, with_prefix
from manyhands.cli.bench_options import (
    BATCH_SIZE,
    COMMUNICATION,
    LARGE_BATCH,
    SCALING,
    BatchSize,
    Communication,
    LargeBatch,
    Scaling,
)
from manyhands.cli.flags import Variants, parse
from manyhands.clusters.cluster import CLUSTERS, Cluster, Processes
from manyhands.errors import UserError
from manyhands.training.optimizer import OPTIMIZERS, Optimizer

if TYPE_CHECKING:
    from manyhands.measure.results import BenchFolder, Say
    from manyhands.runs.specification import Specification

KINDS: Mapping[str, tuple[str, Callable[[Sequence[str]], int]]]


def run(argv: Sequence[str]) -> int:
    if not argv:
        raise UserError(f"no benchmark: choose from {', '.join(KINDS)} (see manyhands bench --help)")
    if argv[0] in ("-h", "--help"):
        print(_usage())
        return 0
    if argv[0] not in KINDS:
        raise UserError(f"unknown benchmark '{argv[0]}': choose from {', '.join(KINDS)}")
    return KINDS[argv[0]][1](argv[1:])


def _usage() -> str:
    kinds = "\n".join(f"  {name:<15}{about}" for name, (about, _) in KINDS.items())
    return f"""usage: manyhands bench KIND [OPTIONS]

Measure, and write a folder under runs/ with result.json, tables as CSV, pictures as PNG and SVG, and report.html.

positional argument: KIND, one of
{kinds}

'manyhands bench KIND --help' tells the options of each."""


# ---- the four kinds


def _communication(argv: Sequence[str]) -> int:
    options = _parse(Communication, argv, "communication", COMMUNICATION, cluster="processes")
    if not isinstance(options.cluster, Processes):
        raise UserError("communication is measured between processes: leave out --cluster simulated")

    from manyhands.measure import communication as measure

    hosts = options.cluster.hosts
    processes = options.processes or max(2, hosts)
    if processes < 2:
        raise UserError(f"--processes must be at least 2, not {processes}")
    if options.repeats < 1:
        raise UserError(f"--repeats must be at least 1, not {options.repeats}")
    options.cluster.check(processes)
    sizes = measure.sizes(
        measure.read_size(options.smallest), measure.read_size(options.largest), options.factor, processes
    )
    title = f"Communication among {processes} processes"
    with benchmark("communication", _command("communication", argv), title, {}, options.output) as (bench, say):
        measure.measure_communication(
            bench, options.cluster, options.operations, sizes, processes, options.repeats, say
        )
    return show_benchmark(bench.path, options.output)


def _batch_size(argv: Sequence[str]) -> int:
    options = _parse(BatchSize, argv, "batch-size", BATCH_SIZE)

    from manyhands.measure import batch_size as measure

    specification = _specification(
        task=options.task, cluster=Processes(threads=options.threads), samples=options.samples,
        precision=options.precision, device=options.device, augment=options.augment, optimizer=options.optimizer,
    )  # fmt: skip
    if options.repeats < 1:
        raise UserError(f"--repeats must be at least 1, not {options.repeats}")
    experiment, sizes = measure.prepare(specification, options.batch_sizes, None, options.output.data_dir)
    name, samples = experiment.task.name, len(experiment.task.train)
    conditions = {"task": name, "training samples": f"{samples:,}", "device": str(experiment.device)}
    with benchmark(
        "batch-size",
        _command("batch-size", argv),
        f"{name}: one worker against its batch size",
        conditions,
        options.output,
    ) as (
        bench,
        say,
    ):
        measure.measure_batch_sizes(bench, experiment, sizes, options.repeats, say)
    return show_benchmark(bench.path, options.output)


def _scaling(argv: Sequence[str]) -> int:
    options = _parse(Scaling, argv, "scaling", SCALING, cluster="processes")

    from dataclasses import replace

    from manyhands import lab
    from manyhands.clusters.simulated.executor import available_cores
    from manyhands.grid import resolve_strategies
    from manyhands.measure import scaling as measure
    from manyhands.tasks.registry import load_task

    cluster = options.cluster
    strategies = tuple(one for one in resolve_strategies(options.strategies) if one.name != "single")
    if not strategies:
        raise UserError("--strategies needs one beside single, which is always measured")
    task = load_task(options.task, options.output.data_dir)
    specification = _specification(
        task=task.name, cluster=cluster, workers=1, samples=options.samples, epochs=options.epochs,
        batch_size=options.batch_size, lr=options.lr, precision=options.precision, device=options.device,
        evaluate_every=options.epochs,
    )  # fmt: skip
    plan = measure.Plan(
        base=specification, strategies=strategies, workers=options.workers or measure.usual_workers(cluster),
        parts=tuple(part for part in measure.PARTS if part in options.parts), repeats=options.repeats,
        seeds=tuple(dict.fromkeys(options.seeds)), accuracy_epochs=options.accuracy_epochs, margin=options.margin,
        samples=options.samples or len(task.train),
    )  # fmt: skip
    plan = replace(
        plan, base=replace(specification, cluster=measure.clustered(cluster, plan.most_nodes, available_cores()))
    )
    for each in plan.specifications():
        lab.prepare(each, task)
    conditions = {
        "task": task.name,
        "training samples": f"{plan.samples:,}",
        "total batch": str(options.batch_size),
        "precision": options.precision,
    }
    with benchmark("scaling", _command("scaling", argv), f"{task.name}: scaling", conditions, options.output) as (
        bench,
        say,
    ):
        measure.measure_scaling(bench, plan, task, say)
    return show_benchmark(bench.path, options.output)


def _large_batch(argv: Sequence[str]) -> int:
    options = _parse(LargeBatch, argv, "large-batch", LARGE_BATCH)

    from manyhands.cli.progress import watching
    from manyhands.measure import large_batch as measure

    base = _specification(
        task=options.task, epochs=options.epochs, batch_size=options.batch_size, lr=options.lr,
        optimizer=options.optimizer, augment=options.augment, samples=options.samples, precision=options.precision,
    )  # fmt: skip
    runs = measure.trainings(base, options.totals, options.rules, options.warm_up, options.seeds)
    task = measure.prepare(runs, None, options.output.data_dir)
    conditions = {
        "task": task.name,
        "training samples": f"{options.samples or len(task.train):,}",
        "epochs": str(options.epochs),
        "batch of one worker": str(options.batch_size),
        "warm-up of linear and sqrt": f"{options.warm_up:g} epochs",
        "learning rate of one worker": f"{base.chosen_lr:g} ({base.chosen_optimizer.name})",
        "seeds": ", ".join(map(str, dict.fromkeys(options.seeds))),
        "cluster": "simulated: the accuracy does not depend on it",
    }
    output = options.output
    with (
        benchmark("large-batch", _command("large-batch", argv), f"{task.name}: large batches", conditions, output) as (
            bench,
            _,
        ),
        watching(len(runs)) as watcher,
    ):
        measure.measure_large_batches(bench, runs, task, watcher.run)
    return show_benchmark(bench.path, output)


KINDS = {
    "communication": ("latency and bandwidth of operations by size", _communication),
    "batch-size": ("one worker's speed against its batch size", _batch_size),
    "scaling": ("strong and weak scaling, overlap, bytes, accuracy", _scaling),
    "large-batch": ("accuracy against the total batch", _large_batch),
}


# ---- what they share


def _parse(kind: type[Any], argv: Sequence[str], name: str, description: str, *, cluster: str = "") -> Any:
    variants: dict[type[Any], Variants] = {
        Optimizer: Variants(OPTIMIZERS, value_of(argv, "--optimizer", "sgd", OPTIMIZERS))
    }
    if cluster:
        variants[Cluster] = Variants(CLUSTERS, value_of(argv, "--cluster", cluster, CLUSTERS))
        members = {"cluster.": CLUSTERS[variants[Cluster].chosen]}
        argv = with_prefix(argv, "cluster.", members, [kind, Output])
    return parse(kind, argv, f"manyhands bench {name}", description, variants=variants)


def _command(kind: str, argv: Sequence[str]) -> str:
    return shlex.join(["manyhands", "bench", kind, *argv])


def _specification(**values: Any) -> "Specification":
    from manyhands.runs.specification import Specification

    return Specification(**values)


@contextmanager
def benchmark(
    kind: str, command: str, title: str, conditions: Mapping[str, str], output: Output
) -> Iterator["tuple[BenchFolder, Say]"]:
    """A new folder for a benchmark, and a function that tells people how it goes on; in the end its page and pictures.

    ``command`` is what would repeat it. One that was stopped or has failed shows what it had measured until then.
    """
    from manyhands.cli.progress import Saying
    from manyhands.measure.results import Result, bench_folder
    from manyhands.report.bench import write_bench
    from manyhands.runs.folder import new_run_path

    path = output.out or new_run_path(Path("runs"), f"bench-{kind}" if kind in KINDS else kind)
    result = Result(kind=kind, title=title, conditions=conditions)
    try:
        with terminal.bar(kind, None, "") as line, bench_folder(path, result, command) as bench:
            yield bench, Saying(line)
    finally:
        if result.tables:  # of one that was stopped or failed too
            with terminal.bar("making the page", None, ""):
                write_bench(path)


def show_benchmark(folder: Path, output: Output) -> int:
    """Print the tables, the findings and the page's place."""
    from manyhands.report.bench import PAGE, BenchView, terminal_tables

    view, page = BenchView.read(folder), folder / PAGE
    if output.json:
        print(json.dumps({"folder": str(folder), "report": str(page), **view.record}))
        return 0
    if not output.quiet:
        console = terminal.console()
        for table in terminal_tables(view):
            console.print(table)
            console.print()
        for sentence in view.record["sentences"]:
            console.print(sentence, markup=False, highlight=False)
    print(page)
    return 0
