"""``manyhands compare``: a study of several strategies, a table and one page."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from manyhands import terminal
from manyhands.cli.arguments import Output, value_of
from manyhands.cli.flags import FLAT, Variants, parse
from manyhands.errors import RunError, UserError
from manyhands.export import Tool, check_tools
from manyhands.runs.specification import Specification
from manyhands.strategies import AllReduce
from manyhands.study_file import StudyFile, load_study, with_rounds, with_seeds
from manyhands.tasks.partition import Dirichlet, Partition
from manyhands.training.optimizer import OPTIMIZERS, Optimizer
from manyhands.training.schedule import Constant, LrScaling, Schedule

if TYPE_CHECKING:
    from manyhands.report.tables import Row

DESCRIPTION = """Train with several strategies and report them side by side.

Without options: LeNet-5 on the embedded mnist-mini with eight strategies, one for each idea; all-reduce on two real
processes, the others on eight simulated workers, fedavg on data skewed by Dirichlet(0.3), and single as the baseline of
each clock.

Several values make a grid: --workers 4 8 --alpha 0.1 1 --seeds 0 1 2. What skew and a slow worker do to each strategy:
--partition iid dirichlet:0.1 --stragglers none 0:4.

--from runs a study that is written down in a file, such as studies/niid_bench_mnist.py, and --resume goes on with one
that was stopped."""

BESIDE_RESUME = ("resume", "target", "export", "data-dir", "json", "quiet")
BESIDE_FROM = ("from", "seeds", "rounds", "samples", "evaluate-every", "device", "out", *BESIDE_RESUME[1:])
"""the flags that may be given with these two, which tell all the rest"""


@dataclass(frozen=True, kw_only=True)
class Compare:
    """What ``manyhands compare`` takes."""

    task: str = "mnist-mini/lenet5"
    """what is learnt: DATASET/MODEL, or FILE.py:NAME of your own"""
    strategies: tuple[str, ...] = ()
    """names, with options as in gossip:topology=complete, or all; default: eight that differ most"""
    cluster: Literal["mixed", "simulated", "processes"] | None = None
    """where they run; default: simulated with --stragglers, else mixed: all-reduce on 2 processes, others simulated"""
    workers: tuple[int, ...] = ()
    """how many; default: 8 simulated, 2 processes"""
    alpha: tuple[float, ...] = ()
    """skews: Dirichlet(α) partitions for all strategies, instead of --partition"""
    partition: tuple[Partition, ...] = ()
    """skews; default: iid, and without --stragglers dirichlet:0.3 for federated strategies; any of"""
    stragglers: tuple[str, ...] = ()
    """slow workers: none, or RANK:FACTOR as in 0:4, four times as long; several of one run joined by +"""
    one_at_a_time: bool = False
    """no combinations of skews with stragglers: each skew with the first stragglers, and these with the first skew"""
    batch_size: tuple[int, ...] = (16,)
    """per worker"""
    seeds: tuple[int, ...] = (0,)
    """with several, results are means with 95 % intervals"""
    epochs: int = 5
    """passes over the training data, the same for all"""
    rounds: int | None = None
    """communication rounds of federated strategies; default: as many as make --epochs"""
    accumulate: int = 1
    """micro-batches of --batch-size in a worker's step, computed one after another"""
    lr: float | None = None
    """learning rate of one worker's micro-batch; default: sgd 0.05, adamw 0.001, lars 1, lamb 0.01"""
    lr_scaling: LrScaling = "none"
    """linear: the rate times the micro-batches in a step, of all workers together; sqrt: times the root of that"""
    schedule: Schedule = field(default_factory=Constant)
    """the learning rate over the training"""
    optimizer: Optimizer | None = None
    """of each node's steps, for all strategies; default: each strategy's own, mostly sgd"""
    augment: bool = False
    """crop and flip the training images at random"""
    samples: int | None = None
    """train on so many of the data set's first samples; default: all"""
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    """of the computation; auto measures which is faster"""
    device: str = "auto"
    """cpu, cuda or mps"""
    evaluate_every: int = 1
    """epochs or rounds between two evaluations"""
    target: float | None = None
    """accuracy for which the time is reported, e.g. 0.95; default: the highest that half reached, in every condition"""
    from_: Path | None = None
    """a study in Python (see studies/); --seeds, --rounds, --samples, --evaluate-every and --device still count"""
    resume: Path | None = None
    """a stopped study's folder: go on with the runs that are not finished, as if it had never stopped"""
    export: tuple[Tool, ...] = ()
    """write the runs for these tools too, when all have ended: see manyhands export"""
    output: Output = field(default_factory=Output, metadata=FLAT)


def run(argv: Sequence[str]) -> int:
    optimizers = Variants(OPTIMIZERS, value_of(argv, "--optimizer", "sgd", OPTIMIZERS))
    options = parse(Compare, argv, "manyhands compare", DESCRIPTION, variants={Optimizer: optimizers})
    check(options)

    from manyhands.cli.export import export
    from manyhands.cli.progress import watching
    from manyhands.report.page import write_report
    from manyhands.report.times import check_target
    from manyhands.runs.folder import new_run_path
    from manyhands.runs.reading import find_runs
    from manyhands.study import Begun, resume_study, run_study

    check_target(options.target)
    check_tools(options.export)
    output = options.output
    carry_out: Callable[..., object]
    if options.resume:
        _check_flags(argv, BESIDE_RESUME, "--resume goes on with a study as it was")
        begun = Begun.read(options.resume)
        out, target, runs = options.resume, options.target or begun.target, len(begun.left)
        carry_out = partial(resume_study, begun)
    else:
        study = study_of(options, argv)
        out = output.out or new_run_path(Path("runs"), options.from_.stem if options.from_ else study.name)
        target, runs = options.target or study.target, len(study.specifications)
        carry_out = partial(run_study, study.name, study.specifications, out, target=target, file=study.path)
    try:
        with watching(runs) as watcher:
            carry_out(data_dir=output.data_dir, show=watcher.run)
    except KeyboardInterrupt:
        begun_too = (out / "study.json").exists()
        raise KeyboardInterrupt(f"go on with: manyhands compare --resume {out}" if begun_too else "") from None
    with terminal.bar("making the report", None, ""):
        report = write_report([out], out / "report.html", target)
    viewers = export([run for run in find_runs(out) if (run / "run.json").exists()], options.export, out.parent)
    _show(out, report, target, output, viewers)
    return 0


def check(options: Compare) -> None:
    """Raise UserError for flags that exclude each other."""
    if options.alpha and options.partition:
        raise UserError("give --alpha or --partition, not both")
    if options.stragglers and options.cluster in ("mixed", "processes"):
        raise UserError("stragglers are simulated: give --stragglers with --cluster simulated, or without --cluster")


def study_of(options: Compare, argv: Sequence[str]) -> StudyFile:
    """The study of the file, as far as flags do not change it, or that of the flags alone."""
    if options.from_:
        given = _check_flags(argv, BESIDE_FROM, "--from runs a study as its file has it")
        study = load_study(options.from_)
        changes = {name: getattr(options, name) for name in ("samples", "evaluate_every", "device") if name in given}
        specifications = tuple(replace(one, **changes) for one in study.specifications)
        if "seeds" in given:
            specifications = with_seeds(specifications, options.seeds)
    else:
        study = StudyFile(name="compare", specifications=tuple(_specifications(options)))
        specifications = study.specifications
    if options.rounds is not None:
        specifications = with_rounds(specifications, options.rounds)
    return replace(study, specifications=specifications)


def _check_flags(argv: Sequence[str], allowed: Sequence[str], why: str) -> set[str]:
    """The names of the flags that are given; raises UserError for one that is not allowed."""
    given = [word.partition("=")[0][2:].replace("_", "-") for word in argv if word.startswith("--")]
    if others := [name for name in given if name not in allowed]:
        taken = ", ".join(f"--{name}" for name in allowed[1:])
        raise UserError(f"{why}: leave out --{others[0]}; what can be given is {taken}")
    return {name.replace("-", "_") for name in given}


def _specifications(options: Compare) -> list[Specification]:
    from manyhands.grid import Grid, default_strategies, resolve_stragglers, resolve_strategies

    base = Specification(
        task=options.task,
        strategy=AllReduce(),
        epochs=options.epochs,
        accumulate=options.accumulate,
        lr=options.lr,
        lr_scaling=options.lr_scaling,
        schedule=options.schedule,
        optimizer=options.optimizer,
        augment=options.augment,
        samples=options.samples,
        precision=options.precision,
        device=options.device,
        evaluate_every=options.evaluate_every,
    )
    return Grid(
        base=base,
        strategies=resolve_strategies(options.strategies) if options.strategies else default_strategies(),
        cluster=options.cluster or ("simulated" if options.stragglers else "mixed"),
        workers=options.workers,
        partitions=tuple(map(Dirichlet, options.alpha)) or options.partition,
        stragglers=tuple(dict.fromkeys(map(resolve_stragglers, options.stragglers))),
        one_at_a_time=options.one_at_a_time,
        batch_sizes=options.batch_size,
        seeds=options.seeds,
    ).specifications()


def _show(folder: Path, report: Path, target: float | None, output: Output, viewers: dict[str, str]) -> None:
    """Print the tables and last the report's place; raises RunError if a run has failed."""
    from manyhands.cli.export import show_viewers
    from manyhands.report.tables import summary_rows, terminal_table
    from manyhands.report.target import rounds_tables, terminal_rounds
    from manyhands.report.times import terminal_times, times_tables
    from manyhands.runs.reading import RunView, find_runs

    runs = [RunView.read(path) for path in find_runs(folder)]
    rows = summary_rows(runs)
    times = times_tables(rows, target)
    rounds = rounds_tables(rows, target)
    if output.json:
        content: dict[str, Any] = {
            "rows": [_as_json(row) for row in rows],
            "time_to_accuracy": [table.to_json() for table in times],
            "rounds_to_accuracy": [table.to_json() for table in rounds],
        }
        content |= {"viewers": viewers} if viewers else {}
        print(json.dumps({"folder": str(folder), "report": str(report), **content}))
    elif not output.quiet:
        console = terminal.console()
        console.print(terminal_table(rows))
        for table in times:
            if table.crossed:
                console.print(terminal_times(table))
        for reached in rounds:
            console.print(terminal_rounds(reached))
        show_viewers(viewers)
    if not output.json:
        print(report)
    if failed := [run for run in runs if not run.finished]:
        first = failed[0]
        raise RunError(f"{len(failed)} of {len(runs)} runs failed, first {first.name}: {first.record.get('error')}")


def _as_json(row: "Row") -> dict[str, Any]:
    """A line of the table; each quantity as {"mean", "half", "n"}: mean ± half is the 95 % interval over n seeds."""
    series = row.series
    quantities = {name: value for name, value in vars(row).items() if name != "series"}
    return {
        "strategy": series.strategy,
        "name": series.name,
        "clock": series.clock,
        "workers": series.workers,
        "partition": series.runs[0].partition_text,
        "stragglers": series.runs[0].stragglers,
        "runs": [str(run.folder) for run in series.runs],
    } | {name: None if value is None else asdict(value) for name, value in quantities.items()}
