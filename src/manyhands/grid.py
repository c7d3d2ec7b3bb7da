"""Which runs a study is made of: every combination of what shall differ. Nothing is trained here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

from manyhands.clusters.cluster import Cluster, Processes, Simulated
from manyhands.errors import UserError
from manyhands.runs.specification import Specification
from manyhands.strategies import STRATEGIES, Single, Strategy, parse_strategy
from manyhands.tasks.partition import Dirichlet, Iid, Partition

TEACHING_SET = (
    "all-reduce",  # what practice is: synchronous, nobody in the middle
    "parameter-server",  # the same steps through a middle, whose link is the bottleneck
    "parameter-server:consistency=async",  # nobody waits: stale gradients
    "gossip",  # no middle and no agreement: neighbours only
    "ad-psgd",  # gossip without waiting
    "local-sgd",  # to talk seldom
    "diloco",  # to talk seldom, and to make a step of what comes of it; today's way across data centres
    "fedavg",  # data that must stay where they are, and are skewed
)
"""What ``manyhands compare`` shows without options, each for one idea; variants of these ideas are left out.

``data-parallel`` and ``peer-gradients`` are other traffic for the steps of all-reduce, ``push-sum`` is gossip over
one-way edges, ``post-local-sgd``, ``slow-momentum`` and ``elastic-averaging`` are refinements of local SGD.
"""

Slow = tuple[str, ...]
"""the nodes that are slower than the others, as ``Simulated.slow`` has them; empty for none"""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Every combination of strategies, workers, skews, stragglers, batch sizes and seeds; a baseline for each clock.

    ``cluster`` is where the strategies run. ``mixed`` runs all-reduce for real, on two processes of one core each, and
    the others in simulation; ``single`` is then run on both, since times of different clocks are never compared.
    """

    base: Specification
    strategies: tuple[Strategy, ...]
    cluster: Literal["mixed", "simulated", "processes"] = "mixed"
    workers: tuple[int, ...] = ()
    partitions: tuple[Partition, ...] = ()
    """empty: the base's; and, unless there are stragglers, Dirichlet(0.3) for the strategies made for skewed data"""
    stragglers: tuple[Slow, ...] = ()
    """of simulated runs, but not of the baselines; empty: the base's"""
    one_at_a_time: bool = False
    """vary the skew with the first stragglers alone, and the stragglers with the first skew alone"""
    batch_sizes: tuple[int, ...] = ()
    seeds: tuple[int, ...] = (0,)

    def specifications(self) -> list[Specification]:
        """All runs, baselines first, none twice; raises UserError where a straggler is none of the workers."""
        runs: list[Specification] = []
        for seed, batch_size in product(self.seeds, self.batch_sizes or (self.base.batch_size,)):
            base = replace(self.base, seed=seed, batch_size=batch_size)
            shared = [run for strategy in self.strategies for run in self._of(strategy, base)]
            real = {isinstance(run.cluster, Processes) for run in shared} or {False}
            runs += [self._single(base, processes) for processes in sorted(real)] + shared
        return list({str(run.to_json()): run for run in runs}.values())

    def _of(self, strategy: Strategy, base: Specification) -> list[Specification]:
        if isinstance(strategy, Single):
            return []  # the baseline is always there
        processes = self.cluster == "processes" or (self.cluster == "mixed" and strategy.name == "all-reduce")
        workers = self.workers if self.workers and not (self.cluster == "mixed" and processes) else (None,)
        federated = strategy.unit == "round" and not any(self.stragglers)
        skews = self.partitions or ((Dirichlet(0.3),) if federated else (base.partition,))
        if strategy.pools_data:  # there is nothing to skew
            skews = (Iid(),)
        cluster = self._cluster(base, processes)
        clusters: list[Cluster] = [cluster]
        if self.stragglers and isinstance(cluster, Simulated):
            clusters = [replace(cluster, slow=slow) for slow in self.stragglers]
        conditions = list(product(skews, clusters))
        if self.one_at_a_time:
            conditions = [pair for pair in conditions if pair[0] == skews[0] or pair[1] == clusters[0]]
        runs = []
        for count, (skew, place) in product(workers, conditions):
            run = replace(base, strategy=strategy, cluster=cluster, workers=count, partition=skew)
            if self.stragglers:
                _check_stragglers(place, run.size)
            runs.append(replace(run, cluster=place))
        return runs

    def _single(self, base: Specification, processes: bool) -> Specification:
        return replace(base, strategy=Single(), cluster=self._cluster(base, processes), workers=1, faults=())

    def _cluster(self, base: Specification, processes: bool) -> Processes | Simulated:
        if processes:
            return base.cluster if isinstance(base.cluster, Processes) else Processes(threads=1)
        return base.cluster if isinstance(base.cluster, Simulated) else Simulated()


def _check_stragglers(cluster: Cluster, workers: int) -> None:
    for rank in cluster.slow_factors() if isinstance(cluster, Simulated) else ():
        if rank >= workers:
            raise UserError(f"--stragglers names worker {rank}, but the workers are 0 … {workers - 1}")


def factors(specifications: Sequence[Specification]) -> list[str]:
    """The names of the fields in which they differ; slow nodes are ``stragglers``, whatever else the clusters are."""
    rows: list[dict[str, Any]] = []
    for specification in specifications:
        row = specification.to_json()
        slow = row["cluster"].pop("slow", [])
        rows.append(row | {"stragglers": slow})
    return [key for key in rows[0] if any(row[key] != rows[0][key] for row in rows)]


def label(specification: Specification, differ: Sequence[str]) -> str:
    """What tells a run from the others of its study: ``fedavg ×8 dirichlet:0.3 slow 0:4 lr 0.1 seed 1``."""
    workers, partition, cluster = specification.workers, specification.partition, specification.cluster
    slow = cluster.slow if isinstance(cluster, Simulated) else ()
    parts = {
        "task": specification.task,
        "workers": f"×{workers}" if workers != 1 else "",
        "cluster": "real" if isinstance(cluster, Processes) else "",
        "partition": str(partition) if not isinstance(partition, Iid) else "",
        "stragglers": f"slow {'+'.join(slow)}" if slow else "",
        "faults": "+".join(map(str, specification.faults)),
        "batch_size": f"batch {specification.batch_size}",
        "lr": f"lr {specification.lr:g}" if specification.lr else "",
        "seed": f"seed {specification.seed}",
    }
    return " ".join([str(specification.strategy), *(parts[key] for key in parts if key in differ and parts[key])])


def default_strategies() -> tuple[Strategy, ...]:
    """A lesson: one strategy for each idea, in the order in which they are taught; see `TEACHING_SET`."""
    return tuple(map(parse_strategy, TEACHING_SET))


def all_strategies() -> tuple[Strategy, ...]:
    """Every registered strategy but the baseline, and each consistency of the parameter server."""
    names = [name for name in STRATEGIES if name != "single"]
    consistencies = [f"parameter-server:consistency={name}" for name in ("ssp:4", "async")]
    return tuple(parse_strategy(name) for name in sorted([*names, *consistencies]))


def resolve_strategies(texts: Sequence[str]) -> tuple[Strategy, ...]:
    """Strategies in several words or separated by commas, ``gossip,fedavg:fraction=0.5,local_epochs=2``, or ``all``.

    Raises UserError for what does not exist.
    """
    names: list[str] = []
    for part in ",".join(texts).split(","):
        option = "=" in part and ":" not in part.partition("=")[0]
        if names and (option or part[:1].isdigit()):
            names[-1] += f",{part}"  # an option of the strategy before, or more of its value
        else:
            names.append(part)
    named = [all_strategies() if name.strip() == "all" else (parse_strategy(name),) for name in names]
    return tuple(dict.fromkeys(strategy for group in named for strategy in group))


def resolve_stragglers(text: str) -> Slow:
    """The slow nodes of one condition: ``none``, or RANK:FACTOR as in ``0:4``, several joined by +.

    Raises UserError for another text.
    """
    if text == "none":
        return ()
    try:
        factors = Simulated(slow=tuple(text.split("+"))).slow_factors()
    except UserError:
        factors = {}
    if len(factors) != text.count("+") + 1:
        raise UserError(f"--stragglers takes none or RANK:FACTOR, e.g. 0:4 or 0:4+3:2, not '{text}'")
    return tuple(f"{rank}:{factor:g}" for rank, factor in sorted(factors.items()))
