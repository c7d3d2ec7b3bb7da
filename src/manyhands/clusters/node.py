"""The interface between a strategy and the cluster that carries it out.

A strategy awaits *effects* on its `Node`; each effect is a small value that the node's cluster receives, carries
out under its own clock, and answers. What can be built from other effects is built here, once for all clusters.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum, isfinite
from typing import Any, Literal

import torch
from torch import Tensor

from manyhands.clusters import collectives
from manyhands.clusters.collectives import Collective, Native
from manyhands.clusters.compressing import NATIVE, Compressing
from manyhands.clusters.drawing import Drawing
from manyhands.clusters.effects import (
    NOTHING,
    AllReduce,
    Claim,
    Gradient,
    Load,
    MeanGradient,
    Message,
    Quiet,
    Receive,
    Tensors,
    Train,
)
from manyhands.clusters.faults import Fault, Faulty
from manyhands.clusters.layout import Layout
from manyhands.clusters.talking import Talking
from manyhands.compression import Compression, Uncompressed
from manyhands.errors import RunError
from manyhands.runs.ledger import Ledger
from manyhands.runs.trace import Kind, Trace
from manyhands.training.contrast import Contrast
from manyhands.training.objective import Objective
from manyhands.training.optimizer import Optimizer
from manyhands.training.plan import Plan
from manyhands.training.reach import reach
from manyhands.training.sampler import Batch, Sampler

Role = Literal["worker", "server"]


@dataclass(eq=False)
class Node(Talking, Drawing, Compressing, Faulty):
    """One participant as its strategy sees it.

    Workers have the ranks 0 … W-1, servers those that follow.
    """

    rank: int
    role: Role
    workers: range
    servers: range
    layout: Layout
    plan: Plan
    seed: int
    optimizer: Optimizer
    decay_mask: Tensor | None
    samples_per_worker: Sequence[int]
    sampler: Sampler | None
    initial_weights: Tensor
    conductors: range = range(0)
    """the nodes whose loops drive the training"""
    compression: Compression = field(default_factory=Uncompressed)
    shard: slice = field(default_factory=lambda: slice(None))
    """which of the parameters a server answers for, where several share them; all elsewhere"""
    keeps_weights: bool = True
    """whether its weights are its own, for a checkpoint to keep; a worker that answers a server may have none"""
    faults: tuple[Fault, ...] = ()
    """what it does wrong on purpose"""
    collapses: bool = False
    """whether the cluster carries out a collective operation as a whole instead of message by message"""
    _weights: Tensor | None = None
    optimizer_state: dict[str, Tensor] = field(default_factory=dict)
    state: dict[str, Tensor] = field(default_factory=dict)
    """what a strategy keeps from one epoch or round to the next, beside the weights; saved in checkpoints"""
    completed: int = 0
    """epochs or rounds done"""
    restored: bool = False
    """whether it goes on from a checkpoint"""
    progress: float = 0.0
    """share of the whole training done, 0 to 1; travels with messages, so that workers know what servers know"""
    samples: int = 0
    """training samples that this node computed on"""
    job: int = NOTHING
    """by which its local steps can be halted from now on; NOTHING: they cannot"""
    figures: dict[str, float] = field(default_factory=dict)
    """what a conductor counts beside, by name, such as the replies that came too late; see `count`"""
    loss_sum: float = 0.0
    loss_samples: int = 0
    vector_bytes: int = 0
    """memory traffic of vector arithmetic since the last effect: the cluster puts it on the clock"""
    compression_bytes: int = 0
    """of these, what compression moved"""
    ledger: Ledger = field(default_factory=Ledger)
    trace: Trace = field(default_factory=Trace)
    evaluates_after: Callable[[int], bool] = field(default=lambda completed: True)
    """whether an evaluation follows after so many epochs or rounds"""
    arithmetic: Kind = "compute"
    """the account on which its own arithmetic is put"""
    lap: Callable[[], object] = field(default=lambda: None)
    """tells a cluster that has a real clock to book now what the node did since the last time, as its arithmetic"""

    # ---- what it holds

    @property
    def weights(self) -> Tensor:
        """float32 [P]: the trainable parameters, then the float buffers."""
        if self._weights is None:
            self._weights = self.initial_weights.clone()
        return self._weights

    @weights.setter
    def weights(self, value: Tensor) -> None:
        if self._weights is None:
            self._weights = torch.empty_like(self.initial_weights).copy_(value)
        elif value is not self._weights:
            self._weights.copy_(value)

    @property
    def holds_weights(self) -> bool:
        """Whether it has weights now: a client that was never asked, or has forgotten what it was sent, has none."""
        return self._weights is not None

    def forget(self, completed: int | None = None) -> None:
        """Let go of weights that are not its own: a client's, which is sent others when it is asked again.

        Unless an evaluation follows when so many epochs or rounds are completed: that looks at clients' weights.
        """
        if not self.keeps_weights and (completed is None or not self.evaluates_after(completed)):
            self._weights = None

    @property
    def parameters(self) -> Tensor:
        """float32 [T]: the trainable part of the weights, a view; of a server among several, its shard alone."""
        return self.weights[: self.layout.parameters][self.shard]

    def shards(self, vector: Tensor) -> list[Tensor]:
        """A vector over the parameters [T], cut into the parts that the servers answer for: views."""
        count = len(self.servers)
        return [vector[self.layout.shard(place, count)] for place in range(count)]

    @property
    def buffers(self) -> Tensor:
        """float32 [P - T]: batch statistics and the like, a view; empty for most small models."""
        return self.weights[self.layout.parameters :]

    @buffers.setter
    def buffers(self, value: Tensor) -> None:
        self.buffers.copy_(value)

    @property
    def server(self) -> int:
        """The rank of the first server."""
        return self.servers[0]

    @property
    def steps_per_epoch(self) -> int:
        """Steps that every worker takes in an epoch: ceil(all samples / (workers · batch size))."""
        return self.plan.steps_per_epoch

    @property
    def lr(self) -> float:
        """The learning rate of now."""
        return self.plan.lr_at(self.progress)

    def samples_of(self, worker: int) -> int:
        """How many training samples a worker holds."""
        return self.samples_per_worker[worker]

    # ---- loops that conduct a training; between two turns of them the cluster comes to rest

    async def epochs(self) -> AsyncIterator[int]:
        """The numbers of the epochs that are left to do."""
        if not self.restored:
            await Quiet()  # the untrained model
        while self.completed < self.plan.total:
            yield self.completed
            self.completed += 1
            self.progress = self.completed / self.plan.total
            await Quiet()

    rounds = epochs

    async def steps(self) -> AsyncIterator[int]:
        """The numbers of the global steps that are left to do."""
        async for epoch in self.epochs():
            for place in range(self.steps_per_epoch):
                self.advance(place / self.steps_per_epoch)
                yield epoch * self.steps_per_epoch + place

    def advance(self, share: float) -> None:
        """So much of the present epoch or round is done, 0 to 1: the learning rate follows."""
        self.progress = (self.completed + share) / self.plan.total

    async def batches(self) -> AsyncIterator[Batch]:
        """A batch of the worker's own samples for each global step that is left to do."""
        async for step in self.steps():
            yield self.next_batch(step)

    async def incoming(self, source: int) -> AsyncIterator[Message]:
        """The messages of a conductor, until it has finished."""
        while True:
            message = await Receive(source)
            if message is None:
                return
            yield message
            del message  # thousands of clients wait here: none of them shall keep what it had last

    async def claim(self) -> int | None:
        """One of the steps that all workers share out in this epoch, the fast taking more; None when all are taken."""
        limit = self.steps_per_epoch * len(self.workers)
        number = await Claim(self.completed, limit)
        if number is not None:
            self.advance(number / limit)
        return number

    # ---- what outlives an epoch or round, beside the weights

    def kept(self, name: str, initial: Tensor | None = None) -> Tensor:
        """A tensor of the node's state; at first a copy of ``initial``, or of the weights that all nodes began with."""
        if name not in self.state:
            self.state[name] = (self.initial_weights if initial is None else initial).clone()
        return self.state[name]

    def number(self, value: float) -> Tensor:
        """A single number as a tensor, float64 [1], to be sent or kept."""
        return torch.tensor([value], dtype=torch.float64)

    # ---- computing

    async def gradient(self, batch: Batch) -> Tensor:
        return await Gradient(batch)

    async def mean_gradient(self, batch: Batch, collective: Collective = NATIVE) -> Tensor:
        """The mean over all workers of their gradients on their batches.

        The cluster's own collective overlaps it with computing; others, and compression, begin when that is done.
        """
        if isinstance(collective, Native) and isinstance(self.compression, Uncompressed):
            return await MeanGradient(batch)
        return await self.mean(await self.gradient(batch), collective)

    async def load(self, batch: Batch) -> Tensors:
        return await Load(batch)

    async def train(
        self,
        batches: Sequence[Batch],
        *,
        pull: float = 0.0,
        anchor: Tensor | None = None,
        offset: Tensor | None = None,
        contrast: tuple[float, float, Tensor, Tensor] | None = None,
    ) -> bool:
        """Local steps, one a batch, with a fresh optimiser, on F(w) + ⟨offset, w⟩ + pull/2 · ‖w − anchor‖².

        ``anchor`` and ``offset``: float32 [T]. ``contrast``: the fields of a `Contrast`, a further term. False if they
        were halted: then a node that keeps its weights has those of before, and one that keeps none nothing of use.
        """
        before = self.weights.clone() if self.keeps_weights and self.job != NOTHING else None
        done = await Train(
            batches, Objective(pull, anchor, offset), self.job, Contrast(*contrast) if contrast else None
        )
        if before is not None and not done:
            self.weights = before
        return done

    def reach(self, steps: int, pull: float = 0.0) -> float:
        """How far so many local steps go, in learning rates, if each gradient is 1: of plain SGD, their number."""
        return reach(self.optimizer, steps, self.lr * pull)

    def step(self, gradient: Tensor, scale: float = 1.0) -> None:
        """One step of the node's own optimiser, with ``scale`` times the learning rate of now; gradient float32 [T]."""
        parameters = self.parameters
        if not self.optimizer_state:
            self.optimizer_state = self.optimizer.init(parameters)
        mask = self.decay_mask[self.shard] if self.decay_mask is not None else None
        self.optimizer.step(parameters, gradient, self.optimizer_state, self.lr * scale, mask, self.layout.shapes)
        self.vector_bytes += 3 * gradient.nbytes + 2 * sum(state.nbytes for state in self.optimizer_state.values())

    def average(self, tensors: Sequence[Tensor], weights: Sequence[float] | None = None) -> Tensor:
        """Σ wᵢ·tensorᵢ / Σ wᵢ, summed in the order given; equal weights by default. Of one tensor it is that itself."""
        if len(tensors) == 1:
            return tensors[0]
        shares = [1.0] * len(tensors) if weights is None else list(map(float, weights))
        total = fsum(shares)
        mean = torch.mul(tensors[0], shares[0] / total)
        for tensor, share in zip(tensors[1:], shares[1:], strict=True):
            mean.add_(tensor, alpha=share / total)
        self.vector_bytes += 3 * len(tensors) * mean.nbytes
        return mean

    def count(self, **figures: float) -> None:
        """Add to the node's figures, by name."""
        for name, more in figures.items():
            self.figures[name] = self.figures.get(name, 0) + more

    def record(self, loss: float, samples: int, step: int) -> None:
        """Note the loss of one batch; raises RunError if it is no number."""
        if not isfinite(loss):
            raise RunError(
                f"the loss is {loss} at step {step} of worker {self.rank}: the training diverged; "
                f"a smaller --lr (now {self.lr:g}) or --optimizer.clip-norm may help"
            )
        self.samples += samples
        self.loss_sum += loss * samples
        self.loss_samples += samples

    # ---- talking

    async def all_reduce(self, tensor: Tensor, collective: Collective = NATIVE) -> Tensor:
        """The mean over all workers of a vector that each of them holds."""
        if self.collapses or isinstance(collective, Native):
            return await AllReduce(tensor, collective)
        return await collective.mean(self, tensor)

    async def all_gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all workers, which are of one shape, in the order of ranks."""
        return await collectives.all_gather(self, tensor)

    async def mix(self, mixing: Mapping[int, float], to: Iterable[int] | None = None) -> Tensor:
        """Exchange weights with neighbours; returns Σⱼ wⱼ·weightsⱼ, with ``mixing[rank]`` for the node itself.

        ``to``: those who are sent the weights; by default those whose weights are mixed.
        """
        others = [rank for rank in mixing if rank != self.rank]
        await self.broadcast(others if to is None else to, self.weights)
        received = {rank: (await self.receive(rank)).tensors[0] for rank in others}
        received[self.rank] = self.weights
        return self.average([received[rank] for rank in mixing], list(mixing.values()))

    # ---- its account

    def book(self, kind: Kind, start: int, end: int, name: str = "") -> None:
        """Put a span of time (ns on the cluster's clock) on an account and into the trace; none if it is empty."""
        if end > start:
            self.ledger.add(kind, end - start)
            self.trace.add(kind, start, end, name or kind)

    # ---- what a checkpoint keeps

    def numbers(self) -> dict[str, Any]:
        """The scalar part of the node's state, for JSON."""
        return {
            "completed": self.completed,
            "progress": self.progress,
            "samples": self.samples,
            "sampler": self.sampler.state() if self.sampler else None,
            "ledger": self.ledger.state(),
            "figures": self.figures,
        }

    def tensors(self) -> dict[str, Tensor]:
        """The vectors of the node's state."""
        kept = {f"state/{key}": value for key, value in self.state.items()}
        kept |= {f"optimizer/{key}": value for key, value in self.optimizer_state.items()}
        return kept | {"weights": self.weights} if self.keeps_weights else kept

    def restore(self, numbers: dict[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take up the state that a checkpoint kept."""
        self.restored = True
        self.completed, self.progress = numbers["completed"], numbers["progress"]
        self.samples = numbers["samples"]
        if self.sampler:
            self.sampler.restore(numbers["sampler"])
        self.ledger = Ledger(**numbers["ledger"])
        self.figures = dict(numbers.get("figures", {}))
        for key, value in tensors.items():
            kind, _, name = key.partition("/")
            if kind == "weights":
                self.weights = value
            else:
                kept = self.state if kind == "state" else self.optimizer_state
                kept[name] = value.to(self.weights.device, copy=True)
