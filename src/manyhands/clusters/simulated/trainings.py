"""Local steps of simulated nodes: when they are done, and after how many they end if the node is told to leave off."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from manyhands.clusters.effects import NOTHING, Train
from manyhands.clusters.node import Node
from manyhands.clusters.simulated.clock import Event, EventQueue
from manyhands.clusters.simulated.devices import Devices, Mark
from manyhands.clusters.simulated.rendezvous import Pending
from manyhands.clusters.simulated.replay import Order
from manyhands.training.contrast import Contrast
from manyhands.training.objective import Objective
from manyhands.training.sampler import Batch


class CanTrain(Protocol):
    """Carries out local steps at the weights of a node as they are now."""

    def train(
        self, node: Node, batches: Sequence[Batch], objective: Objective, contrast: Contrast | None
    ) -> Pending[list[float]]:
        """Changes the node's weights; the losses, if there are any."""


@dataclass(eq=False, slots=True)
class _Training:
    """Local steps under way."""

    node: Node
    effect: Train
    start: int
    """ns"""
    ends: list[int]
    """of the batches that are done in it (ns)"""
    marks: list[Mark]
    """of the node's device, before the first batch and after each; only where they can be halted"""
    pending: Pending[list[float]] | None = None
    event: Event | None = None

    @property
    def end(self) -> int:
        return self.ends[-1] if self.ends else self.start

    def done_by(self, word: int) -> int:
        """How many batches are done if the word to leave off comes at a time (ns): none if that is before the first."""
        return 0 if word <= self.start else min(len(self.ends), bisect_left(self.ends, word) + 1)


class Trainings:
    """All local steps under way. ``answer(rank, done)`` concludes those of a node: false if they were halted.

    Where the word to leave off comes when everything is computed already, in real time, the rest is not counted, and
    the weights are of no use to anybody. ``order``: of a run that is repeated, which says how many batches were done.
    """

    def __init__(
        self,
        queue: EventQueue,
        devices: Devices,
        computing: CanTrain,
        answer: Callable[[int, bool], None],
        order: Order | None = None,
    ) -> None:
        self._queue, self._devices, self._computing, self._answer = queue, devices, computing, answer
        self._order = order
        self._under_way: dict[int, _Training] = {}  # by rank: those that can be halted
        self._halted: dict[int, tuple[int, int]] = {}  # by rank: the last job to be left, and when the word comes (ns)

    def begin(self, node: Node, effect: Train, start: int, nominals: Sequence[int]) -> None:
        """Local steps that begin at a time (ns). ``nominals``: how long each takes by the profile (ns)."""
        rank, devices, haltable = node.rank, self._devices, effect.job != NOTHING
        training = _Training(node, effect, start, ends=[], marks=[devices.mark(rank)] if haltable else [])
        end = start
        for nominal in nominals:
            end += devices.duration_ns(rank, nominal, end)
            training.ends.append(end)
            if haltable:
                training.marks.append(devices.mark(rank))
        if haltable:
            self._under_way[rank] = training
            self._shorten(training, self._known(training))
        if training.ends:
            batches = effect.batches[: len(training.ends)]
            training.pending = self._computing.train(node, batches, effect.objective, effect.contrast)
        training.event = self._queue.push(training.end, self._conclude, training)

    def halt(self, ranks: Sequence[int], job: int, word: int) -> None:
        """Tell nodes to leave a job: they hear it at a time (ns)."""
        for rank in ranks:
            self._halted[rank] = job, word
            training = self._under_way.get(rank)
            if training is None or training.effect.job != job:
                continue
            if self._shorten(training, training.done_by(word)):
                assert training.event is not None
                self._queue.cancel(training.event)
                training.event = self._queue.push(training.end, self._conclude, training)

    def _known(self, training: _Training) -> int:
        """How many batches will be done, as far as is known when they begin."""
        rank = training.node.rank
        if self._order:
            return self._order.next(rank)
        job, word = self._halted.get(rank, (NOTHING, 0))
        return training.done_by(word) if job == training.effect.job else len(training.ends)

    def _shorten(self, training: _Training, done: int) -> bool:
        """Leave off after so many batches: whether that are fewer. The device has not done the others."""
        if done >= len(training.ends):
            return False
        self._devices.rewind(training.node.rank, training.marks[done])
        del training.ends[done:]
        return True

    def _conclude(self, training: _Training) -> None:
        node, batches, done = training.node, training.effect.batches, len(training.ends)
        self._under_way.pop(node.rank, None)
        node.book("compute", training.start, training.end, "local steps")
        losses = training.pending.result() if training.pending else []
        for batch, loss in zip(batches[:done], losses, strict=False):
            node.record(loss, len(batch), batch.number)
        if not losses:  # where nothing is learnt
            node.samples += sum([len(batch) for batch in batches[:done]])
        self._answer(node.rank, done == len(batches))
