from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.aggregation import Aggregation, UniformMean
from manyhands.errors import UserError
from manyhands.strategies.base import Strategy, register
from manyhands.strategies.consistency import Consistency, Sync

if TYPE_CHECKING:
    from torch import Tensor

    from manyhands.clusters.effects import Message
    from manyhands.clusters.layout import Layout
    from manyhands.clusters.node import Node

LATEST = -1
"""asks for the weights as they are, instead of for a version"""


@register("parameter-server")
@dataclass(frozen=True, kw_only=True)
class ParameterServer(Strategy):
    """Servers hold the weights; workers pull them, compute a gradient and push it back.

    ``sync``: an update is the mean of all workers' gradients, which is all-reduce by another route. ``async``: each
    gradient is an update as it arrives, computed at weights that others may have changed since. ``ssp:S``: as sync,
    but a worker may go on with weights that miss up to S updates. Several servers share the vector, each a part.
    Every message bears the version of the weights that it brings or was computed at. Batch statistics (float
    buffers) are the first server's, and travel beside the gradients.
    """

    consistency: Consistency = Sync()
    """how far workers may drift apart"""
    aggregation: Aggregation = UniformMean()
    """how the gradients of an update become one"""
    servers: int = 1
    """how many share the parameters among them"""
    staleness_aware: bool = False
    """divide the learning rate of an update by its staleness (Zhang et al. 2016, https://arxiv.org/abs/1511.05950)"""

    paper = "Li et al. 2014, Scaling Distributed Machine Learning with the Parameter Server"
    url = "https://www.usenix.org/conference/osdi14/technical-sessions/presentation/li_mu"
    sends = "G + B a step; server: n · P/s a step"
    admits = frozenset({"data", "reply"})

    def __post_init__(self) -> None:
        if self.servers < 1:
            raise UserError(f"--strategy.servers must be at least 1, not {self.servers}")
        if self.sharded and self.compression.whole:
            raise UserError(
                f"{self.compression} compresses whole layers, which several servers cut: use --strategy.servers 1"
            )
        if not self.consistency.waits and not isinstance(self.aggregation, UniformMean):
            raise UserError(
                f"aggregation {self.aggregation} needs the gradients of all workers: with --strategy.consistency async "
                "each is an update by itself; use sync or ssp:BOUND"
            )
        if self.sharded and self.aggregation.whole:
            raise UserError(
                f"aggregation {self.aggregation} judges whole gradients, which several servers cut: "
                "use --strategy.servers 1"
            )

    def check(self, workers: int) -> None:
        self.aggregation.check(workers)

    def fit(self, parameters: int) -> None:
        super().fit(parameters)
        if self.servers > parameters:
            raise UserError(
                f"--strategy.servers {self.servers} is more than the {parameters:,} parameters that they would share"
            )

    def quantities(self, layout: "Layout", workers: int, steps: int) -> dict[str, float]:
        return {"s": self.servers}

    @property
    def sharded(self) -> bool:
        return self.servers > 1

    @property
    def synchronous(self) -> bool:
        return self.consistency.slack == 0

    # ---- workers

    async def worker(self, node: "Node") -> None:
        async for first in node.incoming(node.server):
            versions = await self.pull_all(node, first)
            (gradient,) = node.corrupt((await node.gradient(node.next_batch()),))
            await self.push(node, gradient, versions)

    async def pull_all(self, node: "Node", first: "Message") -> list[int]:
        """All servers' parts of the weights; their versions. The first server's come by themselves: a sign to go."""
        node.buffers = first.tensors[1]
        messages = [first]
        for server in node.servers[1:]:
            pulling = self.pull(node, server, first.tag) if self.consistency.waits else self.pull_latest(node, server)
            messages.append(await pulling)
        for part, message in zip(node.shards(node.parameters), messages, strict=True):
            part.copy_(message.tensors[0])
        return [message.tag for message in messages]

    async def pull(self, node: "Node", server: int, version: int) -> "Message":
        """A server's part of the weights as soon as it is at this version, or past it."""
        await node.send(server, tag=version)
        return await node.receive(server)

    async def pull_latest(self, node: "Node", server: int) -> "Message":
        """A server's part of the weights as it is."""
        return await self.pull(node, server, LATEST)

    async def push(self, node: "Node", gradient: "Tensor", versions: list[int]) -> None:
        """To each server its part of a gradient that was computed at these versions."""
        for server, part, version in zip(node.servers, node.shards(gradient), versions, strict=True):
            statistics = [node.buffers] if server == node.server else []
            await node.send(server, node.compress(part, f"server-{server}"), *statistics, tag=version)

    # ---- servers

    async def server(self, node: "Node") -> None:
        async for epoch in node.epochs():
            await self.serve(node, epoch)

    async def serve(self, node: "Node", epoch: int) -> None:
        """Answer pulls and take pushes until an epoch's gradients are all in the weights.

        Here versions and clocks count from the start of the epoch.
        """
        gradients = node.steps_per_epoch * len(node.workers)
        updates = node.steps_per_epoch if self.consistency.waits else gradients
        turns = node.steps_per_epoch if self.consistency.waits else gradients  # the most that one worker takes
        leads = node.rank == node.server
        clocks = dict.fromkeys(node.workers, 0)
        wanted: dict[int, float] = dict.fromkeys(node.workers, 0) if leads else {}  # versions that workers wait for
        pushed: defaultdict[int, dict[int, Message]] = defaultdict(dict)
        version = started = 0
        while version < updates:
            for worker in [worker for worker in wanted if wanted[worker] <= version]:
                if not leads or started < gradients:
                    started += 1
                    await self.answer(node, worker, epoch * updates + version)
                del wanted[worker]
            message = await node.receive_any()
            worker = message.source
            if not message.tensors:
                wanted[worker] = message.tag - epoch * updates
                continue
            clock = clocks[worker] if self.consistency.waits else version
            pushed[clock][worker] = message
            clocks[worker] += 1
            if leads and clocks[worker] < turns:
                wanted[worker] = clocks[worker] - self.consistency.slack
            if len(pushed[clock]) == (len(node.workers) if self.consistency.waits else 1):
                node.advance(version / updates)
                self.aggregate(node, pushed.pop(clock), epoch * updates + version)
                version += 1

    async def answer(self, node: "Node", worker: int, version: int) -> None:
        statistics = [node.buffers] if node.rank == node.server else []
        await node.send(worker, node.parameters, *statistics, tag=version)

    def aggregate(self, node: "Node", pushed: "dict[int, Message]", version: int) -> None:
        """Step by what is made of what the workers pushed, in the order of ranks: the next version of the weights."""
        messages = [pushed[worker] for worker in sorted(pushed)]
        staleness = [version - message.tag for message in messages]
        if not self.synchronous:  # where it is not always zero
            for versions in staleness:
                node.ledger.note_staleness(versions)
        size = node.parameters.numel()
        gradients = [node.decompress(message.tensors[0], size) for message in messages]
        samples = [float(node.samples_of(message.source)) for message in messages]
        gradient = self.aggregation.combine(gradients, samples, node)
        node.step(gradient, 1 / max(1, sum(staleness) / len(staleness)) if self.staleness_aware else 1.0)
        if node.rank == node.server:
            node.buffers = node.average([message.tensors[1] for message in messages])
