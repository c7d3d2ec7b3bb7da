"""Writes down a run while it goes on: a row and a checkpoint at each evaluation, the results at the end."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, Literal, Protocol, runtime_checkable

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from manyhands.errors import RunError, UserError
from manyhands.runs.clients import DIGITS, Clients
from manyhands.runs.folder import CLIENTS, HISTORY, ORDER, WORKERS, RunFolder
from manyhands.runs.ledger import Ledger
from manyhands.runs.specification import Specification
from manyhands.runs.trace import Trace, encode
from manyhands.training.evaluation import Evaluation

Row = dict[str, Any]
Observer = Callable[[Row], None]
"""is told each new row of the history"""

Follow = Callable[[Callable[[], float]], None]
"""is given a function that tells, at any time and from any thread, what share of the whole training is done, 0 to 1;
NaN before it has begun"""


@runtime_checkable
class Follower(Protocol):
    """An observer that also wants to know between two rows how far the training is."""

    def __call__(self, row: Row) -> None: ...

    def follow(self, progress: Callable[[], float]) -> None:
        """See `Follow`."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """All that is needed to go on: for each node its numbers and its vectors, and the cluster's own numbers."""

    completed: int
    rows: int
    """of the history, that were written before"""
    cluster: dict[str, Any]
    nodes: dict[int, dict[str, Any]]
    tensors: dict[str, Tensor]
    """named RANK/NAME"""

    def tensors_of(self, rank: int) -> dict[str, Tensor]:
        return self._by_rank.get(str(rank), {})

    @cached_property
    def _by_rank(self) -> dict[str, dict[str, Tensor]]:
        by_rank: dict[str, dict[str, Tensor]] = {}
        for key, tensor in self.tensors.items():
            rank, _, name = key.partition("/")
            by_rank.setdefault(rank, {})[name] = tensor
        return by_rank

    def save(self, folder: RunFolder) -> None:
        data = {
            "completed": self.completed,
            "rows": self.rows,
            "cluster": self.cluster,
            "nodes": {str(rank): numbers for rank, numbers in self.nodes.items()},
        }
        tensors = {key: value.detach().cpu().contiguous().clone() for key, value in self.tensors.items()}
        folder.write_checkpoint(data, save(tensors))

    @classmethod
    def load(cls, folder: RunFolder) -> "Checkpoint":
        """Raises UserError if there is none or it is damaged."""
        data, tensors = folder.read_checkpoint()
        try:
            return cls(
                completed=data["completed"],
                rows=data["rows"],
                cluster=data["cluster"],
                nodes={int(rank): numbers for rank, numbers in data["nodes"].items()},
                tensors=load(tensors),
            )
        except (KeyError, ValueError, TypeError, AttributeError, SafetensorError) as error:
            raise UserError(f"the checkpoint of {folder.path} is damaged ({error}): run again") from None

    def check(self, nodes: int, weights: int) -> None:
        """Raise UserError unless it is of so many nodes, with so many weights each."""
        for key, tensor in self.tensors.items():
            if key.endswith("/weights") and tensor.shape != (weights,):
                raise UserError(
                    f"the checkpoint is of another model: it has {tensor.numel():,} weights, and the task {weights:,}"
                )
        count = self.cluster.get("nodes", len(self.nodes))  # of which those that only waited are left out
        if count != nodes or not self.nodes.keys() <= set(range(nodes)):
            raise UserError(f"the checkpoint is of another run: it has {count} nodes, not {nodes}")


class Counted(Protocol):
    """What a row and the results take from a node; a `Node` has it, and so has the `NodeReport` of one elsewhere."""

    @property
    def samples(self) -> int:
        """training samples that it computed on"""

    @property
    def loss_sum(self) -> float:
        """the training loss added up over ``loss_samples`` samples since the row before"""

    @property
    def loss_samples(self) -> int: ...

    @property
    def ledger(self) -> Ledger: ...

    @property
    def trace(self) -> Trace: ...


@dataclass(frozen=True, kw_only=True)
class NodeReport:
    """A node's numbers as it tells them to another process."""

    samples: int
    loss_sum: float
    loss_samples: int
    ledger: Ledger
    trace: Trace


@dataclass(eq=False)
class Recorder:
    """The writing side of one run; ``rows`` counts the history so far."""

    folder: RunFolder
    specification: Specification
    training_samples: int
    clock: Literal["simulated", "real"]
    observer: Observer | None = None
    rows: int = 0

    def follow(self, progress: Callable[[], float]) -> None:
        """Tell an observer that asks for it how far the training is; see `Follower`."""
        if isinstance(self.observer, Follower):
            self.observer.follow(progress)

    def go_on_from(self, checkpoint: Checkpoint) -> None:
        """Forget the rows that were written after the checkpoint."""
        for name in (HISTORY, ORDER, CLIENTS, WORKERS):
            self.folder.cut_rows(name, checkpoint.rows)
        self.rows = checkpoint.rows

    def record(
        self,
        completed: int,
        evaluation: Evaluation,
        nodes: Sequence[Counted],
        *,
        seconds: float,
        consensus: float,
        clients: Clients | None = None,
        figures: Mapping[str, float] | None = None,
    ) -> None:
        """Append a row to the history; raises RunError, and writes nothing, where the training has diverged.

        ``nodes``: all of them, by rank. A row of the workers' training losses goes into ``workers.jsonl``, where there
        are several and ``clients.jsonl`` does not have them; ``trace.json`` is written when it is due.
        ``clients``: what the evaluation tells of each client, which gets a row of its own in ``clients.jsonl``.
        ``figures``: what the conductor counted since the beginning.
        """
        unit = self.specification.strategy.unit
        if not isfinite(evaluation.loss):
            raise RunError(
                f"the test loss is {evaluation.loss} after {unit} {completed}: the training diverged; "
                "a smaller --lr or --optimizer.clip-norm may help"
            )
        workers = nodes[: self.specification.size]
        samples = sum(node.samples for node in nodes)
        row: Row = {
            "seconds": seconds,
            "epoch": samples / self.training_samples,
            "round": completed if unit == "round" else None,
            "completed": completed,
            "samples": samples,
            "train_loss": _mean(sum(node.loss_sum for node in workers), sum(node.loss_samples for node in workers)),
            "test_loss": evaluation.loss,
            "test_accuracy": evaluation.accuracy,
            "consensus": consensus,
            "bytes": sum(node.ledger.bytes_sent for node in nodes),
        }
        if clients:
            row |= clients.figures()
            self.folder.append_row(CLIENTS, clients.row(completed))
        elif len(workers) > 1:
            means = [_mean(node.loss_sum, node.loss_samples) for node in workers]
            rounded = [None if mean is None else round(mean, DIGITS) for mean in means]
            self.folder.append_row(WORKERS, {"completed": completed, "train_loss": rounded})
        if figures:
            row["figures"] = dict(figures)
        self.folder.append_row(HISTORY, row)
        self.rows += 1
        if self.specification.traces_after(completed):
            traces = {rank: node.trace for rank, node in enumerate(nodes)}
            write_trace(self.folder, traces, self.clock, self.specification.size)
        if self.observer:
            self.observer(row)

    def record_order(self, completed: int, order: Mapping[int, list[int]]) -> None:
        """Append, for each node, what chance decided since the last row: enough to repeat the run (`lab.replay`)."""
        nodes = {str(rank): outcomes for rank, outcomes in order.items()}
        self.folder.append_row(ORDER, {"completed": completed, "nodes": nodes})

    def finish(
        self,
        evaluation: Evaluation,
        nodes: Sequence[Counted],
        *,
        seconds: float,
        model: Mapping[str, Tensor],
        confused: Sequence[Mapping[str, Any]],
    ) -> None:
        """Write the results after the last row: evaluation, weights and ledger. ``nodes``: all of them, by rank.

        ``confused``: pairs of classes with pictures of mistakes, as they shall stand in ``evaluation.json``.
        """
        self.folder.write_json("evaluation.json", evaluation.to_json() | ({"confused": confused} if confused else {}))
        self.folder.write_bytes("model.safetensors", save(dict(model)))
        ledgers = {rank: node.ledger for rank, node in enumerate(nodes)}
        write_ledger(self.folder, ledgers, self.clock, self.specification.size, seconds)


def _mean(total: float, count: int) -> float | None:
    return total / count if count else None


def write_ledger(folder: RunFolder, ledgers: Mapping[int, Ledger], clock: str, workers: int, seconds: float) -> None:
    """Write ``ledger.json``, a node on a line, by rank; those from ``workers`` on are servers."""
    nodes = [
        json.dumps({"rank": rank, "role": "worker" if rank < workers else "server"} | ledger.to_json())
        for rank, ledger in ledgers.items()
    ]
    wall = max(ledger.wall for ledger in ledgers.values()) / 1e9
    head, lines = json.dumps({"clock": clock, "seconds": seconds, "wall_seconds": wall}), ",\n".join(nodes)
    folder.write_bytes("ledger.json", f'{head[:-1]}, "nodes": [\n{lines}\n]}}\n'.encode())


def write_trace(folder: RunFolder, traces: Mapping[int, Trace], clock: str, workers: int) -> None:
    """Write ``trace.json``, by rank; those from ``workers`` on are servers."""
    folder.write_bytes("trace.json", encode(traces, workers, clock=clock))
