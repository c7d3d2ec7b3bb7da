"""``manyhands compare``: a study of several strategies, a table and one page."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from manyhands.cli.arguments import Output, parse
from manyhands.cli.progress import console, watching
from manyhands.errors import UserError
from manyhands.runs.specification import Specification
from manyhands.strategies import AllReduce
from manyhands.tasks.partition import Partition
from manyhands.training.optimizer import SGD
from manyhands.training.schedule import Constant, Schedule

DESCRIPTION = """Train with several strategies and report them side by side.

Without options: LeNet-5 on the embedded mnist-mini with every strategy; all-reduce on 2 real processes, the others on 8
simulated workers, fedavg on data skewed by Dirichlet(0.3), and single as the baseline of each clock. Several values make
a grid: --workers 4 8 --alpha 0.1 1 --seeds 0 1 2."""


@dataclass(frozen=True, kw_only=True)
class Compare(Output):
    task: str = "mnist-mini/lenet5"
    """what is learnt: DATASET/MODEL"""
    strategies: tuple[str, ...] = ()
    """names, with options as in gossip:topology=complete; default: all of them"""
    cluster: Literal["mixed", "simulated", "processes"] = "mixed"
    """where they run; mixed: all-reduce on 2 real processes, the others simulated"""
    workers: tuple[int, ...] = ()
    """default: 8 simulated, 2 processes"""
    alpha: tuple[float, ...] = ()
    """skews: Dirichlet(α) partitions for all strategies, instead of --partition"""
    partition: Partition | None = None
    """for all strategies; default: iid, and dirichlet:0.3 for federated ones"""
    batch_size: tuple[int, ...] = (32,)
    """per worker"""
    seeds: tuple[int, ...] = (0,)
    """with several, results are means with 95 % intervals"""
    epochs: int = 5
    """passes over the training data, the same for all"""
    lr: float = 0.05
    """learning rate of one worker's batch"""
    lr_scaling: Literal["none", "linear"] = "none"
    """linear: times the number of workers (Goyal et al. 2017)"""
    schedule: Schedule = field(default_factory=Constant)
    """of the learning rate over the training"""
    optimizer: SGD = field(default_factory=lambda: SGD(momentum=0.9))
    augment: bool = False
    """crop and flip the training images at random"""
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    device: str = "auto"
    """cpu, cuda or mps"""
    evaluate_every: int = 1
    """epochs or rounds between two evaluations"""


def run(argv: Sequence[str]) -> int:
    options = parse(Compare, argv, "manyhands compare", DESCRIPTION)

    from manyhands.report.page import write_report
    from manyhands.runs.folder import new_run_path
    from manyhands.study import run_study

    specifications = _grid(options)
    out = options.out or new_run_path(Path("runs"), "compare")
    with watching(options.quiet or options.json) as watcher:
        study = run_study("compare", specifications, out, data_dir=options.data_dir, show=watcher.run)
    report = write_report([study.path], study.path / "report.html")
    _show(study.path, report, options)
    return 0


def _grid(options: Compare) -> list[Specification]:
    """The specifications of all runs."""
    from manyhands import study

    if options.alpha and options.partition:
        raise UserError("give --alpha or --partition, not both")
    shared = {f.name for f in fields(Specification)} - {"strategy", "cluster", "workers", "partition", "seed"}
    same = {name: getattr(options, name) for name in shared if hasattr(options, name)}
    base = Specification(strategy=AllReduce(), **same | {"batch_size": options.batch_size[0]})
    chosen = options.strategies
    return study.Grid(
        base=base,
        strategies=study.resolve_strategies(chosen) if chosen else study.default_strategies(),
        cluster=options.cluster,
        workers=options.workers,
        partitions=study.skews(options.alpha) if options.alpha else (options.partition,) * (options.partition is not None),
        batch_sizes=options.batch_size,
        seeds=options.seeds,
    ).specifications()


def _show(folder: Path, report: Path, options: Compare) -> None:
    from manyhands.report.tables import rows_as_json, summary_rows, terminal_table
    from manyhands.runs.reading import RunView, find_runs

    rows = summary_rows([RunView.read(path) for path in find_runs(folder)])
    if options.json:
        print(json.dumps({"folder": str(folder), "report": str(report), "rows": rows_as_json(rows)}))
        return
    if not options.quiet:
        console.print(terminal_table(rows))
    print(report)
