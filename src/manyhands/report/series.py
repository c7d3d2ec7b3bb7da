"""Runs that differ in nothing but their seed are a *series*: one row of the table, one line of a chart.

Every strategy has one colour, everywhere and always; the baseline is drawn in the colour of the text. There are fewer
colours that everybody can tell apart than strategies, so kindred ones share one, and their lines differ in the dash;
methods of federated learning, which are kin to each other, have the colours in turn.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from manyhands.runs.files import Json
from manyhands.runs.reading import BASELINE, RunView, find_baseline
from manyhands.statistics import Estimate, estimate
from manyhands.values import write

INK = "currentColor"
# Each has a contrast of 3:1 or more on white and on the dark page, and all differ for normal, protan, deutan
# and tritan sight (least distance 0.10 in OKLab, colour blindness simulated after Machado et al. 2009).
COLOURS = ("#3295f6", "#935415", "#2e7e70", "#ef5cb1", "#7f51c1", "#9b980b")
_KINDRED = (
    ("all-reduce", "data-parallel", "peer-gradients", "fedprox", "fedsgd"),
    ("parameter-server", "scaffold", "fedasync", "fedbuff"),
    ("gossip", "ad-psgd", "push-sum", "fednova"),
    ("local-sgd", "post-local-sgd", "slow-momentum", "elastic-averaging", "moon"),
    ("fedavg", "fedbn", "fedper"),
    ("diloco", "fedopt", "feddyn"),
)  # in the order of the colours; federated methods are mostly compared with each other, and so share none
_NOT_FACTORS = ("seed", "name", "out", "data_dir")
_IN_COLUMNS = ("clock", "cluster.", "workers", "strategy.")
_STRAGGLERS = "cluster.slow"
_CONDITION = ("partition", "faults", _STRAGGLERS)  # what a strategy is put under: who holds what, lies, is slow
_WRITTEN = {
    "workers": "{} workers",
    "epochs": "{} epochs",
    "rounds": "{} rounds",
    "batch_size": "batch {}",
    "lr": "lr {}",
    "task": "{}",
    "partition": "{}",
    "faults": "{}",
    "precision": "{}",
    "optimizer.name": "{}",
    "strategy.cohort": "cohort {}",
    "strategy.deadline": "deadline {}",
    _STRAGGLERS: "slow {}",
    "clock": "{}",
}


@dataclass(frozen=True, kw_only=True, eq=False)  # each is itself: a key for what belongs to it
class Series:
    """One row of the table: runs alike in all but the seed, one for each seed.

    ``runs`` are the finished ones, or where there is none the unfinished; ``baselines`` stand beside them,
    None where a run has no ``single`` run on its clock.
    """

    label: str  # unique among the series, e.g. "gossip · ring · dirichlet:0.1 · slow 0:4 · simulated"
    subject: str  # the same without the condition: unique among the series of one condition
    name: str  # the same without clock and number of workers, which have columns of their own
    family: str  # the same without the number of workers: one line of a scaling chart
    details: tuple[str, ...]  # what else any two series differ in, e.g. ("dirichlet:0.3", "batch 32")
    runs: tuple[RunView, ...]
    baselines: tuple[RunView | None, ...]
    variation: int = 0  # its place among the series of the same colour

    @property
    def strategy(self) -> str:
        return self.runs[0].strategy

    @property
    def clock(self) -> str:
        return self.runs[0].clock

    @property
    def workers(self) -> int:
        return self.runs[0].workers

    @property
    def condition(self) -> str:
        """What the strategy was put under, e.g. ``dirichlet:0.1, slow 0:4``."""
        run = self.runs[0]
        slow = f"slow {run.stragglers}" if run.stragglers else ""
        return ", ".join(filter(None, [run.partition_text, run.faults, slow]))

    @property
    def disturbed(self) -> bool:
        """Whether samples are held unevenly on purpose, a node is slow, or a client is at fault."""
        return self.condition != "iid"

    @property
    def task(self) -> str:
        return str(self.runs[0].specification["task"])

    @property
    def finished(self) -> bool:
        return all(run.finished for run in self.runs)

    @property
    def is_baseline(self) -> bool:
        return self.strategy == BASELINE

    def estimate(self, quantity: Callable[[RunView], float | None]) -> Estimate | None:
        """Mean and interval of a quantity over the seeds; None where any of the runs lacks it."""
        values = [quantity(run) for run in self.runs]
        return None if None in values else estimate(values)

    def by_seed(self, quantity: Callable[[RunView], float | None]) -> dict[int, float]:
        """The quantity of each run that has it."""
        values = {run.seed: quantity(run) for run in self.runs}
        return {seed: value for seed, value in values.items() if value is not None}

    def against_baseline(self, quantity: Callable[[RunView, RunView], float | None]) -> Estimate | None:
        """As `estimate`, of a quantity that compares each run with its baseline."""
        pairs = zip(self.runs, self.baselines, strict=True)
        values = [None if baseline is None else quantity(run, baseline) for run, baseline in pairs]
        return None if None in values else estimate(values)


def collect_series(runs: Sequence[RunView]) -> list[Series]:
    """Group runs into series: the baseline first, strategies in the runs' order, few workers first."""
    groups: dict[str, list[RunView]] = defaultdict(list)
    for run in runs:
        groups[json.dumps([run.clock, _factors(run)], sort_keys=True)].append(run)
    strategies = [BASELINE, *dict.fromkeys(run.strategy for run in runs)]
    ordered = sorted(groups.values(), key=lambda group: (strategies.index(group[0].strategy), group[0].workers))
    written = [_written(group[0]) for group in ordered]
    named: Counter[str] = Counter()
    result = []
    for own, group in zip(written, ordered, strict=True):
        chosen = _one_per_seed(group)
        strategy = group[0].strategy
        apart = _differing(own, [other for other in written if other["strategy.name"] == strategy])
        clock = [apart.pop("clock")] if "clock" in apart else []
        options = [text for key, text in apart.items() if key != "workers"]
        details = _differing(own, written)
        subject = [text for key, text in apart.items() if key not in _CONDITION]
        label = " · ".join([strategy, *apart.values(), *clock])
        named[label] += 1  # factors of unlike type can be written the same
        again = f" ({named[label]})" if named[label] > 1 else ""
        result.append(
            Series(
                label=label + again,
                subject=" · ".join([strategy, *subject, *clock]) + again,
                name=" · ".join([strategy, *options]),
                family=" · ".join([strategy, *options, *clock]),
                details=tuple(
                    text
                    for key, text in details.items()
                    if key not in apart and (key == _STRAGGLERS or not key.startswith(_IN_COLUMNS))
                ),
                runs=chosen,
                baselines=tuple(find_baseline(run, runs) for run in chosen),
            )
        )
    return told_apart(result)


def told_apart(series: Sequence[Series]) -> list[Series]:
    """The same, those of one colour numbered for the dashes of their lines."""
    colour_of, seen = colours(series), Counter[str]()
    numbered = []
    for one in series:
        colour = colour_of[one.strategy]
        numbered.append(replace(one, variation=seen[colour]))
        seen[colour] += 1
    return numbered


def colours(series: Sequence[Series]) -> dict[str, str]:
    """The colour of each strategy of the series."""
    return strategy_colours([one.strategy for one in series])


def strategy_colours(strategies: Sequence[str]) -> dict[str, str]:
    """The colour of each strategy: its own, or for a name without one the next that is left."""
    names = dict.fromkeys(strategies)
    known = {BASELINE: INK} | {name: colour for kin, colour in zip(_KINDRED, COLOURS, strict=True) for name in kin}
    taken = {known[name] for name in names if name in known}
    spare = [colour for colour in COLOURS if colour not in taken] or COLOURS
    others = [name for name in names if name not in known]
    return {name: known.get(name) or spare[others.index(name) % len(spare)] for name in names}


def _one_per_seed(group: list[RunView]) -> tuple[RunView, ...]:
    """The latest run of each seed: the same seed again is no new sample, and must not narrow the interval."""
    usable = [run for run in group if run.finished] or group
    latest = sorted(usable, key=lambda run: str(run.record.get("created", "")))
    return tuple(sorted({run.seed: run for run in latest}.values(), key=lambda run: run.seed))


def _factors(run: RunView) -> Json:
    return {key: value for key, value in run.specification.items() if key not in _NOT_FACTORS}


def _written(run: RunView) -> dict[str, str]:
    """Every factor of a run as a label has it: ``{"workers": "8 workers", "strategy.topology": "ring"}``."""
    flat = flatten({**_factors(run), "clock": run.clock})
    flat["faults"] = run.faults
    flat[_STRAGGLERS] = flat.pop(_STRAGGLERS, None) and run.stragglers  # the last in a label
    return {key: _text(key, value) for key, value in flat.items() if value not in (None, [], "")}


def _text(key: str, value: object) -> str:
    if key in _WRITTEN:
        written = _WRITTEN[key].format(value)
        return written.removesuffix("s") if value == 1 else written
    if key.startswith("strategy.") and isinstance(value, str):
        return value  # a word of the strategy's own speaks for itself: ring, async
    return f"{key.rpartition('.')[2]} {write(value)}"


def _differing(own: dict[str, str], others: list[dict[str, str]]) -> dict[str, str]:
    """The factors of `own` that any of the others does not share.

    The options of clusters and optimisers are compared only among those of one kind.
    """

    def comparable(key: str, other: dict[str, str]) -> bool:
        if key.startswith("optimizer.") and key != "optimizer.name":
            return other.get("optimizer.name") == own.get("optimizer.name")
        return not key.startswith("cluster.") or other["clock"] == own["clock"]

    return {
        key: text
        for key, text in own.items()
        if any(other.get(key) != text for other in others if comparable(key, other))
    }


def flatten(tree: Json, prefix: str = "") -> Json:
    """Nested mappings as one, the keys joined by points: ``{"strategy.name": "gossip"}``."""
    flat: Json = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
