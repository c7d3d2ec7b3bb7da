"""All that defines a run, as one value: made by the command line or by hand, kept in ``run.json``, run again from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, get_type_hints

from manyhands.clusters.cluster import CLUSTERS, Cluster, Simulated
from manyhands.errors import UserError
from manyhands.strategies import STRATEGIES, AllReduce, Strategy
from manyhands.tasks.partition import Iid, Partition
from manyhands.training.loss import CrossEntropy
from manyhands.training.optimizer import SGD
from manyhands.training.schedule import Constant, Schedule
from manyhands.values import Value

DEFAULT_EPOCHS = 10


@dataclass(frozen=True, kw_only=True)
class Specification:
    """One training, whole. The order of fields is the order of ``manyhands train --help``."""

    task: str = "mnist-mini/lenet5"
    """what is learnt: DATASET/MODEL, e.g. cifar10/resnet18:norm=group"""
    strategy: Strategy = field(default_factory=AllReduce)
    cluster: Cluster = field(default_factory=Simulated)
    workers: int | None = None
    """default: 8 simulated, 2 processes, 1 for single"""
    epochs: int | None = None
    """passes over the whole training data (default 10)"""
    rounds: int | None = None
    """communication rounds, instead of epochs, for federated strategies"""
    batch_size: int = 32
    """per worker"""
    lr: float = 0.05
    """learning rate of one worker's batch"""
    lr_scaling: Literal["none", "linear"] = "none"
    """linear: times the number of workers (Goyal et al. 2017)"""
    schedule: Schedule = field(default_factory=Constant)
    """of the learning rate over the training"""
    warm_up: float = 0.0
    """epochs or rounds in which the learning rate rises linearly"""
    optimizer: SGD = field(default_factory=SGD)
    loss: CrossEntropy = field(default_factory=CrossEntropy)
    partition: Partition = field(default_factory=Iid)
    """which samples each worker holds, e.g. iid, dirichlet:0.3, shards:2"""
    augment: bool = False
    """crop and flip the training images at random"""
    seed: int = 0
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    device: str = "auto"
    """cpu, cuda or mps; auto takes cuda in processes if there is one, else cpu"""
    evaluate_every: int = 1
    """epochs or rounds between two evaluations; checkpoints are written as often"""

    def __post_init__(self) -> None:
        if self.workers is None:
            default = 1 if self.strategy.name == "single" else self.cluster.default_workers
            object.__setattr__(self, "workers", default)
        for flag in ("workers", "epochs", "rounds", "batch_size", "lr", "evaluate_every"):
            value = getattr(self, flag)
            if value is not None and not value > 0:
                raise UserError(f"--{flag.replace('_', '-')} must be positive, not {value}")
        if self.warm_up < 0:
            raise UserError(f"--warm-up must not be negative, but is {self.warm_up}")
        if self.seed < 0:
            raise UserError(f"--seed must not be negative, but is {self.seed}")
        if self.epochs is not None and self.rounds is not None:
            raise UserError("give --epochs or --rounds, not both")
        if self.rounds is not None and self.strategy.unit != "round":
            raise UserError(f"{self.strategy.name} has no rounds: give --epochs")
        for rank in self.cluster.slow_factors() if isinstance(self.cluster, Simulated) else ():
            if rank >= self.nodes:
                raise UserError(f"--cluster.slow names node {rank}, but the nodes are 0 … {self.nodes - 1}")
        self.strategy.check(self.size)

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
    def total(self) -> int:
        """How many of the strategy's units, epochs or rounds, the training lasts."""
        return self.rounds or self.strategy.rounds(self.epochs or DEFAULT_EPOCHS)

    def to_json(self) -> dict[str, Any]:
        """Nested dictionaries of plain values; short texts for the axes."""
        return {field.name: _to_json(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Specification":
        """The inverse of ``to_json``; raises UserError naming what does not fit."""
        return _from_json(cls, data, "the specification")


def _to_json(value: Any) -> Any:
    if isinstance(value, Value):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        named = {"name": value.name} if isinstance(value, Strategy | Cluster) else {}
        return named | {field.name: _to_json(getattr(value, field.name)) for field in fields(value)}
    return list(value) if isinstance(value, tuple) else value


def _from_json(kind: Any, data: Any, where: str) -> Any:
    if isinstance(kind, type) and issubclass(kind, Value):
        return kind.family.parse(data)
    if kind in (Strategy, Cluster):
        members: Mapping[str, type[Any]] = STRATEGIES if kind is Strategy else CLUSTERS
        data = dict(data)
        name = data.pop("name", None)
        if name not in members:
            raise UserError(f"{where} has the unknown {kind.__name__.lower()} '{name}': choose from {', '.join(members)}")
        kind = members[name]
    if not is_dataclass(kind):
        return tuple(data) if isinstance(data, list) else data
    kinds = get_type_hints(kind)
    known = {field.name for field in fields(kind)}
    if unknown := set(data) - known:
        raise UserError(f"{where} has the unknown field '{min(unknown)}': it takes {', '.join(sorted(known))}")
    return kind(**{key: _from_json(kinds[key], value, f"{key} in {where}") for key, value in data.items()})
