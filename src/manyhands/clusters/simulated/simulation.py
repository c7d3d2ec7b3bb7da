"""Drives the nodes of a simulated cluster: an event loop under a virtual clock.

A node's coroutine runs until it awaits an effect. Computations start at once on the executor, and their results are
taken up when the virtual clock reaches the end of their modelled duration: what a run computes and when it computes
it are thereby independent of how long anything really takes.

When no event is left, every node waits. Either conductors wait at the end of an epoch or round: then the cluster is at
rest, is measured and saved, and goes on. Or they have all finished. Anything else is a deadlock.
"""

import math
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from manyhands.clusters import collectives
from manyhands.clusters.cluster import Simulated
from manyhands.clusters.experiment import Experiment
from manyhands.clusters.node import (
    AllReduce,
    Effect,
    Gradient,
    MeanGradient,
    Message,
    Node,
    Quiet,
    Receive,
    Send,
    Tensors,
    Train,
)
from manyhands.clusters.quantities import bytes_per_second, nanoseconds
from manyhands.clusters.simulated.clock import Clock, EventQueue
from manyhands.clusters.simulated.devices import DeviceProfile, Devices
from manyhands.clusters.simulated.executor import Executor
from manyhands.clusters.simulated.network import Flows, Network
from manyhands.errors import RunError
from manyhands.runs.recorder import Checkpoint, Recorder
from manyhands.training.cost import buckets, measure_cost
from manyhands.training.evaluation import Evaluation
from manyhands.training.learner import Learner

Process = Coroutine[Effect[Any], Any, None]

WAIT = object()
"""what an action returns if the node must wait for its answer; otherwise the answer is None, at once"""


@dataclass(eq=False)
class _Arrival:
    """A worker that has come to a collective operation."""

    node: Node
    effect: AllReduce | MeanGradient
    since: int
    ready: int
    """when its own computation, if any, is done (ns)"""
    duration: int = 0
    result: Any = None


class _Posted(NamedTuple):
    """A message that has been handed to the network."""

    tensors: Tensors
    at: int
    """ns"""
    progress: float
    """the sender's at that time"""


class Simulation:
    """One run of a strategy on a simulated cluster."""

    def __init__(self, experiment: Experiment, recorder: Recorder) -> None:
        specification = experiment.specification
        assert isinstance(specification.cluster, Simulated)
        options = specification.cluster
        self.experiment, self.recorder = experiment, recorder
        self.strategy = specification.strategy
        self.clock, self.queue = Clock(), EventQueue()
        self.network = Network.star(
            specification.nodes, bytes_per_second(options.bandwidth), nanoseconds(options.latency)
        )
        self.flows = Flows(self.network, self.clock, self.queue)
        self.profile = DeviceProfile.load(options.profile)
        self.devices = Devices(
            self.profile,
            specification.nodes,
            seed=specification.seed,
            slow=options.slow_factors(),
            jitter=options.jitter,
        )
        self.executor = Executor(experiment.make_learner, options.threads)
        learner = self.executor.learner
        example = experiment.task.prepare(experiment.task.train.inputs[:1])
        self.cost = measure_cost(learner.module, example)
        self.buckets = buckets(self.cost.ready)
        make = experiment.make_nodes(learner)
        self.nodes = [make(rank) for rank in range(specification.nodes)]
        self.processes: list[Process] = []
        self.inboxes: list[deque[tuple[int, _Posted]]] = [deque() for _ in self.nodes]
        self.channels: defaultdict[tuple[int, int], deque[_Posted]] = defaultdict(deque)
        self.receiving: dict[int, tuple[Receive, int]] = {}
        self.resting: dict[int, int] = {}
        self.arrivals: list[_Arrival] = []
        self.ring_times: dict[int, int] = {}
        """of an all-reduce among the workers, by bytes (ns)"""
        self.finished: set[int] = set()

    def run(self, checkpoint: Checkpoint | None = None) -> Evaluation:
        """Train to the end, from the beginning or from a checkpoint; the evaluation of the final weights."""
        try:
            if checkpoint:
                self._restore(checkpoint)
            self.processes = [getattr(self.strategy, node.role)(node) for node in self.nodes]
            for rank in range(len(self.nodes)):
                self._resume(rank, None)
            while not self.finished.issuperset(self.experiment.conductors):
                self.queue.run(self.clock)
                self._rest()
            self._dismiss_followers()
            return self._finish()
        finally:
            for process in self.processes:
                process.close()
            self.executor.close()

    # ---- the loop

    def _rest(self) -> None:
        """No event is left: if all conductors are at the end of an epoch or round, take it down and go on."""
        conductors = set(self.experiment.conductors) - self.finished
        if stuck := conductors - self.resting.keys():
            raise RunError(f"deadlock in {self.strategy.name}: {self._whereabouts(stuck)}")
        if not conductors:
            return
        resting, self.resting = self.resting, {}
        for rank, since in resting.items():
            self.nodes[rank].ledger.waiting += self.clock.now - since
        self._take_down()
        for rank in sorted(resting):
            self._resume(rank, None)

    def _whereabouts(self, ranks: set[int]) -> str:
        places = []
        for rank in sorted(ranks):
            if rank in self.receiving:
                source = self.receiving[rank][0].source
                places.append(f"node {rank} waits for a message from {'anybody' if source is None else source}")
            else:
                places.append(f"node {rank} waits for the others in a collective operation")
        return "; ".join(places)

    def _dismiss_followers(self) -> None:
        """The conductors have finished: tell those who still listen that nothing will come."""
        for rank in sorted(self.receiving):
            if rank not in self.finished:
                self._resume(rank, None)

    def _resume(self, rank: int, answer: Any) -> None:
        """Let a node go on with the answer to its effect, until it has to wait."""
        node, process = self.nodes[rank], self.processes[rank]
        while True:
            try:
                effect = process.send(answer)
            except StopIteration:
                self.finished.add(rank)
                return
            act = partial(self._ACTIONS[type(effect)], self, node, effect)
            if node.vector_bytes:
                work = self.devices.duration_ns(rank, self.profile.vector_ns(node.vector_bytes))
                node.vector_bytes = 0
                node.ledger.compute += work
                self._later(work, partial(self._act, rank, act))
                return
            if act() is WAIT:
                return
            answer = None

    def _act(self, rank: int, act: Callable[[], object]) -> None:
        if act() is not WAIT:
            self._resume(rank, None)

    def _later(self, delay: int, action: Callable[[], None]) -> None:
        self.queue.push(self.clock.now + delay, action)

    # ---- computing

    def _duration(self, node: Node, samples: int) -> int:
        return self.devices.duration_ns(node.rank, self.profile.step_ns(self.cost.forward_flops, samples))

    def _gradient(self, node: Node, effect: Gradient) -> object:
        batch, duration = effect.batch, self._duration(node, len(effect.batch))
        future = self.executor.submit(lambda learner: learner.gradient(node.weights, batch, node.rank))

        def done() -> None:
            gradient, loss = future.result()
            node.record(loss, len(batch), batch.number)
            self._resume(node.rank, gradient)

        node.ledger.compute += duration
        self._later(duration, done)
        return WAIT

    def _train(self, node: Node, effect: Train) -> object:
        batches, lr = effect.batches, node.lr
        step = self.profile.vector_ns(12 * node.layout.parameters)
        duration = sum(self._duration(node, len(batch)) + step for batch in batches)
        future = self.executor.submit(
            lambda learner: learner.train(node.weights, batches, node.rank, node.optimizer, lr, node.decay_mask)
        )

        def done() -> None:
            for batch, loss in zip(batches, future.result(), strict=False):
                node.record(loss, len(batch), batch.number)
            self._resume(node.rank, None)

        node.ledger.compute += duration
        self._later(duration, done)
        return WAIT

    # ---- messages

    def _send(self, node: Node, effect: Send) -> None:
        tensors = tuple(tensor.clone() for tensor in effect.tensors)
        size = sum(tensor.nbytes for tensor in tensors)
        node.ledger.bytes_sent += size
        node.ledger.messages_sent += 1
        channel = self.channels[node.rank, effect.to]
        channel.append(_Posted(tensors, self.clock.now, node.progress))
        if len(channel) == 1:
            self._transmit(node.rank, effect.to)

    def _transmit(self, source: int, to: int) -> None:
        """Put the channel's first message on the wire; the next follows when it has arrived, as in a TCP stream."""
        size = sum(tensor.nbytes for tensor in self.channels[source, to][0].tensors)
        self.flows.start(source, to, size, partial(self._deliver, source, to))

    def _deliver(self, source: int, to: int) -> None:
        channel = self.channels[source, to]
        posted = channel.popleft()
        if channel:
            self._transmit(source, to)
        receiver = self.nodes[to]
        receiver.ledger.bytes_received += sum(tensor.nbytes for tensor in posted.tensors)
        self.inboxes[to].append((source, posted))
        if to in self.receiving:
            self._try_receive(to)

    def _receive(self, node: Node, effect: Receive) -> object:
        self.receiving[node.rank] = (effect, self.clock.now)
        self._try_receive(node.rank)
        return WAIT

    def _try_receive(self, rank: int) -> None:
        effect, since = self.receiving[rank]
        inbox = self.inboxes[rank]
        for place, (source, posted) in enumerate(inbox):
            if effect.source in (None, source):
                break
        else:
            return
        del inbox[place]
        del self.receiving[rank]
        node = self.nodes[rank]
        node.ledger.waiting += max(0, posted.at - since)
        node.ledger.exposed += self.clock.now - max(since, posted.at)
        node.progress = max(node.progress, posted.progress)
        self._later(0, lambda: self._resume(rank, Message(source, posted.tensors)))

    # ---- collective operations

    def _all_reduce(self, node: Node, effect: AllReduce) -> object:
        self._arrive(_Arrival(node, effect, since=self.clock.now, ready=self.clock.now))
        return WAIT

    def _mean_gradient(self, node: Node, effect: MeanGradient) -> object:
        now, batch = self.clock.now, effect.batch
        duration = self._duration(node, len(batch))
        future = self.executor.submit(lambda learner: learner.gradient(node.weights, batch, node.rank))
        node.ledger.compute += duration
        self._arrive(_Arrival(node, effect, now, ready=now + duration, duration=duration, result=future))
        return WAIT

    def _arrive(self, arrival: _Arrival) -> None:
        """The last worker to arrive sets the collective going."""
        self.arrivals.append(arrival)
        if len(self.arrivals) < len(self.experiment.workers):
            return
        arrivals = sorted(self.arrivals, key=lambda arrival: arrival.node.rank)
        self.arrivals = []
        last = max(arrival.ready for arrival in arrivals)
        if isinstance(arrivals[0].effect, AllReduce):
            size = arrivals[0].effect.tensor.nbytes
            transfers = [(size, last)]
        else:
            size = 4 * arrivals[0].node.layout.parameters
            transfers = [(part, max(self._ready(arrival, share) for arrival in arrivals)) for part, share in self.buckets]
        end, busy = self._ring(transfers, last)
        sent = round(collectives.ring_all_reduce_bytes(len(arrivals), size))
        for arrival in arrivals:
            ledger = arrival.node.ledger
            exposed = end - last
            ledger.waiting += last - arrival.ready
            ledger.exposed += exposed
            ledger.hidden += busy - exposed
            ledger.bytes_sent += sent
            ledger.bytes_received += sent
            ledger.messages_sent += 2 * (len(arrivals) - 1) * len(transfers)
        self.queue.push(end, partial(self._conclude, arrivals))

    def _ready(self, arrival: _Arrival, share: float) -> int:
        """When so much of a worker's backward pass is done (ns)."""
        backward = self.profile.backward_to_forward / (1 + self.profile.backward_to_forward)
        return arrival.ready - math.floor(arrival.duration * backward * (1 - share))

    def _ring(self, transfers: list[tuple[int, int]], last: int) -> tuple[int, int]:
        """Buckets go one after another, each as soon as all workers have it.

        s_b = max(r_b, e_{b-1}), e_b = s_b + T(M_b). Returns when the last has arrived, and how long the wire was busy.
        """
        hosts, end, busy = list(self.experiment.workers), 0, 0
        for size, ready in transfers:
            if size not in self.ring_times:
                self.ring_times[size] = collectives.ring_all_reduce_ns(self.network, hosts, size)
            duration = self.ring_times[size]
            end = max(ready, end) + duration
            busy += duration
        return max(end, last), busy

    def _conclude(self, arrivals: list[_Arrival]) -> None:
        tensors = []
        for arrival in arrivals:
            if isinstance(arrival.effect, MeanGradient):
                gradient, loss = arrival.result.result()
                batch = arrival.effect.batch
                arrival.node.record(loss, len(batch), batch.number)
                tensors.append(gradient)
            else:
                tensors.append(arrival.effect.tensor)
        mean = _mean(tensors)
        for arrival in arrivals:
            self._resume(arrival.node.rank, mean)

    # ---- the end of an epoch or round

    def _quiet(self, node: Node, _: Quiet) -> object:
        if not self.recorder.due(node.completed):
            return None
        self.resting[node.rank] = self.clock.now
        return WAIT

    def _take_down(self) -> None:
        completed = self.nodes[self.experiment.conductors[0]].completed
        mean, consensus = self._result()
        losses = sum(node.loss_sum for node in self.nodes), sum(node.loss_samples for node in self.nodes)
        self.recorder.record(
            completed,
            self._evaluate(mean),
            seconds=self.clock.now / 1e9,
            samples=sum(node.samples for node in self.nodes),
            train_loss=losses[0] / losses[1] if losses[1] else None,
            consensus=consensus,
            bytes_sent=sum(node.ledger.bytes_sent for node in self.nodes),
        )
        for node in self.nodes:
            node.loss_sum, node.loss_samples = 0.0, 0
        if completed:
            self._checkpoint(completed).save(self.recorder.folder)

    def _result(self) -> tuple[Tensor, float]:
        """The mean of the conductors' weights, and the root mean square distance to it."""
        weights = [self.nodes[rank].weights for rank in self.experiment.conductors]
        mean = _mean(weights)
        squares = [float((each - mean).square().sum()) for each in weights]
        return mean, math.sqrt(sum(squares) / len(squares))

    def _evaluate(self, weights: Tensor) -> Evaluation:
        """On the test set, in parts of a fixed size, so that the threads share the work and the sum is the same."""
        test = self.experiment.task.test
        futures = [
            self.executor.submit(partial(Learner.evaluate, weights=weights, samples=part)) for part in test.parts(500)
        ]
        return Evaluation.merge([future.result() for future in futures])

    def _checkpoint(self, completed: int) -> Checkpoint:
        for rank, (effect, since) in self.receiving.items():  # booked now, as it would be on resuming
            self.nodes[rank].ledger.waiting += self.clock.now - since
            self.receiving[rank] = (effect, self.clock.now)
        unread = [rank for rank, inbox in enumerate(self.inboxes) if inbox]
        assert not unread, f"{self.strategy.name} leaves messages unread at the end of an epoch or round: nodes {unread}"
        conducts = self.experiment.conductors
        return Checkpoint(
            completed=completed,
            rows=self.recorder.rows,
            cluster={"now": self.clock.now, "draws": list(self.devices.draws)},
            nodes={node.rank: node.numbers() for node in self.nodes},
            tensors={
                f"{node.rank}/{key}": value
                for node in self.nodes
                for key, value in node.tensors(node.rank in conducts).items()
            },
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        self.clock.advance(checkpoint.cluster["now"])
        self.devices.restore(checkpoint.cluster["draws"])
        for node in self.nodes:
            node.restore(checkpoint.nodes[node.rank], checkpoint.tensors_of(node.rank))

    def _finish(self) -> Evaluation:
        weights, _ = self._result()
        evaluation = self._evaluate(weights)
        self.recorder.finish(
            evaluation,
            self.executor.learner.state_dict(weights),
            clock="simulated",
            seconds=self.clock.now / 1e9,
            ledgers={node.rank: node.ledger for node in self.nodes},
            workers=len(self.experiment.workers),
        )
        return evaluation

    _ACTIONS: dict[type, Callable[..., object]] = {
        Gradient: _gradient,
        MeanGradient: _mean_gradient,
        Train: _train,
        Send: _send,
        Receive: _receive,
        AllReduce: _all_reduce,
        Quiet: _quiet,
    }


def _mean(tensors: list[Tensor]) -> Tensor:
    """The mean, summed in the order given."""
    total = torch.clone(tensors[0])
    for tensor in tensors[1:]:
        total += tensor
    return total.div_(len(tensors))
