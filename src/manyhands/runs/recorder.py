"""Writes down a run while it goes on: a row and a checkpoint at each evaluation, the results at the end."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, Protocol, runtime_checkable

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from manyhands.errors import RunError, UserError
from manyhands.runs.clients import DIGITS, Clients
from manyhands.runs.folder import CLIENTS, HISTORY, ORDER, WORKERS, RunFolder
from manyhands.runs.ledger import Ledger
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


@dataclass(eq=False)
class Recorder:
    """The writing side of one run; ``rows`` counts the history so far."""

    folder: RunFolder
    training_samples: int
    unit: str
    """epoch or round: what the strategy counts"""
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
        *,
        seconds: float,
        samples: int,
        losses: Sequence[tuple[float, int]],
        consensus: float,
        bytes_sent: int,
        clients: Clients | None = None,
        figures: Mapping[str, float] | None = None,
    ) -> None:
        """Append a row to the history; raises RunError, and writes nothing, where the training has diverged.

        ``losses``: of each worker, the training loss added up over so many samples since the row before. A row of their
        means goes into ``workers.jsonl``, where there are several workers and ``clients.jsonl`` does not have them.
        ``clients``: what the evaluation tells of each client, which gets a row of its own in ``clients.jsonl``.
        ``figures``: what the conductor counted since the beginning.
        """
        if not isfinite(evaluation.loss):
            raise RunError(
                f"the test loss is {evaluation.loss} after {self.unit} {completed}: the training diverged; "
                "a smaller --lr or --optimizer.clip-norm may help"
            )
        row: Row = {
            "seconds": seconds,
            "epoch": samples / self.training_samples,
            "round": completed if self.unit == "round" else None,
            "completed": completed,
            "samples": samples,
            "train_loss": _mean(sum(loss for loss, _ in losses), sum(count for _, count in losses)),
            "test_loss": evaluation.loss,
            "test_accuracy": evaluation.accuracy,
            "consensus": consensus,
            "bytes": bytes_sent,
        }
        if clients:
            row |= clients.figures()
            self.folder.append_row(CLIENTS, clients.row(completed))
        elif len(losses) > 1:
            means = [_mean(loss, count) for loss, count in losses]
            rounded = [None if mean is None else round(mean, DIGITS) for mean in means]
            self.folder.append_row(WORKERS, {"completed": completed, "train_loss": rounded})
        if figures:
            row["figures"] = dict(figures)
        self.folder.append_row(HISTORY, row)
        self.rows += 1
        if self.observer:
            self.observer(row)

    def record_order(self, completed: int, order: Mapping[int, list[int]]) -> None:
        """Append, for each node, what chance decided since the last row: enough to repeat the run (`lab.replay`)."""
        nodes = {str(rank): outcomes for rank, outcomes in order.items()}
        self.folder.append_row(ORDER, {"completed": completed, "nodes": nodes})

    def trace(self, traces: Mapping[int, Trace], *, clock: str, workers: int) -> None:
        """Write ``trace.json`` as far as it goes: early, so that who watches the run sees what its nodes do."""
        self.folder.write_bytes("trace.json", encode(traces, workers, clock=clock))

    def finish(
        self,
        evaluation: Evaluation,
        model: Mapping[str, Tensor],
        confused: Sequence[Mapping[str, Any]],
        *,
        clock: str,
        seconds: float,
        ledgers: Mapping[int, Ledger],
        traces: Mapping[int, Trace],
        workers: int,
    ) -> None:
        """Write the results: evaluation, weights, ledger and trace. ``clock``: real or simulated.

        ``confused``: pairs of classes with pictures of mistakes, as they shall stand in ``evaluation.json``.
        """
        self.folder.write_json("evaluation.json", evaluation.to_json() | ({"confused": confused} if confused else {}))
        self.folder.write_bytes("model.safetensors", save(dict(model)))
        write_accounts(self.folder, clock=clock, seconds=seconds, ledgers=ledgers, traces=traces, workers=workers)


def _mean(total: float, count: int) -> float | None:
    return total / count if count else None


def write_accounts(
    folder: RunFolder,
    *,
    clock: str,
    seconds: float,
    ledgers: Mapping[int, Ledger],
    traces: Mapping[int, Trace],
    workers: int,
) -> None:
    """Write ``ledger.json``, a node on a line, and ``trace.json``, by rank; those from ``workers`` on are servers."""
    nodes = [
        json.dumps({"rank": rank, "role": "worker" if rank < workers else "server"} | ledger.to_json())
        for rank, ledger in ledgers.items()
    ]
    wall = max(ledger.wall for ledger in ledgers.values()) / 1e9
    head, lines = json.dumps({"clock": clock, "seconds": seconds, "wall_seconds": wall}), ",\n".join(nodes)
    folder.write_bytes("ledger.json", f'{head[:-1]}, "nodes": [\n{lines}\n]}}\n'.encode())
    folder.write_bytes("trace.json", encode(traces, workers, clock=clock))
