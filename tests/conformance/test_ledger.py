"""The bytes and the time on the simulated ledger are those of the formulas."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from table import SYNCHRONOUS, VARIANTS, Run, craft, specify, train
from toys import Normed, toy

from manyhands import lab
from manyhands.clusters.cluster import Simulated
from manyhands.clusters.experiment import Experiment
from manyhands.runs import trace
from manyhands.runs.specification import Specification
from manyhands.strategies import STRATEGIES, parse_strategy

if TYPE_CHECKING:
    from fleet import Fleet

WORKERS, SAMPLES = 5, 120
NORM, HEAD = 4 * 8, 8 * 3 + 3
"""numbers of the toy model's norm, batch statistics included, and of its last layer"""
EXPECTED: dict[str, Callable[["Case", int], float]] = {
    "single": lambda case, rank: 0,
    "all-reduce": lambda case, rank: case.steps * case.ring(4 * case.parameters),
    "data-parallel": lambda case, rank: case.steps * (4 * case.parameters if rank else case.scattered),
    "diloco": lambda case, rank: case.fragments + case.total * case.ring(case.rest),
    "elastic-averaging": lambda case, rank: case.model_bytes * case.exchanges * (1 if rank == WORKERS else 1 / WORKERS),
    "fedavg": lambda case, rank: case.model_bytes * case.invitations(rank),
    "fedasync": lambda case, rank: case.model_bytes * case.total * (WORKERS if rank == WORKERS else 1),
    "fedbn": lambda case, rank: (case.model_bytes - 4 * NORM) * case.invitations(rank),
    "fedbuff": lambda case, rank: case.model_bytes * case.total * (WORKERS if rank == WORKERS else 1),
    "feddyn": lambda case, rank: case.model_bytes * case.invitations(rank),
    "fednova": lambda case, rank: (case.model_bytes + 4 * (rank < WORKERS)) * case.invitations(rank),
    "fedopt": lambda case, rank: case.model_bytes * case.invitations(rank),
    "fedper": lambda case, rank: (case.model_bytes - 4 * HEAD) * case.invitations(rank),
    "fedprox": lambda case, rank: case.model_bytes * case.invitations(rank),
    "fedsgd": lambda case, rank: case.model_bytes * case.invitations(rank),
    "gossip": lambda case, rank: case.talk(rank, case.model_bytes),
    "local-sgd": lambda case, rank: case.averagings * case.ring(case.model_bytes),
    "moon": lambda case, rank: case.model_bytes * case.invitations(rank),
    "parameter-server": lambda case, rank: (
        case.steps * (WORKERS * case.shard(rank) if rank >= WORKERS else case.model_bytes)
    ),
    "peer-gradients": lambda case, rank: case.steps * (WORKERS - 1) * 4 * case.parameters,
    "post-local-sgd": lambda case, rank: case.post_local,
    "push-sum": lambda case, rank: case.talk(rank, case.model_bytes + 8),
    "scaffold": lambda case, rank: (case.model_bytes + 4 * case.parameters) * case.invitations(rank),
    "slow-momentum": lambda case, rank: case.averagings * case.ring(case.model_bytes),
}
"""for each strategy the bytes that a node sends in the run; servers have the ranks from WORKERS on"""
BY_CHANCE = {"ad-psgd"}
"""strategies of which nobody knows before how often they talk"""


class Case:
    """The quantities of a run from which the formulas are made; M = 4 P bytes."""

    def __init__(self, experiment: Experiment) -> None:
        learner = experiment.make_learner()
        self.parameters, self.model_bytes = learner.parameters, 4 * (learner.parameters + learner.buffers)
        self.rest = 4 * learner.buffers
        self.strategy: Any = experiment.specification.strategy
        self.total = experiment.specification.total
        self.epoch = experiment.plan.steps_per_epoch
        self.steps = self.total * self.epoch
        self.experiment = experiment

    def ring(self, size: float) -> float:
        return round(2 * (WORKERS - 1) / WORKERS * size)

    @property
    def averagings(self) -> int:
        return len(self.ends(0))

    def ends(self, start: int) -> set[int]:
        """The steps, counted from 1, after which all average their weights, of those after ``start``."""
        period = self.strategy.period
        ends = set(range(self.epoch, self.steps + 1, self.epoch))
        ends |= set() if period == "epoch" else set(range(period, self.steps + 1, period))
        return {step for step in ends if step > start}

    @property
    def fragments(self) -> float:
        """Each part of the parameters goes round at its own steps, and at the end of each epoch."""
        count, period = self.strategy.fragments, self.strategy.period
        sent = 0.0
        for number, part in enumerate(np.array_split(range(self.parameters), count)):
            ends = set(range(self.epoch, self.steps + 1, self.epoch))
            if period != "epoch":
                ends |= set(range(number * period // count or period, self.steps + 1, period))
            sent += len(ends) * self.ring(4 * len(part))
        return sent

    @property
    def post_local(self) -> float:
        """Gradients up to the switch, where the weights meet once, and weights from then on."""
        switch = round(self.strategy.switch * self.steps)
        together = switch * self.ring(4 * self.parameters) + self.ring(self.model_bytes)
        return together + len(self.ends(switch)) * self.ring(self.model_bytes)

    @property
    def scattered(self) -> float:
        """The root sends weights and eight samples, six features and a target each, to all the others."""
        return (WORKERS - 1) * (self.model_bytes + 8 * (6 * 4 + 8))

    @property
    def exchanges(self) -> int:
        """Of all workers with the centre."""
        return self.total * ceil(self.epoch * WORKERS / self.strategy.period)

    def shard(self, rank: int) -> int:
        """Bytes of a server's part; the first has the batch statistics too."""
        sizes = [len(part) for part in np.array_split(range(self.parameters), self.strategy.servers)]
        return 4 * sizes[rank - WORKERS] + (self.rest if rank == WORKERS else 0)

    def talk(self, rank: int, size: int) -> int:
        topology = self.strategy.topology
        return sum(size * len(topology.neighbours(rank, WORKERS, step)) for step in range(self.steps))

    def invitations(self, rank: int) -> int:
        """Rounds in which a worker is in the cohort; for the server the messages that it sends in all."""
        server = self.experiment.make_nodes(self.experiment.make_learner())(WORKERS)
        size = round(self.strategy.fraction * WORKERS)
        cohorts = [server.choose(server.workers, size, "cohort", number) for number in range(self.total)]
        return size * self.total if rank == WORKERS else sum(rank in cohort for cohort in cohorts)


def case_of(variant: str, folder: Path) -> tuple[Specification, Case, Run]:
    specification, task = specify(variant, WORKERS), toy(Normed, SAMPLES)
    return specification, Case(lab.prepare(specification, task)), train(specification, task, folder)


def test_every_strategy_states_its_bytes() -> None:
    assert EXPECTED.keys() | BY_CHANCE == STRATEGIES.keys()


def conserved(run: Run) -> list[int]:
    """What each node sent; all that is sent is received, and the history knows of it."""
    nodes = run.ledger["nodes"]
    sent = [node["bytes_sent"] for node in nodes]
    assert sum(sent) == sum(node["bytes_received"] for node in nodes)
    assert run.history[-1]["bytes"] == sum(sent)
    assert [sum(node["to"].values()) for node in nodes] == sent
    for node in nodes:
        others = [int(rank) for rank in node["to"]]
        assert others == sorted(others)
        assert node["rank"] not in others
        assert all(node["to"].values())
    return sent


@pytest.mark.parametrize("variant", [v for v in VARIANTS if "compression=" not in v and "collective=" not in v])
def test_bytes(variant: str, tmp_path: Path) -> None:
    specification, case, run = case_of(variant, tmp_path / "run")
    sent, name = conserved(run), specification.strategy.name
    if name in BY_CHANCE:
        assert sum(sent) % case.model_bytes == 0  # requests and answers are whole vectors, farewells are empty
        assert 0 < sum(sent) <= 2 * case.model_bytes * case.steps * WORKERS
        return
    expected = [EXPECTED[name](case, rank) for rank in range(specification.nodes)]
    if specification.strategy.synchronous:
        assert sent == expected
    else:  # who sends how often depends on who is fast
        assert sum(sent[:WORKERS]) == pytest.approx(sum(expected[:WORKERS]), rel=1e-12)
        if name == "elastic-averaging":  # each answer is one vector
            assert sent[WORKERS] == expected[WORKERS]
        else:
            assert sent[WORKERS:] == expected[WORKERS:]


@pytest.mark.parametrize(
    ("collective", "expected"),
    [("ring", [4 / 3] * 3), ("star", [2, 1, 1]), ("tree", [2, 1, 1]), ("native", [4 / 3] * 3)],
)
def test_bytes_of_collectives(collective: str, expected: list[float], tmp_path: Path) -> None:
    """In gradients a step, for three workers, who divide the 99 parameters evenly."""
    specification, task = specify(f"all-reduce:collective={collective}", 3), toy(Normed, SAMPLES)
    case = Case(lab.prepare(specification, task))
    assert conserved(train(specification, task, tmp_path / "run")) == [
        round(case.steps * share * 4 * case.parameters) for share in expected
    ]


PAYLOAD: dict[str, Callable[[int], float]] = {
    "bf16": lambda numbers: 2 * numbers,
    "sign": lambda numbers: ceil(numbers / 8) + 4,
    "top-k:20": lambda numbers: 8 * 20,
    "random-k:20": lambda numbers: 4 * 20 + 8,
}


@pytest.mark.parametrize("compression", PAYLOAD)
def test_compressed_messages_are_as_long_as_they_should_be(compression: str, tmp_path: Path) -> None:
    _, case, run = case_of(f"peer-gradients:compression={compression}", tmp_path / "run")
    assert conserved(run) == [case.steps * (WORKERS - 1) * PAYLOAD[compression](case.parameters)] * WORKERS
    _, case, run = case_of(f"parameter-server:compression={compression}", tmp_path / "server")
    payload = PAYLOAD[compression](case.parameters) + case.rest  # batch statistics are sent as they are
    assert conserved(run)[:WORKERS] == [case.steps * payload] * WORKERS


def nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


@pytest.mark.parametrize("cluster", [Simulated(), Simulated(slow=("1:3",), jitter=0.5)], ids=["even", "uneven"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_moment_of_every_node_is_on_the_ledger(variant: str, cluster: Simulated, tmp_path: Path) -> None:
    workers = 1 if variant == "single" else WORKERS
    if workers == 1:
        cluster = Simulated(jitter=cluster.jitter)
    specification = specify(variant, workers, cluster=cluster, optimizer=craft(variant))
    run = train(specification, toy(Normed, SAMPLES), tmp_path / "run")
    for node in run.ledger["nodes"]:
        seconds = node["seconds"]
        parts = [seconds[part] for part in seconds if part != "hidden_communication"]
        assert len(parts) == 5
        assert sum(map(nanoseconds, parts)) == nanoseconds(run.ledger["seconds"]), node
        assert min(seconds.values()) >= 0
        assert seconds["evaluation"] == 0
    assert run.ledger["wall_seconds"] == run.ledger["seconds"]
    assert run.history[-1]["seconds"] == run.ledger["seconds"] > 0


@pytest.mark.parametrize("variant", [variant for variant in SYNCHRONOUS if variant != "single"])
def test_those_who_are_fast_wait_for_the_slow_one(variant: str, tmp_path: Path) -> None:
    specification = specify(variant, WORKERS, cluster=Simulated(slow=("1:10",)))
    ledger = train(specification, toy(Normed, SAMPLES), tmp_path / "run").ledger
    waiting = [node["seconds"]["waiting"] for node in ledger["nodes"][:WORKERS]]
    if "fraction" not in variant:  # with it the slow one also rests while it is not invited
        assert min(waiting) == waiting[1]
    assert parse_strategy(variant).servers == 0 or max(waiting) > 0


def assert_lanes_are_whole(folder: Path, ledger: dict[str, Any]) -> None:
    """No two spans of a lane overlap; they are all of the node's time, and of its hidden communication."""
    assert json.loads((folder / "trace.json").read_text())["otherData"]["omitted"] == 0
    spans = trace.decode(json.loads((folder / "trace.json").read_text()))
    assert set(spans) == {node["rank"] for node in ledger["nodes"]}
    for node in ledger["nodes"]:
        for hidden in (False, True):
            own = [span for span in spans[node["rank"]] if (span.kind == "hidden") == hidden]
            assert all(earlier.end <= later.start + 1 for earlier, later in pairwise(own))  # ns, rounded in the file
            seconds = {part: node["seconds"][part] for part in node["seconds"] if ("hidden" in part) == hidden}
            assert sum(span.end - span.start for span in own) / 1e9 == pytest.approx(sum(seconds.values()), abs=1e-5)


@pytest.mark.parametrize("variant", ["all-reduce", "ad-psgd", "fedavg", "all-reduce:compression=powersgd:2"])
def test_a_simulated_trace_is_the_ledger(variant: str, tmp_path: Path) -> None:
    cluster = Simulated(slow=("1:3",), jitter=0.5, bandwidth="100Mbit/s")
    run = train(specify(variant, WORKERS, cluster=cluster), toy(Normed, SAMPLES), tmp_path / "run")
    assert_lanes_are_whole(run.folder, run.ledger)


REAL = [
    "all-reduce",
    "all-reduce:compression=powersgd:2",
    "gossip",
    "local-sgd",
    "parameter-server:consistency=async",
    "peer-gradients:compression=top-k:9",
    "fedavg:fraction=0.5,over_selection=1,deadline=100s",
]


@pytest.mark.parametrize("variant", REAL)
def test_a_real_nodes_time_adds_up_to_the_wall_clock(
    variant: str, tmp_path: Path, fleet: Callable[[int], "Fleet"]
) -> None:
    specification = specify(variant, 2, epochs=60 if "deadline" in variant else 20)  # half of its clients are halted
    specification = replace(specification, evaluate_every=specification.total // 4)  # nodes do not stop at one instant
    run = fleet(specification.nodes).train(specification, toy(Normed), tmp_path / "run")
    ledger, compressed = run.ledger, "compression" in variant
    assert ledger["seconds"] < ledger["wall_seconds"]
    for node in ledger["nodes"]:
        seconds = node["seconds"]
        parts = [seconds[part] for part in seconds if part != "hidden_communication"]
        assert sum(parts) == pytest.approx(ledger["wall_seconds"], rel=0.02)
        assert sum(parts) - seconds["evaluation"] == pytest.approx(ledger["seconds"], rel=0.05)
        assert min(seconds.values()) >= 0
        assert min(seconds["compute"], seconds["exposed_communication"], seconds["evaluation"]) > 0
        assert (seconds["compression"] > 0) == (compressed and node["role"] == "worker")
        assert node["bytes"]["algorithmic"] == {"sent": node["bytes_sent"], "received": node["bytes_received"]}
        assert node["bytes"]["measured"] is None
        assert "loopback" in node["bytes"]["measured_why"]


@pytest.mark.parametrize("variant", REAL)
def test_a_real_trace_is_the_ledger(variant: str, tmp_path: Path, fleet: Callable[[int], "Fleet"]) -> None:
    specification = specify(variant, 2)
    run = fleet(specification.nodes).train(specification, toy(Normed), tmp_path / "run")
    assert_lanes_are_whole(run.folder, run.ledger)


@pytest.mark.parametrize("variant", ["all-reduce", "gossip", "peer-gradients:compression=top-k:9"])
def test_both_clusters_count_the_same_bytes(variant: str, tmp_path: Path, fleet: Callable[[int], "Fleet"]) -> None:
    """Algorithmic ones and, where messages are the same ones, those predicted on the wire."""
    specification, task = specify(variant, 3), toy(Normed)
    simulated = train(specification, task, tmp_path / "simulated").ledger["nodes"]
    real = fleet(3).train(specification, task, tmp_path / "real").ledger["nodes"]
    for line in ("algorithmic", "wire"):
        assert [node["bytes"][line] for node in real] == [node["bytes"][line] for node in simulated]
        assert min(node["bytes"][line]["sent"] for node in real) > 0


def test_compression_costs_time_in_simulation(tmp_path: Path) -> None:
    """Its vector work is booked as such, the rest of the arithmetic is not."""
    seconds = {}
    for compression in ("none", "top-k:20"):
        run = train(specify(f"peer-gradients:compression={compression}", 3), toy(Normed), tmp_path / compression)
        seconds[compression] = run.ledger["nodes"][0]["seconds"]
    assert seconds["none"]["compression"] == 0 < seconds["top-k:20"]["compression"]
    assert seconds["top-k:20"]["compute"] == pytest.approx(seconds["none"]["compute"], rel=1e-3)
