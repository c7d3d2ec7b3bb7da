"""The bytes and the time on the simulated ledger are those of the formulas."""

from collections.abc import Callable
from pathlib import Path

import pytest
from table import CRAFT, SYNCHRONOUS, VARIANTS, Run, specify, train
from toys import Normed, toy

from manyhands import lab
from manyhands.clusters.cluster import Simulated
from manyhands.clusters.experiment import Experiment
from manyhands.runs.specification import Specification
from manyhands.strategies import STRATEGIES, FedAvg, Gossip, LocalSGD, parse_strategy

WORKERS = 5
EXPECTED: dict[str, Callable[["Case", int], float]] = {
    "single": lambda case, rank: 0,
    "all-reduce": lambda case, rank: case.steps * case.ring(4 * case.parameters),
    "local-sgd": lambda case, rank: case.averagings * case.ring(case.model_bytes),
    "gossip": lambda case, rank: case.steps * case.degree(rank) * case.model_bytes,
    "parameter-server": lambda case, rank: case.steps * case.model_bytes * (WORKERS if rank == WORKERS else 1),
    "fedavg": lambda case, rank: case.model_bytes * case.invitations(rank),
}
"""for each strategy the bytes that a node sends in the run; a synchronous server's own rank is WORKERS"""


class Case:
    """The quantities of a run from which the formulas are made; M = 4 P bytes."""

    def __init__(self, experiment: Experiment) -> None:
        learner = experiment.make_learner()
        self.parameters, self.model_bytes = learner.parameters, 4 * (learner.parameters + learner.buffers)
        self.strategy, self.total = experiment.specification.strategy, experiment.specification.total
        self.steps = self.total * experiment.plan.steps_per_epoch
        self.experiment = experiment

    def ring(self, size: float) -> float:
        return round(2 * (WORKERS - 1) / WORKERS * size)

    @property
    def averagings(self) -> int:
        assert isinstance(self.strategy, LocalSGD)
        period, epoch = self.strategy.period, self.experiment.plan.steps_per_epoch
        ends = {step for step in range(1, self.steps + 1) if step % epoch == 0}
        return len(ends if period == "epoch" else ends | set(range(period, self.steps + 1, period)))

    def degree(self, rank: int) -> int:
        assert isinstance(self.strategy, Gossip)
        return len(self.strategy.topology.neighbours(rank, WORKERS))

    def invitations(self, rank: int) -> int:
        """Rounds in which a worker is in the cohort; for the server the messages that it sends in all."""
        assert isinstance(self.strategy, FedAvg)
        experiment = self.experiment
        server = experiment.make_nodes(experiment.make_learner())(WORKERS)
        size = round(self.strategy.fraction * WORKERS)
        cohorts = [server.choose(server.workers, size, "cohort", number) for number in range(self.total)]
        return size * self.total if rank == WORKERS else sum(rank in cohort for cohort in cohorts)


def case_of(variant: str, folder: Path) -> tuple[Specification, Case, Run]:
    specification, task = specify(variant, WORKERS), toy(Normed)
    return specification, Case(lab.prepare(specification, task)), train(specification, task, folder)


def test_every_strategy_states_its_bytes() -> None:
    assert EXPECTED.keys() == STRATEGIES.keys()


@pytest.mark.parametrize("variant", VARIANTS)
def test_bytes(variant: str, tmp_path: Path) -> None:
    specification, case, run = case_of(variant, tmp_path / "run")
    nodes = run.ledger["nodes"]
    expected = [EXPECTED[specification.strategy.name](case, rank) for rank in range(specification.nodes)]
    if specification.strategy.synchronous:
        assert [node["bytes_sent"] for node in nodes] == expected
    else:  # who sends how often depends on who is fast
        assert sum(node["bytes_sent"] for node in nodes[:WORKERS]) == sum(expected[:WORKERS])
        assert nodes[WORKERS]["bytes_sent"] == expected[WORKERS]
    assert sum(node["bytes_sent"] for node in nodes) == sum(node["bytes_received"] for node in nodes)
    assert run.history[-1]["bytes"] == sum(node["bytes_sent"] for node in nodes)


@pytest.mark.parametrize("cluster", [Simulated(), Simulated(slow=("1:3",), jitter=0.5)], ids=["even", "uneven"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_moment_of_every_node_is_on_the_ledger(variant: str, cluster: Simulated, tmp_path: Path) -> None:
    workers = 1 if variant == "single" else WORKERS
    if workers == 1:
        cluster = Simulated(jitter=cluster.jitter)
    run = train(specify(variant, workers, cluster=cluster, optimizer=CRAFT), toy(Normed), tmp_path / "run")
    for node in run.ledger["nodes"]:
        seconds = node["seconds"]
        accounted = seconds["compute"] + seconds["exposed_communication"] + seconds["waiting"]
        assert accounted == pytest.approx(run.ledger["seconds"], rel=1e-9), node
        assert min(seconds.values()) >= 0
    assert run.history[-1]["seconds"] == run.ledger["seconds"] > 0


@pytest.mark.parametrize("variant", [variant for variant in SYNCHRONOUS if variant != "single"])
def test_those_who_are_fast_wait_for_the_slow_one(variant: str, tmp_path: Path) -> None:
    ledger = train(specify(variant, WORKERS, cluster=Simulated(slow=("1:10",))), toy(Normed), tmp_path / "run").ledger
    waiting = [node["seconds"]["waiting"] for node in ledger["nodes"][:WORKERS]]
    if variant != "fedavg:fraction=0.5,local_epochs=2":  # there the slow one also rests while it is not invited
        assert min(waiting) == waiting[1]
    assert parse_strategy(variant).servers == 0 or max(waiting) > 0
