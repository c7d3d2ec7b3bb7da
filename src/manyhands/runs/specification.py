"""All that defines a run, as one value: written on the command line or by hand, kept in ``run.json``."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from math import inf
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from manyhands.clusters.cluster import CLUSTERS, Cluster, Simulated
from manyhands.clusters.faults import Fault, check_faults
from manyhands.errors import UserError
from manyhands.runs.folder import RunFolder
from manyhands.strategies import STRATEGIES, AllReduce, Strategy
from manyhands.tasks.partition import Iid, Partition
from manyhands.training.loss import CrossEntropy
from manyhands.training.optimizer import OPTIMIZERS, Optimizer
from manyhands.training.schedule import Constant, LrScaling, Schedule
from manyhands.values import Value

DEFAULT_EPOCHS = 10

Axis = tuple[Mapping[str, type[Any]], str | None]
AXES: dict[type[Any], Axis] = {Strategy: (STRATEGIES, None), Cluster: (CLUSTERS, None), Optimizer: (OPTIMIZERS, "sgd")}
"""fields whose members are told apart by their names, and the member that is meant where there is no name"""


@dataclass(frozen=True, kw_only=True)
class Specification:
    """One training, whole. The order of fields is the order of ``manyhands train --help``."""

    task: str = "mnist-mini/lenet5"
    """what is learnt: DATASET/MODEL, e.g. cifar10/resnet18:norm=group, or FILE.py:NAME of your own"""
    strategy: Strategy = field(default_factory=AllReduce)
    """how the workers train together"""
    cluster: Cluster = field(default_factory=Simulated)
    """where they run: simulated on a virtual clock, or as real processes"""
    workers: int | None = None
    """how many; default: 8 simulated, 2 processes, 1 for single"""
    epochs: int | None = None
    """passes over the whole training data; default: 10"""
    rounds: int | None = None
    """communication rounds of federated strategies, instead of epochs"""
    batch_size: int = 32
    """per worker"""
    accumulate: int = 1
    """micro-batches of --batch-size in a worker's step, computed one after another; batch norm sees each by itself"""
    lr: float | None = None
    """learning rate of one worker's micro-batch; default: sgd 0.05, adamw 0.001, lars 1, lamb 0.01"""
    lr_scaling: LrScaling = "none"
    """linear: the rate times the micro-batches in a step, of all workers together; sqrt: times the root of that"""
    schedule: Schedule = field(default_factory=Constant)
    """the learning rate over the training"""
    warm_up: float = 0.0
    """epochs or rounds in which the learning rate rises linearly at first"""
    optimizer: Optimizer | None = None
    """of each node's steps; default: the strategy's, mostly sgd"""
    loss: CrossEntropy = field(default_factory=CrossEntropy)
    samples: int | None = None
    """train on so many of the data set's first samples; default: all"""
    partition: Partition = field(default_factory=Iid)
    """which samples each worker holds"""
    faults: tuple[Fault, ...] = ()
    """clients that attack or vanish; any of"""
    augment: bool = False
    """crop and flip the training images at random"""
    seed: int = 0
    """of all random numbers"""
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    """of the computation; auto measures which is faster"""
    device: str = "auto"
    """cpu, cuda or mps; auto takes cuda in processes if there is one, else cpu"""
    evaluate_every: int = 1
    """epochs or rounds between two evaluations; checkpoints are written as often"""

    def __post_init__(self) -> None:
        if self.workers is None:
            default = 1 if self.strategy.name == "single" else self.cluster.default_workers
            object.__setattr__(self, "workers", default)
        for flag in ("samples", "workers", "epochs", "rounds", "batch_size", "accumulate", "lr", "evaluate_every"):
            value = getattr(self, flag)
            if value is not None and not 0 < value < inf:
                raise UserError(f"--{flag.replace('_', '-')} must be positive and finite, not {value}")
        if not 0 <= self.warm_up < inf:
            raise UserError(f"--warm-up must be zero or more and finite, not {self.warm_up}")
        if self.seed < 0:
            raise UserError(f"--seed must not be negative, but is {self.seed}")
        if self.epochs is not None and self.rounds is not None:
            raise UserError("give --epochs or --rounds, not both")
        if self.rounds is not None and self.strategy.unit != "round":
            raise UserError(f"{self.strategy.name} has no rounds: give --epochs")
        for rank in self.cluster.slow_factors() if isinstance(self.cluster, Simulated) else ():
            if rank >= self.nodes:
                raise UserError(f"--cluster.slow names node {rank}, but the nodes are 0 … {self.nodes - 1}")
        check_faults(self.faults, self.strategy.name, self.strategy.admits, self.size)
        self.strategy.check(self.size)
        assert self.total > 0  # raises UserError where epochs cannot be told in rounds

    @property
    def size(self) -> int:
        """The number of workers."""
        assert self.workers is not None
        return self.workers

    @property
    def nodes(self) -> int:
        """Workers and servers."""
        return self.size + self.strategy.servers

    @property
    def samples_per_step(self) -> int:
        """How many samples a worker computes on in one step."""
        return self.batch_size * self.accumulate

    @property
    def chosen_optimizer(self) -> Optimizer:
        """The one given, or the strategy's own."""
        return self.optimizer or OPTIMIZERS[self.strategy.default_optimizer]()

    @property
    def chosen_lr(self) -> float:
        """The learning rate given, or the optimiser's own; before scaling."""
        return self.chosen_optimizer.default_lr if self.lr is None else self.lr

    def resolved(self) -> "Specification":
        """The same with the optimiser and the learning rate that are used, as ``run.json`` shows them."""
        return replace(self, optimizer=self.chosen_optimizer, lr=self.chosen_lr)

    @property
    def total(self) -> int:
        """How many of the strategy's units, epochs or rounds, the training lasts."""
        return self.rounds or self.strategy.rounds(self.epochs or DEFAULT_EPOCHS)

    def evaluates_after(self, completed: int) -> bool:
        """Whether an evaluation, and with it a checkpoint, follows after so many epochs or rounds."""
        return completed % self.evaluate_every == 0 or completed == self.total

    def traces_after(self, completed: int) -> bool:
        """Whether the trace is written then: at the end, and early, so that who watches the run sees its nodes."""
        return completed in (self.evaluate_every, self.total)

    def to_json(self) -> dict[str, Any]:
        """Nested dictionaries of plain values; short texts for the axes."""
        return {field.name: _to_json(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_json(cls, data: Any) -> "Specification":
        """The inverse of ``to_json``; raises UserError naming what does not fit."""
        specification: Specification = _from_json(cls, data, "the specification")
        return specification


def _to_json(value: Any) -> Any:
    if isinstance(value, Value):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        named = {"name": value.name} if isinstance(value, Strategy | Cluster | Optimizer) else {}
        return named | {field.name: _to_json(getattr(value, field.name)) for field in fields(value)}
    return list(map(_to_json, value)) if isinstance(value, tuple) else value


def read_specification(folder: RunFolder) -> Specification:
    """The specification of a run; raises UserError if it is damaged or has what this version does not know."""
    data = folder.read_run().get("specification")
    try:
        return Specification.from_json(data)
    except UserError as error:
        raise UserError(f"{folder.path / 'run.json'} cannot be used: {error}") from None


def _from_json(kind: Any, data: Any, where: str) -> Any:
    if isinstance(kind, type) and issubclass(kind, Value):
        return kind.family.parse(_checked(str, data, where))
    if get_origin(kind) is tuple and isinstance(member := get_args(kind)[0], type) and issubclass(member, Value):
        return tuple([_from_json(member, text, where) for text in _checked(list, data, where)])
    if data is not None and NoneType in get_args(kind) and is_dataclass(get_args(kind)[0]):
        kind = get_args(kind)[0]
    if not is_dataclass(kind):
        return tuple(data) if isinstance(_checked(kind, data, where), list) else data
    data = dict(_checked(dict, data, where))
    if isinstance(kind, type) and kind in AXES:
        members, usual = AXES[kind]
        name = data.pop("name", usual)
        if not isinstance(name, str) or name not in members:
            raise UserError(
                f"{where} has the unknown {kind.__name__.lower()} '{name}': choose from {', '.join(members)}"
            )
        kind = members[name]
    kinds = _hints(kind)
    known = {field.name for field in fields(kind)}
    if unknown := set(data) - known:
        raise UserError(f"{where} has the unknown field '{min(unknown)}': it takes {', '.join(sorted(known))}")
    return kind(**{key: _from_json(kinds[key], value, f"{key} in {where}") for key, value in data.items()})


@cache
def _hints(kind: type) -> dict[str, Any]:
    """The types of its fields: slow to find, and asked for again for each of hundreds of runs."""
    return get_type_hints(kind)


def _checked(kind: Any, value: Any, where: str) -> Any:
    if not _fits(kind, value):
        raise UserError(f"{where} must be {getattr(kind, '__name__', kind)}, not {value!r:.50}")
    return value


def _fits(kind: Any, value: Any) -> bool:
    """Whether a value read from JSON is of a field's type; a tuple is written as a list."""
    if get_origin(kind) in (Union, UnionType):
        return any(_fits(part, value) for part in get_args(kind))
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is tuple:
        return isinstance(value, list) and all(_fits(get_args(kind)[0], item) for item in value)
    return type(value) in ((int, float) if kind is float else (kind,))
