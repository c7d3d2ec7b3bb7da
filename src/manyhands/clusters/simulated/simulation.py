"""Trains on a simulated cluster: the loop drives the nodes, an executor computes, and what comes out is recorded."""

from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor

from manyhands.clusters.appraisal import Appraisal
from manyhands.clusters.cluster import Simulated
from manyhands.clusters.experiment import Experiment
from manyhands.clusters.node import Node
from manyhands.clusters.simulated.executor import Executor, choose_executor
from manyhands.clusters.simulated.loop import Loop
from manyhands.runs.clients import Clients
from manyhands.runs.ledger import Ledger
from manyhands.runs.recorder import Checkpoint, Recorder
from manyhands.training.cost import measure_cost
from manyhands.training.evaluation import Evaluation


class Simulation:
    """One run. ``order``: of a run that is to be repeated, what chance decided at each node (`replay.Order`)."""

    def __init__(
        self, experiment: Experiment, recorder: Recorder, order: Mapping[int, Sequence[int]] | None = None
    ) -> None:
        self.experiment, self.recorder = experiment, recorder
        specification = experiment.specification
        assert isinstance(specification.cluster, Simulated)
        self.executor = Executor(
            experiment.make_learner,
            specification.cluster.threads,
            chain=choose_executor(experiment).chain,
            prepare=specification.total * specification.strategy.epochs_per_round() >= 1,
        )
        learner = self.executor.learner
        example = learner.task.prepare(learner.task.train.inputs[:1])
        make_node, cost = experiment.make_nodes(learner), measure_cost(learner.module, example)
        self.loop = Loop(experiment, make_node, cost, self.executor, self._take_down, order)
        self.nodes = self.loop.nodes
        self.conductors = [self.nodes[rank] for rank in experiment.conductors]
        self.appraisal = Appraisal(experiment, self.nodes[0].layout)

    def run(self, checkpoint: Checkpoint | None = None) -> None:
        """Train to the end, from the beginning or from a checkpoint, and write the results."""
        try:
            if checkpoint:
                self._restore(checkpoint)
            self.recorder.follow(lambda: self.conductors[0].progress)
            self.loop.run()
        finally:
            self.executor.close()

    def _take_down(self, completed: int) -> None:
        """All conductors are at the end of an epoch or round: evaluate, and write a row and a checkpoint."""
        last = completed == self.experiment.plan.total
        weights, consensus = self.experiment.assemble(self.conductors)
        evaluation, clients = self._evaluate(weights, last)
        self.recorder.record(
            completed,
            evaluation,
            self.nodes,
            seconds=self.loop.clock.now / 1e9,
            consensus=consensus,
            clients=clients,
            figures=self.conductors[0].figures,
        )
        for node in self.nodes:
            node.loss_sum, node.loss_samples = 0.0, 0
            node.forget()
        if last:  # before the checkpoint, after which nothing is left to resume
            self.recorder.finish(
                evaluation,
                self.nodes,
                seconds=self.loop.clock.now / 1e9,
                model=self.executor.learner.state_dict(weights),
                confused=self.appraisal.confused(evaluation),
            )
        self._checkpoint(completed).save(self.recorder.folder)

    def _evaluate(self, weights: Tensor, last: bool) -> tuple[Evaluation, Clients | None]:
        """On the test set, and at the clients if there are some; the threads share the work."""
        whole = [self.executor.submit(job) for job in self.appraisal.on_test_set(weights, last=last)]
        asked = self.appraisal.asked(self.nodes)
        tested = {
            node.rank: self.executor.submit(partial(self.appraisal.at_client, node=node, weights=weights))
            for node in asked
            if self.appraisal.tests_at(node)
        }
        at_clients = {
            node.rank: tested[node.rank].result()
            if node.rank in tested
            else self.appraisal.at_client(self.executor.learner, node, weights)
            for node in asked
        }
        return self.appraisal.sum_up([future.result() for future in whole], at_clients)

    def _checkpoint(self, completed: int) -> Checkpoint:
        strategy, unread = self.experiment.specification.strategy, self.loop.messages.unread
        assert not unread, f"{strategy.name} leaves messages unread at the end of an epoch or round: {unread}"
        now = self.loop.clock.now
        return Checkpoint(
            completed=completed,
            rows=self.recorder.rows,
            cluster={
                "now": now,
                "nodes": len(self.nodes),
                "draws": list(self.loop.devices.draws),
                "quotas": self.loop.devices.quotas,
            },
            nodes={node.rank: node.numbers() for node in self.nodes if not _only_waited(node, now)},
            tensors={f"{node.rank}/{key}": value for node in self.nodes for key, value in node.tensors().items()},
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        self.loop.clock.advance(checkpoint.cluster["now"])
        self.loop.devices.restore(checkpoint.cluster["draws"], checkpoint.cluster.get("quotas", []))
        for node in self.nodes:
            if node.rank in checkpoint.nodes:
                node.restore(checkpoint.nodes[node.rank], checkpoint.tensors_of(node.rank))
            else:
                node.restored = True
                node.ledger.add("waiting", checkpoint.cluster["now"])


def _only_waited(node: Node, now: int) -> bool:
    """Whether a node has done nothing since the beginning: a checkpoint of thousands of clients leaves it out."""
    drawn = node.sampler is not None and node.sampler.passes
    touched = node.keeps_weights or node.samples or node.progress or drawn or node.state or node.figures
    return not touched and node.ledger == Ledger(waiting=now)
