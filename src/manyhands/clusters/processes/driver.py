"""Drives one node in a process of its own: computes here, talks over torch.distributed, in real time."""

import json
import math
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from safetensors.torch import load
from torch import Tensor
from torch._C._distributed_c10d import Store

from manyhands.clusters.appraisal import Appraisal, AtClient
from manyhands.clusters.cluster import Processes
from manyhands.clusters.effects import (
    NOTHING,
    AllReduce,
    Claim,
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
from manyhands.clusters.processes.account import Account, Transfer
from manyhands.clusters.processes.counters import Meter
from manyhands.clusters.processes.notices import Notices
from manyhands.clusters.processes.parallel import Parallel, count
from manyhands.clusters.processes.stopwatch import Stopwatch
from manyhands.clusters.processes.wire import Header, Kind, Wire, json_bytes, naming_peers, tensor_bytes, unbytes
from manyhands.errors import RunError
from manyhands.runs.ledger import Ledger
from manyhands.runs.recorder import Checkpoint, NodeReport, Recorder
from manyhands.runs.trace import Trace
from manyhands.training.evaluation import Evaluation


class Driver:
    """One node of a cluster of processes. ``recorder`` is given to the lead, the first conductor, alone."""

    def __init__(self, experiment: Experiment, rank: int, store: Store, recorder: Recorder | None) -> None:
        self.experiment, self.store, self.recorder = experiment, store, recorder
        self.learner = experiment.make_learner()
        self.node = experiment.make_nodes(self.learner)(rank)
        self.appraisal = Appraisal(experiment, self.node.layout)
        self.strategy = experiment.specification.strategy
        self.alone = experiment.specification.nodes == 1
        self.lead = experiment.conductors[0]
        options = experiment.specification.cluster
        assert isinstance(options, Processes)
        self.timeout = timeout = timedelta(seconds=options.timeout)
        self.notices = Notices(store, rank)
        self.wire = Wire(rank, experiment.device, timeout)
        self.meter = Meter(options, experiment.specification.nodes)
        self.watch = Stopwatch(self.meter)
        self.account = Account(self.node, self.watch)
        # Every process takes part in making every group, whether or not it belongs to it.
        groups = (experiment.workers, experiment.conductors)
        self.worker_group, self.conductor_group = (
            None if self.alone else dist.new_group(list(ranks), timeout=timeout) for ranks in groups
        )
        self.parallel = Parallel(self.learner, self.node, self.account, self.worker_group)
        self.received = 0
        """messages of the strategy"""
        self.order: list[int] = []
        """what chance decided since the last report: whose message came first, who took which step"""

    def run(self, checkpoint: Checkpoint | None, resume: bool) -> None:
        """Train to the end. The lead writes the results."""
        elapsed, ledger = self._restore(checkpoint) if resume else 0, self.node.ledger
        if resume:
            self.meter.go_on_from(ledger.measured, ledger.measured_why)
        if not self.alone:
            dist.barrier()
        self.watch.start(elapsed, wall=ledger.wall)
        self.account.start()
        if self.recorder:
            self.recorder.follow(lambda: self.node.progress)
        process = getattr(self.strategy, self.node.role)(self.node)
        answer = None
        while True:
            try:
                effect = process.send(answer)
            except StopIteration:
                break
            self.account.arithmetic()  # of the strategy itself
            self.node.vector_bytes = self.node.compression_bytes = 0
            answer = self._ACTIONS[type(effect)](self, effect)
        if self.node.rank == self.lead:
            for rank in self._followers():
                self.wire.send(rank, Kind.CLOSE)
        self.wire.flush()

    def _followers(self) -> list[int]:
        return [rank for rank in self.experiment.workers if rank not in self.experiment.conductors]

    # ---- computing

    def _gradient(self, effect: Gradient) -> Tensor:
        with self.account.timed("compute", "gradient"):
            gradient, loss = self.learner.gradient(self.node.weights, effect.batch, self.node.rank)
        self.node.record(loss, len(effect.batch), effect.batch.number)
        return gradient

    def _load(self, effect: Load) -> Tensors:
        with self.account.timed("compute", "loading"):
            return self.learner.inputs(effect.batch, self.node.rank)

    def _train(self, effect: Train) -> bool:
        node = self.node
        with self.account.timed("compute", "local steps"):
            losses = self.learner.train(
                node.weights,
                self.notices.until_halted(effect.batches, effect.job),
                node.rank,
                node.optimizer,
                node.lr,
                node.decay_mask,
                effect.objective,
                effect.contrast,
            )
        for batch, loss in zip(effect.batches, losses, strict=False):
            node.record(loss, len(batch), batch.number)
        if effect.job != NOTHING:
            self.order.append(len(losses))
        return len(losses) == len(effect.batches)

    def _halt(self, effect: Halt) -> None:
        with self.account.timed("exposed", "halting"):
            self.notices.halt(effect.ranks, effect.job)

    def _mean_gradient(self, effect: MeanGradient) -> Tensor:
        """Backward in DistributedDataParallel, which reduces each bucket while the next is computed."""
        if len(self.experiment.workers) == 1:
            return self._gradient(Gradient(effect.batch))
        return self.parallel.mean_gradient(effect.batch)

    # ---- talking

    def _send(self, effect: Send) -> None:
        node = self.node
        with self.account.timed("exposed", f"to {effect.to}"):
            size = self.wire.send(effect.to, Kind.DATA, *effect.tensors, progress=node.progress, tag=effect.tag)
            if self.strategy.polls:
                self.notices.announce(effect.to)
        node.ledger.note_sent(size, effect.to)

    def _receive(self, effect: Receive) -> Message | None:
        """The wait for a message's header is waiting for its sender; the rest is the transfer."""
        if effect.until is not None and not self.notices.wait(self.received, partial(self._left, effect.until)):
            self.account.lap("waiting", "for anybody")
            self.order.append(NOTHING)
            return None
        while True:
            header = self.wire.receive_header(effect.source)
            self.account.lap("waiting", f"for {'anybody' if effect.source is None else effect.source}")
            if header.kind == Kind.REPORT_PLEASE:
                self._report_and_wait(header)
            elif header.kind == Kind.CLOSE:
                return None
            else:
                assert header.kind == Kind.DATA, header.kind
                break
        with self.account.timed("exposed", f"from {header.source}"):
            tensors = self.wire.receive_tensors(header)
        self.received += 1
        self.node.ledger.note_received(sum(tensor.nbytes for tensor in tensors))
        self.node.progress = max(self.node.progress, header.progress)
        if effect.source is None:
            self.order.append(header.source)
        return Message(header.source, tensors, header.tag)

    def _left(self, until: float) -> float:
        """Seconds until a time on the clock."""
        return until - self.watch.now() / 1e9

    def _poll(self, _: Poll) -> Message | None:
        with self.account.timed("exposed", "polling"):
            announced = self.notices.announced()
        if announced > self.received:
            return self._receive(Receive(None))
        self.order.append(NOTHING)
        return None

    def _claim(self, effect: Claim) -> int | None:
        with self.account.timed("exposed", "claiming"):
            number = self.store.add(f"claimed/{effect.pool}", 1) - 1
        self.order.append(number if number < effect.limit else NOTHING)
        return number if number < effect.limit else None

    def _all_reduce(self, effect: AllReduce) -> Tensor:
        mean = effect.tensor.clone(memory_format=torch.contiguous_format)
        if len(self.experiment.workers) > 1:
            ready = self.account.arithmetic()
            with naming_peers():
                dist.all_reduce(mean, group=self.worker_group)
            mean.div_(len(self.experiment.workers))
            end = self.watch.wall()
            self.account.meet(ready, [Transfer("all-reduce", ready, end)], end)
            count(self.node, mean)
        return mean

    # ---- time

    def _now(self, _: Now) -> float:
        self.order.append(self.watch.now())
        return self.order[-1] / 1e9

    def _sleep(self, effect: Sleep) -> None:
        if effect.seconds >= self.timeout.total_seconds():
            raise RunError(
                f"node {self.node.rank} would be silent for {effect.seconds:.0f} s, and count as dead: "
                f"give a --cluster.timeout above that, now {self.timeout.total_seconds():g}"
            )
        with self.account.timed("waiting", "asleep"):
            time.sleep(effect.seconds)

    # ---- the end of an epoch or round

    def _quiet(self, _: Quiet) -> None:
        """Conductors meet; all report to the lead, which writes the run down; then all go on."""
        if not self.experiment.specification.evaluates_after(self.node.completed):
            return
        with self.account.timed("waiting", "for the end of the epoch or round"), naming_peers():
            self.wire.flush()
            if len(self.experiment.conductors) > 1:
                dist.barrier(group=self.conductor_group)
        traced = self.experiment.specification.traces_after(self.node.completed)
        with self.account.paused():
            self._settle()
            mean, distance = self._result()
            if self.node.rank == self.lead:  # before it evaluates: until then followers take that for waiting
                given = () if self.appraisal.personal is None else (mean,)
                for rank in self._followers():
                    self.wire.send(rank, Kind.REPORT_PLEASE, *given, tag=int(traced))
            part = self._evaluate_part(mean, last=self.node.completed == self.node.plan.total)
            if self.node.rank == self.lead:
                self._take_down(mean, distance, part, traced)
            else:
                self._report(distance, part, traced)
                self.wire.expect(self.lead, Kind.GO_ON)

    def _settle(self) -> None:
        """Find out who waited for whom in collective operations, if all who took part are here now."""
        together = self.experiment.conductors == self.experiment.workers
        with naming_peers():
            self.account.settle(self.worker_group if together else None, len(self.experiment.workers))

    def _report_and_wait(self, header: Header) -> None:
        """A follower answers the lead between two messages, and may be sent the run's weights to try them out."""
        with self.account.paused():
            self.account.settle(None, 1)
            weights = self.wire.receive_tensors(header)
            here = None
            if self.appraisal.by_client:
                here = self.appraisal.at_client(self.learner, self.node, weights[0] if weights else None)
            self._report(0.0, None, bool(header.tag), here)
            self.wire.expect(self.lead, Kind.GO_ON)

    def _result(self) -> tuple[Tensor, float]:
        """The weights of the run, and this conductor's squared distance to them."""
        weights = self.experiment.contribution(self.node)
        if len(self.experiment.conductors) > 1:
            with naming_peers():
                dist.all_reduce(weights, group=self.conductor_group)
        return weights, self.experiment.squared_distance(self.node, weights)

    def _evaluate_part(self, weights: Tensor, *, last: bool) -> Evaluation | None:
        """This conductor's share of the test set."""
        place, conductors = self.node.rank - self.lead, len(self.experiment.conductors)
        jobs = self.appraisal.on_test_set(weights, last=last)[place::conductors]
        return Evaluation.merge([job(self.learner) for job in jobs]) if jobs else None

    def _own_report(
        self, distance: float, part: Evaluation | None, traced: bool, here: AtClient | None = None
    ) -> dict[str, Any]:
        ledger = self.node.ledger
        ledger.measured, ledger.measured_why = self.meter.total, self.meter.why
        self.account.lap("evaluation")
        report = {
            "distance": distance,
            "evaluation": part.state() if part else None,
            "client": here.state() if here else None,
            "loss": [self.node.loss_sum, self.node.loss_samples],
            "numbers": self.node.numbers(),
            "order": self.order,
            "trace": self.node.trace.state() if traced else None,
        }
        self.node.loss_sum, self.node.loss_samples = 0.0, 0
        self.order = []
        return report

    def _report(self, distance: float, part: Evaluation | None, traced: bool, here: AtClient | None = None) -> None:
        tensors = {key: value.cpu().contiguous() for key, value in self.node.tensors().items()}
        report = self._own_report(distance, part, traced, here)
        self.wire.send(self.lead, Kind.REPORT, json_bytes(report), tensor_bytes(tensors))

    def _take_down(self, mean: Tensor, distance: float, part: Evaluation | None, traced: bool) -> None:
        """The lead collects all reports, writes a row and a checkpoint, and lets everybody go on."""
        assert self.recorder is not None
        specification, completed = self.experiment.specification, self.node.completed
        others = [rank for rank in range(specification.nodes) if rank != self.lead]
        by_rank = {self.lead: self._own_report(distance, part, traced)}
        tensors = {f"{self.lead}/{key}": value for key, value in self.node.tensors().items()}
        for rank in others:
            report, state = self.wire.expect(rank, Kind.REPORT)
            by_rank[rank] = json.loads(unbytes(report))
            tensors |= {f"{rank}/{key}": value for key, value in load(unbytes(state)).items()}
        reports = [by_rank[rank] for rank in range(specification.nodes)]
        nodes = [_counted(report) for report in reports]
        evaluation, clients = self.appraisal.sum_up(
            [Evaluation.from_state(report["evaluation"]) for report in reports if report["evaluation"]],
            {rank: AtClient.from_state(report["client"]) for rank, report in by_rank.items() if report["client"]},
        )
        self.recorder.record(
            completed,
            evaluation,
            nodes,
            seconds=self.watch.now() / 1e9,
            consensus=math.sqrt(sum(r["distance"] for r in reports) / len(self.experiment.conductors)),
            clients=clients,
            figures=self.node.figures,
        )
        if not self.strategy.synchronous:
            self.recorder.record_order(completed, {rank: report["order"] for rank, report in enumerate(reports)})
        if completed == self.node.plan.total:  # before the checkpoint, after which nothing is left to resume
            self.recorder.finish(
                evaluation,
                nodes,
                seconds=self.watch.now() / 1e9,
                model=self.learner.state_dict(mean),
                confused=self.appraisal.confused(evaluation),
            )
        Checkpoint(
            completed=completed,
            rows=self.recorder.rows,
            cluster={"now": self.watch.now()},
            nodes={rank: report["numbers"] for rank, report in enumerate(reports)},
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
                    tensors = tensor_bytes(checkpoint.tensors_of(rank))
                    self.wire.send(rank, Kind.RESTORE, json_bytes([now, numbers]), tensors)
            return now
        message, tensors = self.wire.expect(self.lead, Kind.RESTORE)
        now, numbers = json.loads(unbytes(message))
        self.node.restore(numbers, load(unbytes(tensors)))
        return now

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
        Halt: _halt,
        Now: _now,
        Sleep: _sleep,
    }


def _counted(report: Mapping[str, Any]) -> NodeReport:
    """What the recorder takes from a node's own report."""
    loss_sum, loss_samples = report["loss"]
    return NodeReport(
        samples=report["numbers"]["samples"],
        loss_sum=loss_sum,
        loss_samples=loss_samples,
        ledger=Ledger(**report["numbers"]["ledger"]),
        trace=Trace.from_state(report["trace"]) if report["trace"] else Trace(),
    )
