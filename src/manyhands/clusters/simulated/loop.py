"""Drives the nodes of a simulated cluster: an event loop under a virtual clock.

A node's coroutine runs until it awaits an effect. Computations start at once, and their results are taken up when the
virtual clock reaches the end of their modelled duration: what a run computes and when it computes it are thereby
independent of how long anything really takes.

When no event is left, every node waits. Either conductors wait at the end of an epoch or round: then the cluster is at
rest, is measured and saved, and goes on. Or they have all finished. Anything else is a deadlock.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from torch import Tensor

from manyhands.clusters.cluster import Simulated
from manyhands.clusters.effects import (
    NOTHING,
    AllReduce,
    Claim,
    Effect,
    Gradient,
    Halt,
    Load,
    MeanGradient,
    Message,
    Now,
    Poll,
    Quiet,
    Receive,
    Send,
    Sleep,
    Tensors,
    Train,
)
from manyhands.clusters.experiment import Experiment
from manyhands.clusters.node import Node
from manyhands.clusters.quantities import bytes_per_second, nanoseconds
from manyhands.clusters.simulated.clock import Clock, Event, EventQueue
from manyhands.clusters.simulated.costs import Costs
from manyhands.clusters.simulated.devices import Devices
from manyhands.clusters.simulated.messages import Messages
from manyhands.clusters.simulated.network import Flows
from manyhands.clusters.simulated.profile import DeviceProfile
from manyhands.clusters.simulated.rendezvous import Arrival, Computation, Pending, Rendezvous
from manyhands.clusters.simulated.replay import Order
from manyhands.clusters.simulated.trainings import CanTrain, Trainings
from manyhands.errors import RunError
from manyhands.training.cost import Cost, buckets
from manyhands.training.sampler import Batch, micro_sizes

Process = Coroutine[Effect[Any], Any, None]

WAIT = object()
"""what an action returns if the node must wait for its answer"""
_COMPUTATIONS = (Gradient, MeanGradient, Train)
"""effects that follow on vector arithmetic without an event in between"""
_NAMED = 8  # nodes of many in a message


class Computing(CanTrain, Protocol):
    """Carries out computations; each is given the node at whose weights it takes place, as they are now."""

    def gradient(self, node: Node, batch: Batch) -> Pending[tuple[Tensor, float | None]]:
        """The gradient, and the loss if there is one."""

    def load(self, node: Node, batch: Batch) -> Tensors: ...


class Loop:
    """One run of a strategy. ``rest(completed)`` is called whenever the cluster is at rest, off the clock."""

    def __init__(
        self,
        experiment: Experiment,
        make_node: Callable[[int], Node],
        cost: Cost,
        computing: Computing,
        rest: Callable[[int], None],
        order: Mapping[int, Sequence[int]] | None = None,
        profile: DeviceProfile | None = None,
    ) -> None:
        specification = experiment.specification
        assert isinstance(specification.cluster, Simulated)
        options = specification.cluster
        self.experiment, self.cost, self.computing, self.rest = experiment, cost, computing, rest
        self.strategy = specification.strategy
        self.order = Order(order) if order is not None else None
        self.clock, self.queue = Clock(), EventQueue()
        self.profile = profile or DeviceProfile.load(options.profile)
        seed, workers = specification.seed, specification.size
        bandwidth, latency = bytes_per_second(options.bandwidth), nanoseconds(options.latency)
        self.costs = costs = Costs(self.profile.backend, bandwidth, latency, options.link_factors(workers, seed))
        self.devices = Devices(
            self.profile,
            specification.nodes,
            seed=seed,
            slow=options.computing_factors(workers, seed),
            jitter=options.jitter,
            cpus=options.cpus,
        )
        self.nodes = [make_node(rank) for rank in range(specification.nodes)]
        for node in self.nodes:
            node.collapses = options.collectives == "rounds"
        self.processes: list[Process] = []
        flows = Flows(costs.network(specification.nodes), self.clock, self.queue)
        self.messages = Messages(
            self.nodes, self.clock, self.queue, flows, self._take_up, costs.backend.rendezvous, self._busy_until
        )
        self.buckets = buckets(cost.ready)
        self.rendezvous = Rendezvous(
            experiment.workers, costs, self.profile, self.devices, self.buckets, self.queue, self._resume
        )
        self.trainings = Trainings(self.queue, self.devices, computing, self._resume, self.order)
        self.time_outs: dict[int, Event] = {}
        """of the nodes that wait for a message up to a time"""
        self.nominal: dict[int, tuple[int, int]] = {}
        """by the size of a batch, how long a step takes on a device of the profile (ns)"""
        self.claimed: dict[int, int] = {}
        """by pool, how many numbers are taken"""
        self.resting: dict[int, int] = {}
        """conductors at the end of an epoch or round, and since when (ns)"""
        self.finished: set[int] = set()

    def run(self) -> None:
        """Until all conductors have finished."""
        try:
            self.processes = [getattr(self.strategy, node.role)(node) for node in self.nodes]
            for rank in range(len(self.nodes)):
                self._resume(rank, None)
            while not self.finished.issuperset(self.experiment.conductors):
                self.queue.run(self.clock)
                self._rest()
            self._dismiss_followers()
            if self.order:
                self.order.finish()
        finally:
            for process in self.processes:
                process.close()

    # ---- the loop

    def _rest(self) -> None:
        """No event is left: if all conductors are at the end of an epoch or round, let it be taken down and go on."""
        conductors = set(self.experiment.conductors) - self.finished
        if stuck := conductors - self.resting.keys():
            what = "the recorded order does not fit this run" if self.order else f"deadlock in {self.strategy.name}"
            raise RunError(f"{what}: {self._whereabouts(stuck)}")
        if not conductors:
            return
        resting, self.resting = self.resting, {}
        for rank, since in resting.items():
            self.nodes[rank].book("waiting", since, self.clock.now, "for the end of the epoch or round")
        self.messages.book_waits()
        self.rest(self.nodes[self.experiment.conductors[0]].completed)
        for rank in sorted(resting):
            self._resume(rank, None)

    def _whereabouts(self, ranks: set[int]) -> str:
        listeners = set(self.messages.listeners)
        places = [
            f"node {rank} waits for a message from {self.messages.awaited(rank)}"
            if rank in listeners
            else f"node {rank} waits for the others in a collective operation"
            for rank in sorted(ranks)[:_NAMED]
        ]
        more = len(ranks) - len(places)
        return "; ".join([*places, f"and {more} more"] if more else places)

    def _dismiss_followers(self) -> None:
        """The conductors have finished: tell those who still listen that nothing will come."""
        for rank in self.messages.listeners:
            self.messages.give_up(rank)
            self._resume(rank, None)

    def _resume(self, rank: int, answer: Any) -> None:
        """Let a node go on with the answer to its effect, until it has to wait."""
        node, send = self.nodes[rank], self.processes[rank].send
        while answer is not WAIT:
            try:
                effect = send(answer)
            except StopIteration:
                self.finished.add(rank)
                return
            if node.vector_bytes and type(effect) not in _COMPUTATIONS:
                self.queue.push(self.clock.now + self._vector_work(node), self._act, node, effect)
                return
            answer = self._ACTIONS[type(effect)](self, node, effect)

    def _act(self, node: Node, effect: Effect[Any]) -> None:
        answer = self._ACTIONS[type(effect)](self, node, effect)
        if answer is not WAIT:
            self._resume(node.rank, answer)

    # ---- computing

    def _vector_work(self, node: Node) -> int:
        """The time (ns) of the vector arithmetic since the last effect, booked."""
        if not node.vector_bytes:
            return 0
        work = self.devices.duration_ns(node.rank, self.profile.vector_ns(node.vector_bytes), self.clock.now)
        packing = work * node.compression_bytes // node.vector_bytes
        node.vector_bytes = node.compression_bytes = 0
        node.book("compute", self.clock.now, self.clock.now + work - packing, "vector arithmetic")
        node.book("compression", self.clock.now + work - packing, self.clock.now + work)
        return work

    def _nominal(self, samples: int) -> tuple[int, int]:
        """What a forward and backward pass takes by the profile (ns): all micro-batches one after another; the last."""
        if samples not in self.nominal:
            sizes = micro_sizes(samples, self.experiment.specification.batch_size)
            parts = [self.profile.step_ns(self.cost.forward_flops, size) for size in sizes]
            self.nominal[samples] = sum(parts), parts[-1]
        return self.nominal[samples]

    def _gradient(self, node: Node, effect: Gradient) -> object:
        end, _, pending = self._begin(node, effect.batch, self._nominal(len(effect.batch))[0])
        self.queue.push(end, self._take_gradient, node, effect.batch, pending)
        return WAIT

    def _begin(self, node: Node, batch: Batch, nominal: int) -> tuple[int, int, Pending[tuple[Tensor, float | None]]]:
        """Start computing a gradient: when it will be done, how long it takes (ns), and the gradient and the loss."""
        start = self.clock.now + self._vector_work(node)
        duration = self.devices.duration_ns(node.rank, nominal, start)
        node.book("compute", start, start + duration, "gradient")
        return start + duration, duration, self.computing.gradient(node, batch)

    def _take_gradient(self, node: Node, batch: Batch, pending: Pending[tuple[Tensor, float | None]]) -> None:
        gradient, loss = pending.result()
        if loss is not None:
            node.record(loss, len(batch), batch.number)
        self._resume(node.rank, gradient)

    def _train(self, node: Node, effect: Train) -> object:
        start = self.clock.now + self._vector_work(node)
        step = self.profile.vector_ns((12 + effect.objective.traffic) * node.layout.parameters)
        others = 2 * (1 - self.profile.backward_share) if effect.contrast else 0.0  # two models more look at each batch
        sizes = [len(batch) for batch in effect.batches]
        nominals = {size: round((1 + others) * self._nominal(size)[0]) + step for size in set(sizes)}
        self.trainings.begin(node, effect, start, [nominals[size] for size in sizes])
        return WAIT

    def _halt(self, node: Node, effect: Halt) -> object:
        if not self.order:
            self.trainings.halt(effect.ranks, effect.job, self.clock.now + self.costs.word_ns)
        return None

    def _load(self, node: Node, effect: Load) -> object:
        return self.computing.load(node, effect.batch)

    # ---- messages, collective operations and what is shared out

    def _send(self, node: Node, effect: Send) -> object:
        cost = self.costs.send_ns
        if not cost:
            self.messages.send(node, effect)
            return None
        self.queue.push(self._occupy(node, cost, f"to {effect.to}"), self._post, node, effect)
        return WAIT

    def _post(self, node: Node, effect: Send) -> None:
        self.messages.send(node, effect)
        self._resume(node.rank, None)

    def _take_up(self, rank: int, message: Message) -> None:
        """A message that the node waited for has come."""
        if time_out := self.time_outs.pop(rank, None):
            self.queue.cancel(time_out)
        if (answer := self._received(self.nodes[rank], message)) is not WAIT:
            self._resume(rank, answer)

    def _received(self, node: Node, message: Message | None) -> object:
        """What a receiving node is answered: the message, once its processor has dealt with it."""
        cost = self.costs.receive_ns
        if not (message and cost):
            return message
        self.queue.push(self._occupy(node, cost, f"from {message.source}"), self._resume, node.rank, message)
        return WAIT

    def _busy_until(self, rank: int, since: int, until: int) -> int:
        share = self.costs.backend.transfer_share
        return self.devices.occupy([rank], until - since, since, 2 * share if self.messages.is_sending(rank) else share)

    def _occupy(self, node: Node, nominal: int, name: str) -> int:
        """Keep the node's processor busy with communication; until when (ns)."""
        now = self.clock.now
        end = now + self.devices.duration_ns(node.rank, nominal, now)
        node.book("exposed", now, end, name)
        return end

    def _receive(self, node: Node, effect: Receive) -> object:
        source = effect.source
        if source is None and self.order:
            if not self.order.has_more(node.rank) and node.rank not in self.experiment.conductors:
                source = NOTHING  # what ends the wait is that the conductors have finished
            elif (source := self.order.next(node.rank)) == NOTHING and effect.until is not None:
                return None
        answer = self._received(node, self.messages.receive(node, source)) or WAIT
        if effect.until is not None and not self.order and self.messages.is_waiting(node.rank):
            until = max(self.clock.now, round(effect.until * 1e9))
            self.time_outs[node.rank] = self.queue.push(until, self._time_out, node.rank)
        return answer

    def _time_out(self, rank: int) -> None:
        """A node has waited long enough, unless a message is being fetched."""
        del self.time_outs[rank]
        if self.messages.is_waiting(rank):
            self.messages.book_waits([rank])
            self.messages.give_up(rank)
            self._resume(rank, None)

    def _poll(self, node: Node, _: Poll) -> object:
        source = None
        if self.order is None:
            if not self.messages.has_any(node):
                return None
        elif (source := self.order.next(node.rank)) == NOTHING:
            return None
        return self._received(node, self.messages.receive(node, source)) or WAIT

    def _claim(self, node: Node, effect: Claim) -> object:
        if self.order:
            number = self.order.next(node.rank)
            return None if number == NOTHING else number
        number = self.claimed.get(effect.pool, 0)
        if number >= effect.limit:
            return None
        self.claimed[effect.pool] = number + 1
        return number

    def _all_reduce(self, node: Node, effect: AllReduce) -> object:
        self.rendezvous.arrive(Arrival(node, self.clock.now, effect))
        return WAIT

    def _mean_gradient(self, node: Node, effect: MeanGradient) -> object:
        whole, last = self._nominal(len(effect.batch))
        more = 0
        if len(self.experiment.workers) > 1:
            # While gradients travel, that is from the first bucket on, the backward pass is slower by κ.
            slowed = last * self.profile.backward_share * (1 - self.buckets[0][1])
            more = round(slowed * (self.profile.overlap_slowdown - 1) + self.profile.backend.wrapper_seconds * 1e9)
        end, duration, pending = self._begin(node, effect.batch, whole + more)
        last = duration * (last + more) // max(1, whole + more)
        self.rendezvous.arrive(Arrival(node, end, Computation(effect.batch, last, pending)))
        return WAIT

    # ---- time

    def _now(self, node: Node, _: Now) -> object:
        return (self.order.next(node.rank) if self.order else self.clock.now) / 1e9

    def _sleep(self, node: Node, effect: Sleep) -> object:
        end = self.clock.now + round(effect.seconds * 1e9)
        node.book("waiting", self.clock.now, end, "asleep")
        self.queue.push(end, self._resume, node.rank, None)
        return WAIT

    # ---- the end of an epoch or round

    def _quiet(self, node: Node, _: Quiet) -> object:
        if not self.experiment.specification.evaluates_after(node.completed):
            return None
        self.resting[node.rank] = self.clock.now
        return WAIT

    _ACTIONS: ClassVar[dict[type, Callable[..., object]]] = {
        Gradient: _gradient,
        MeanGradient: _mean_gradient,
        Train: _train,
        Load: _load,
        Send: _send,
        Receive: _receive,
        Poll: _poll,
        Claim: _claim,
        AllReduce: _all_reduce,
        Quiet: _quiet,
        Halt: _halt,
        Now: _now,
        Sleep: _sleep,
    }
