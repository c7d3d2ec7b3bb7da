"""Drives the nodes of a simulated cluster: an event loop under a virtual clock.

A node's coroutine runs until it awaits an effect. Computations start at once on the executor, and their results are
taken up when the virtual clock reaches the end of their modelled duration: what a run computes and when it computes
it are thereby independent of how long anything really takes.

When no event is left, every node waits. Either conductors wait at the end of an epoch or round: then the cluster is at
rest, is measured and saved, and goes on. Or they have all finished. Anything else is a deadlock.
"""

import math
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

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
    Train,
)
from manyhands.clusters.quantities import bytes_per_second, nanoseconds
from manyhands.clusters.simulated.clock import Clock, EventQueue
from manyhands.clusters.simulated.devices import DeviceProfile, Devices
from manyhands.clusters.simulated.executor import Executor
from manyhands.clusters.simulated.messages import Messages
from manyhands.clusters.simulated.network import Flows, Network
from manyhands.clusters.simulated.rendezvous import Arrival, ComputingArrival, Rendezvous
from manyhands.clusters.simulated.rendezvous import mean as mean_of
from manyhands.errors import RunError
from manyhands.runs.recorder import Checkpoint, Recorder
from manyhands.training.cost import buckets, measure_cost
from manyhands.training.evaluation import Evaluation
from manyhands.training.learner import Learner

Process = Coroutine[Effect[Any], Any, None]

WAIT = object()
"""what an action returns if the node must wait for its answer; otherwise the answer is None, at once"""


class Simulation:
    """One run of a strategy on a simulated cluster."""

    def __init__(self, experiment: Experiment, recorder: Recorder) -> None:
        specification = experiment.specification
        assert isinstance(specification.cluster, Simulated)
        options = specification.cluster
        self.experiment, self.recorder = experiment, recorder
        self.strategy = specification.strategy
        self.clock, self.queue = Clock(), EventQueue()
        network = Network.star(specification.nodes, bytes_per_second(options.bandwidth), nanoseconds(options.latency))
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
        example = learner.task.prepare(learner.task.train.inputs[:1])
        self.cost = measure_cost(learner.module, example)
        make = experiment.make_nodes(learner)
        self.nodes = [make(rank) for rank in range(specification.nodes)]
        self.processes: list[Process] = []
        flows = Flows(network, self.clock, self.queue)
        self.messages = Messages(self.nodes, self.clock, flows, self._take_message)
        self.rendezvous = Rendezvous(
            experiment.workers, network, self.profile, buckets(self.cost.ready), self.queue, self._resume
        )
        self.resting: dict[int, int] = {}
        """conductors at the end of an epoch or round, and since when (ns)"""
        self.finished: set[int] = set()

    def run(self, checkpoint: Checkpoint | None = None) -> None:
        """Train to the end, from the beginning or from a checkpoint, and write the results."""
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
        listeners = self.messages.listeners
        return "; ".join(
            f"node {rank} waits for a message from {self.messages.awaited(rank)}"
            if rank in listeners
            else f"node {rank} waits for the others in a collective operation"
            for rank in sorted(ranks)
        )

    def _dismiss_followers(self) -> None:
        """The conductors have finished: tell those who still listen that nothing will come."""
        for rank in self.messages.listeners:
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

    # ---- messages and collective operations

    def _send(self, node: Node, effect: Send) -> None:
        self.messages.send(node, effect)

    def _receive(self, node: Node, effect: Receive) -> object:
        self.messages.receive(node, effect)
        return WAIT

    def _take_message(self, rank: int, message: Message) -> None:
        self._later(0, lambda: self._resume(rank, message))

    def _all_reduce(self, node: Node, effect: AllReduce) -> object:
        self.rendezvous.arrive(Arrival(node=node, ready=self.clock.now, tensor=effect.tensor))
        return WAIT

    def _mean_gradient(self, node: Node, effect: MeanGradient) -> object:
        batch, duration = effect.batch, self._duration(node, len(effect.batch))
        result = self.executor.submit(lambda learner: learner.gradient(node.weights, batch, node.rank))
        node.ledger.compute += duration
        ready = self.clock.now + duration
        self.rendezvous.arrive(ComputingArrival(node=node, ready=ready, duration=duration, batch=batch, result=result))
        return WAIT

    # ---- the end of an epoch or round

    def _quiet(self, node: Node, _: Quiet) -> object:
        if not self.experiment.specification.evaluates_after(node.completed):
            return None
        self.resting[node.rank] = self.clock.now
        return WAIT

    def _take_down(self) -> None:
        completed = self.nodes[self.experiment.conductors[0]].completed
        self.messages.book_waits()
        mean, consensus = self._result()
        evaluation = self._evaluate(mean)
        losses = sum(node.loss_sum for node in self.nodes), sum(node.loss_samples for node in self.nodes)
        self.recorder.record(
            completed,
            evaluation,
            seconds=self.clock.now / 1e9,
            samples=sum(node.samples for node in self.nodes),
            train_loss=losses[0] / losses[1] if losses[1] else None,
            consensus=consensus,
            bytes_sent=sum(node.ledger.bytes_sent for node in self.nodes),
        )
        for node in self.nodes:
            node.loss_sum, node.loss_samples = 0.0, 0
        if completed == self.experiment.plan.total:  # before the checkpoint, after which nothing is left to resume
            self._finish(mean, evaluation)
        self._checkpoint(completed).save(self.recorder.folder)

    def _result(self) -> tuple[Tensor, float]:
        """The mean of the conductors' weights, and the root mean square distance to it."""
        weights = [self.nodes[rank].weights for rank in self.experiment.conductors]
        mean = mean_of(weights)
        squares = [float((each - mean).square().sum()) for each in weights]
        return mean, math.sqrt(sum(squares) / len(squares))

    def _evaluate(self, weights: Tensor) -> Evaluation:
        """On the test set, in parts of a fixed size, so that the threads share the work and the sum is the same."""
        test = self.experiment.placed_task.test
        futures = [
            self.executor.submit(partial(Learner.evaluate, weights=weights, samples=part)) for part in test.parts(500)
        ]
        return Evaluation.merge([future.result() for future in futures])

    def _checkpoint(self, completed: int) -> Checkpoint:
        unread = self.messages.unread
        assert not unread, f"{self.strategy.name} leaves messages unread at the end of an epoch or round: {unread}"
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

    def _finish(self, weights: Tensor, evaluation: Evaluation) -> None:
        self.recorder.finish(
            evaluation,
            self.executor.learner.state_dict(weights),
            clock="simulated",
            seconds=self.clock.now / 1e9,
            ledgers={node.rank: node.ledger for node in self.nodes},
            workers=len(self.experiment.workers),
        )

    _ACTIONS: ClassVar[dict[type, Callable[..., object]]] = {
        Gradient: _gradient,
        MeanGradient: _mean_gradient,
        Train: _train,
        Send: _send,
        Receive: _receive,
        AllReduce: _all_reduce,
        Quiet: _quiet,
    }
