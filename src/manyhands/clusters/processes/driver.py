"""Drives one node in a process of its own: computes here, talks over torch.distributed, in real time."""

import json
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load, save
from torch import Tensor
from torch._C._distributed_c10d import GradBucket, Store
from torch.nn.parallel import DistributedDataParallel

from manyhands.clusters.effects import (
    NOTHING,
    AllReduce,
    Claim,
    Gradient,
    Load,
    MeanGradient,
    Message,
    Poll,
    Quiet,
    Receive,
    Send,
    Tensors,
    Train,
)
from manyhands.clusters.experiment import Experiment
from manyhands.clusters.node import NATIVE
from manyhands.clusters.processes.stopwatch import Stopwatch
from manyhands.clusters.processes.wire import LOST, Kind, PeerLost, Wire
from manyhands.runs.ledger import Ledger
from manyhands.runs.recorder import Checkpoint, Recorder
from manyhands.training.evaluation import Evaluation
from manyhands.training.sampler import Batch


class Driver:
    """One node of a cluster of processes. ``recorder`` is given to the lead, the first conductor, alone."""

    def __init__(self, experiment: Experiment, rank: int, store: Store, recorder: Recorder | None) -> None:
        self.experiment, self.store, self.recorder = experiment, store, recorder
        self.learner = experiment.make_learner()
        self.node = experiment.make_nodes(self.learner)(rank)
        self.strategy = experiment.specification.strategy
        self.alone = experiment.specification.nodes == 1
        self.lead = experiment.conductors[0]
        self.wire = Wire(rank, experiment.device)
        self.watch = Stopwatch()
        # Every process takes part in making every group, whether or not it belongs to it.
        self.worker_group = None if self.alone else dist.new_group(list(experiment.workers))
        self.conductor_group = None if self.alone else dist.new_group(list(experiment.conductors))
        self.parallel: DistributedDataParallel | None = None
        self.gradient_buffer = torch.zeros(self.learner.parameters, device=experiment.device)
        self.last_bucket_ready = 0
        self.received = 0
        """messages of the strategy"""
        self.order: list[int] = []
        """what chance decided since the last report: whose message came first, who took which step"""

    def run(self, checkpoint: Checkpoint | None, resume: bool) -> None:
        """Train to the end. The lead writes the results."""
        elapsed = self._restore(checkpoint) if resume else 0
        if not self.alone:
            dist.barrier()
        self.watch.set(elapsed)
        process = getattr(self.strategy, self.node.role)(self.node)
        answer = None
        mark = self.watch.now()
        while True:
            try:
                effect = process.send(answer)
            except StopIteration:
                break
            self.node.ledger.compute += self.watch.now() - mark  # the strategy's own arithmetic
            self.node.vector_bytes = 0
            answer = self._ACTIONS[type(effect)](self, effect)
            mark = self.watch.now()
        if self.node.rank == self.lead:
            for rank in self._followers():
                self.wire.send(rank, Kind.CLOSE)
        self.wire.flush()

    def _followers(self) -> list[int]:
        return [rank for rank in self.experiment.workers if rank not in self.experiment.conductors]

    # ---- computing

    def _gradient(self, effect: Gradient) -> Tensor:
        with self._timed("compute"):
            gradient, loss = self.learner.gradient(self.node.weights, effect.batch, self.node.rank)
        self.node.record(loss, len(effect.batch), effect.batch.number)
        return gradient

    def _load(self, effect: Load) -> Tensors:
        with self._timed("compute"):
            return self.learner.inputs(effect.batch, self.node.rank)

    def _train(self, effect: Train) -> None:
        node = self.node
        with self._timed("compute"):
            losses = self.learner.train(
                node.weights, effect.batches, node.rank, node.optimizer, node.lr, node.decay_mask
            )
        for batch, loss in zip(effect.batches, losses, strict=False):
            node.record(loss, len(batch), batch.number)

    def _mean_gradient(self, effect: MeanGradient) -> Tensor:
        """Backward in DistributedDataParallel, which reduces each bucket while the next is computed."""
        if len(self.experiment.workers) == 1:
            return self._gradient(Gradient(effect.batch))
        node, batch = self.node, effect.batch
        start = self.watch.now()
        self.learner.bind(node.weights)
        self.learner.collect(self.gradient_buffer)
        if self.parallel is None:
            with self.watch.paused():
                self.parallel = self._wrap(batch)
        self.gradient_buffer.zero_()
        with _naming_peers():
            loss = self.learner.backward(batch, node.rank, self.parallel)
        end = self.watch.now()
        # Everything after the moment when the last bucket's gradients were there is communication laid bare.
        node.ledger.compute += self.last_bucket_ready - start
        node.ledger.exposed += end - self.last_bucket_ready
        node.record(loss, len(batch), batch.number)
        return self.gradient_buffer

    def _wrap(self, batch: Batch) -> DistributedDataParallel:
        buffers = self.node.buffers.clone()
        with warnings.catch_warnings():
            # What torch 2.13 offers instead is not in 2.11, and overwrites the batch statistics of a resumed run.
            warnings.simplefilter("ignore", FutureWarning)
            parallel = DistributedDataParallel(
                self.learner.module,
                process_group=self.worker_group,
                broadcast_buffers=False,
                find_unused_parameters=self.learner.leaves_unused(batch, self.node.rank),
            )
        parallel.register_comm_hook(None, self._reduce_bucket)
        # After its first backward pass it lays out its buckets anew, which changes the order of its sums. That pass
        # is taken here for nothing, so that a resumed run sums as an uninterrupted one does.
        with _naming_peers():
            self.learner.backward(self.learner.micro_batches(batch)[0], self.node.rank, parallel)
        self.node.buffers = buffers
        return parallel

    def _reduce_bucket(self, _: object, bucket: GradBucket) -> torch.futures.Future[Tensor]:
        self.last_bucket_ready = self.watch.now()
        if not self.watch.stopped:  # as it is in the pass that is taken for nothing
            self._count(bucket.buffer())
        buffer = bucket.buffer().div_(len(self.experiment.workers))
        work = dist.all_reduce(buffer, group=self.worker_group, async_op=True)
        assert work is not None
        future: torch.futures.Future[list[Tensor]] = work.get_future()
        return future.then(lambda done: done.value()[0])

    # ---- talking

    def _send(self, effect: Send) -> None:
        node = self.node
        with self._timed("exposed"):
            node.ledger.bytes_sent += self.wire.send(
                effect.to, Kind.DATA, *effect.tensors, progress=node.progress, tag=effect.tag
            )
            if self.strategy.polls:
                self.store.add(f"announced/{effect.to}", 1)
        node.ledger.messages_sent += 1

    def _receive(self, effect: Receive) -> Message | None:
        """The wait for a message's header is waiting for its sender; the rest is the transfer."""
        while True:
            with self._timed("waiting"):
                header = self.wire.receive_header(effect.source)
            if header.kind == Kind.REPORT_PLEASE:
                self._report_and_wait()
            elif header.kind == Kind.CLOSE:
                return None
            else:
                assert header.kind == Kind.DATA, header.kind
                break
        with self._timed("exposed"):
            tensors = self.wire.receive_tensors(header)
        self.received += 1
        self.node.ledger.bytes_received += sum(tensor.nbytes for tensor in tensors)
        self.node.progress = max(self.node.progress, header.progress)
        if effect.source is None:
            self.order.append(header.source)
        return Message(header.source, tensors, header.tag)

    def _poll(self, _: Poll) -> Message | None:
        """Gloo cannot tell whether a message is there without waiting for it, so each is announced in the store."""
        with self._timed("exposed"):
            announced = self.store.add(f"announced/{self.node.rank}", 0)
        if announced > self.received:
            return self._receive(Receive(None))
        self.order.append(NOTHING)
        return None

    def _claim(self, effect: Claim) -> int | None:
        with self._timed("exposed"):
            number = self.store.add(f"claimed/{effect.pool}", 1) - 1
        self.order.append(number if number < effect.limit else NOTHING)
        return number if number < effect.limit else None

    def _all_reduce(self, effect: AllReduce) -> Tensor:
        mean = effect.tensor.clone(memory_format=torch.contiguous_format)
        if len(self.experiment.workers) > 1:
            with self._timed("exposed"), _naming_peers():
                dist.all_reduce(mean, group=self.worker_group)
                mean.div_(len(self.experiment.workers))
            self._count(mean)
        return mean

    def _count(self, tensor: Tensor) -> None:
        """Put an all-reduce of the backend's on the ledger."""
        workers, rank, ledger = len(self.experiment.workers), self.node.rank, self.node.ledger
        sent = NATIVE.bytes_sent(rank, workers, tensor.numel(), tensor.element_size())
        ledger.bytes_sent += sent
        ledger.bytes_received += sent
        ledger.messages_sent += NATIVE.messages_sent(rank, workers, tensor.numel())

    @contextmanager
    def _timed(self, kind: str) -> Iterator[None]:
        start = self.watch.now()
        yield
        ledger = self.node.ledger
        setattr(ledger, kind, getattr(ledger, kind) + self.watch.now() - start)

    # ---- the end of an epoch or round

    def _quiet(self, _: Quiet) -> None:
        """Conductors meet; all report to the lead, which writes the run down; then all go on."""
        if not self.experiment.specification.evaluates_after(self.node.completed):
            return
        with self._timed("waiting"), _naming_peers():
            self.wire.flush()
            if len(self.experiment.conductors) > 1:
                dist.barrier(group=self.conductor_group)
        with self.watch.paused():
            mean, distance = self._result()
            part = self._evaluate_part(mean)
            if self.node.rank == self.lead:
                self._take_down(mean, distance, part)
            else:
                self._report(distance, part)
                self.wire.expect(self.lead, Kind.GO_ON)

    def _report_and_wait(self) -> None:
        """A follower answers the lead between two messages."""
        with self.watch.paused():
            self._report(0.0, None)
            self.wire.expect(self.lead, Kind.GO_ON)

    def _result(self) -> tuple[Tensor, float]:
        """The weights of the run, and this conductor's squared distance to them."""
        weights = self.experiment.contribution(self.node)
        if len(self.experiment.conductors) > 1:
            with _naming_peers():
                dist.all_reduce(weights, group=self.conductor_group)
        return weights, self.experiment.squared_distance(self.node, weights)

    def _evaluate_part(self, weights: Tensor) -> Evaluation | None:
        """This conductor's share of the test set."""
        place, conductors = self.node.rank - self.lead, len(self.experiment.conductors)
        parts = self.experiment.placed_task.test.parts(500)[place::conductors]
        return Evaluation.merge([self.learner.evaluate(weights, part) for part in parts]) if parts else None

    def _own_report(self, distance: float, part: Evaluation | None) -> dict[str, Any]:
        report = {
            "distance": distance,
            "evaluation": part.state() if part else None,
            "loss": [self.node.loss_sum, self.node.loss_samples],
            "numbers": self.node.numbers(),
            "order": self.order,
        }
        self.node.loss_sum, self.node.loss_samples = 0.0, 0
        self.order = []
        return report

    def _report(self, distance: float, part: Evaluation | None) -> None:
        tensors = {key: value.cpu().contiguous() for key, value in self.node.tensors().items()}
        self.wire.send(self.lead, Kind.REPORT, _bytes(self._own_report(distance, part)), _pack(tensors))

    def _take_down(self, mean: Tensor, distance: float, part: Evaluation | None) -> None:
        """The lead collects all reports, writes a row and a checkpoint, and lets everybody go on."""
        assert self.recorder is not None
        specification, completed = self.experiment.specification, self.node.completed
        others = [rank for rank in range(specification.nodes) if rank != self.lead]
        for rank in self._followers():
            self.wire.send(rank, Kind.REPORT_PLEASE)
        by_rank = {self.lead: self._own_report(distance, part)}
        tensors = {f"{self.lead}/{key}": value for key, value in self.node.tensors().items()}
        for rank in others:
            report, state = self.wire.expect(rank, Kind.REPORT)
            by_rank[rank] = json.loads(_unbytes(report))
            tensors |= {f"{rank}/{key}": value for key, value in load(_unbytes(state)).items()}
        reports = [by_rank[rank] for rank in range(specification.nodes)]
        numbers = {rank: report["numbers"] for rank, report in enumerate(reports)}
        losses = [sum(report["loss"][i] for report in reports) for i in (0, 1)]
        evaluation = Evaluation.merge(
            [Evaluation.from_state(report["evaluation"]) for report in reports if report["evaluation"]]
        )
        self.recorder.record(
            completed,
            evaluation,
            seconds=self.watch.now() / 1e9,
            samples=sum(report["numbers"]["samples"] for report in reports),
            train_loss=losses[0] / losses[1] if losses[1] else None,
            consensus=math.sqrt(sum(r["distance"] for r in reports) / len(self.experiment.conductors)),
            bytes_sent=sum(report["numbers"]["ledger"]["bytes_sent"] for report in reports),
        )
        if not self.strategy.synchronous:
            self.recorder.record_order(completed, {rank: report["order"] for rank, report in enumerate(reports)})
        if completed == self.node.plan.total:  # before the checkpoint, after which nothing is left to resume
            self._finish(mean, evaluation, {rank: Ledger(**own["ledger"]) for rank, own in numbers.items()})
        Checkpoint(
            completed=completed,
            rows=self.recorder.rows,
            cluster={"now": self.watch.now()},
            nodes=numbers,
            tensors=tensors,
        ).save(self.recorder.folder)
        for rank in others:
            self.wire.send(rank, Kind.GO_ON)

    def _restore(self, checkpoint: Checkpoint | None) -> int:
        """The lead hands each node its part of the checkpoint; returns the time on the clock at which it was made."""
        if self.node.rank == self.lead:
            assert checkpoint is not None
            now: int = checkpoint.cluster["now"]
            for rank, numbers in checkpoint.nodes.items():
                if rank == self.lead:
                    self.node.restore(numbers, checkpoint.tensors_of(rank))
                else:
                    self.wire.send(rank, Kind.RESTORE, _bytes([now, numbers]), _pack(checkpoint.tensors_of(rank)))
            return now
        message, tensors = self.wire.expect(self.lead, Kind.RESTORE)
        now, numbers = json.loads(_unbytes(message))
        self.node.restore(numbers, load(_unbytes(tensors)))
        return now

    def _finish(self, weights: Tensor, evaluation: Evaluation, ledgers: dict[int, Ledger]) -> None:
        assert self.recorder is not None
        self.recorder.finish(
            evaluation,
            self.learner.state_dict(weights),
            clock="real",
            seconds=self.watch.now() / 1e9,
            ledgers=ledgers,
            workers=len(self.experiment.workers),
        )

    _ACTIONS: ClassVar[dict[type, Callable[..., Any]]] = {
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
    }


@contextmanager
def _naming_peers() -> Iterator[None]:
    """A collective operation fails when a peer is gone; which one, the launcher finds out."""
    try:
        yield
    except RuntimeError as error:
        raise PeerLost(f"{LOST}: {str(error).splitlines()[0]}") from None


def _bytes(data: Any) -> Tensor:
    return torch.from_numpy(np.frombuffer(json.dumps(data).encode(), dtype=np.uint8).copy())


def _pack(tensors: dict[str, Tensor]) -> Tensor:
    return torch.from_numpy(np.frombuffer(save(tensors), dtype=np.uint8).copy())


def _unbytes(tensor: Tensor) -> bytes:
    return tensor.numpy().tobytes()
