"""Federated methods against their papers' pseudocode, written down in numpy (`reference`): two or three rounds each."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference import CLASSES, FEATURES, LR, World, specify, state, trained

from manyhands.clusters.cluster import Simulated
from manyhands.errors import UserError
from manyhands.runs.folder import RunFolder
from manyhands.strategies import (
    FedAsync,
    FedAvg,
    FedBuff,
    FedDyn,
    FedNova,
    FedOpt,
    FedPer,
    FedProx,
    FedSGD,
    Moon,
    Scaffold,
    parse_strategy,
)
from manyhands.strategies.asynchronous import Asynchronous
from manyhands.strategies.server_optimizer import ServerAdagrad, ServerAdam, ServerOptimizer, ServerSGD, ServerYogi
from manyhands.strategies.staleness import STALENESS, Constant, Hinge, Polynomial
from manyhands.tasks.partition import Iid
from manyhands.training.optimizer import SGD

HALF = 2
"""clients in a cohort of half of them"""


def close(expected: Any, actual: Any) -> None:
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=2e-6)


def test_fedprox_pulls_by_the_squared_distance(tmp_path: Path) -> None:
    """Li et al. 2020, algorithm 2: the gradient of μ/2 · ‖w − w_t‖² is μ (w − w_t)."""
    specification = specify(FedProx(mu=1.5, fraction=0.5))
    world = World(specification)
    x = world.start
    for number in range(3):
        cohort = world.cohort(HALF, number)
        ends = [world.local(client, x, lambda w, x=x: 1.5 * (w - x))[0] for client in cohort]
        x = world.shares(cohort) @ np.array(ends)
    close(x, trained(specification, tmp_path / "run"))


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_scaffold(momentum: float, tmp_path: Path) -> None:
    """Karimireddy et al. 2020, algorithm 1 with option II; with momentum K is how far K steps go."""
    specification = specify(Scaffold(fraction=0.5, server_lr=0.7), rounds=4, optimizer=SGD(momentum=momentum))
    world = World(specification)
    x, c, c_of = world.start, 0 * world.start, dict.fromkeys(world.workers, 0 * world.start)
    for number in range(4):
        cohort = world.cohort(HALF, number)
        changes, variate_changes = [], []
        for i in cohort:
            y, steps = world.local(i, x, lambda w, c=c, own=c_of[i]: c - own, momentum)
            far = sum(sum(momentum**k for k in range(steps - step)) for step in range(steps))
            plus = c_of[i] - c + (x - y) / (far * LR)
            changes.append(y - x)
            variate_changes.append(plus - c_of[i])
            c_of[i] = plus
        p = world.shares(cohort)
        x, c = x + 0.7 * p @ np.array(changes), c + world.share(cohort) * p @ np.array(variate_changes)
    close(x, trained(specification, tmp_path / "run"))
    close(c, state(tmp_path / "run", 4, "variate"))
    for i in {client for number in range(4) for client in world.cohort(HALF, number)}:
        close(c_of[i], state(tmp_path / "run", i, "variate"))


def test_scaffolds_variates_are_the_mean_gradients_of_the_local_steps_with_momentum_too(tmp_path: Path) -> None:
    """Read off by K · lr, they would be longer than the gradients, and grow. Here all batches are whole."""
    strategy = Scaffold(local_epochs=5)
    specification = specify(strategy, rounds=40, optimizer=SGD(momentum=0.8), batch_size=100)
    weights = trained(specification, tmp_path / "run")
    world = World(specification)
    for client in world.workers:
        gradient = world.gradient(weights, np.concatenate(list(world.batches(client))))
        variate = state(tmp_path / "run", client, "variate")
        assert np.linalg.norm(variate - gradient) <= 0.1 * np.linalg.norm(gradient)


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_fednova(momentum: float, tmp_path: Path) -> None:
    """Wang et al. 2020, equation 8, with ‖a‖₁ in closed form and τ_eff = Σ pᵢ ‖aᵢ‖₁."""
    specification = specify(FedNova(), optimizer=SGD(momentum=momentum))
    world = World(specification)
    x, cohort = world.start, list(world.workers)
    for _ in range(3):
        directions, lengths = [], []
        for client in cohort:
            y, steps = world.local(client, x, momentum=momentum)
            length = (steps - momentum * (1 - momentum**steps) / (1 - momentum)) / (1 - momentum)
            directions.append((x - y) / LR / length)
            lengths.append(length)
        assert len(set(lengths)) > 1
        p = world.shares(cohort)
        x = x - LR * (p @ lengths) * (p @ np.array(directions))
    close(x, trained(specification, tmp_path / "run"))


def test_feddyn(tmp_path: Path) -> None:
    """Acar et al. 2021, algorithm 1; clients weigh as many samples as they hold."""
    alpha = 0.3
    specification = specify(FedDyn(alpha=alpha, fraction=0.5), rounds=4)
    world = World(specification)
    theta, h, memory = world.start, 0 * world.start, dict.fromkeys(world.workers, 0 * world.start)
    for number in range(4):
        cohort = world.cohort(HALF, number)
        ends = []
        for k in cohort:
            end, _ = world.local(k, theta, lambda w, g=memory[k], theta=theta: -g + alpha * (w - theta))
            memory[k] = memory[k] - alpha * (end - theta)
            ends.append(end)
        mean = world.shares(cohort) @ np.array(ends)
        h = h - alpha * world.share(cohort) * (mean - theta)
        theta = mean - h / alpha
    close(theta, trained(specification, tmp_path / "run"))
    close(h, state(tmp_path / "run", 4, "memory"))


TAU = 1e-3
OPTIMIZERS: list[ServerOptimizer] = [
    ServerSGD(0.5, momentum=0.9),
    ServerAdagrad(0.05),
    ServerAdagrad(0.05, beta1=0.5),
    ServerAdam(0.03),
    ServerYogi(0.03, beta2=0.6),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_fedopt(optimizer: Any, tmp_path: Path) -> None:
    """Reddi et al. 2021, algorithm 2; for momentum Hsu et al. 2019."""
    specification = specify(FedOpt(server_optimizer=optimizer))
    world = World(specification)
    x, cohort = world.start, list(world.workers)
    m, v = 0 * x, 0 * x + TAU**2
    for _ in range(3):
        ends = [world.local(client, x)[0] for client in cohort]
        delta = world.shares(cohort) @ np.array(ends) - x
        if isinstance(optimizer, ServerSGD):
            m = 0.9 * m + delta
            x = x + optimizer.lr * m
            continue
        m = optimizer.beta1 * m + (1 - optimizer.beta1) * delta
        if isinstance(optimizer, ServerYogi):
            v = v - (1 - optimizer.beta2) * delta**2 * np.sign(v - delta**2)
        elif isinstance(optimizer, ServerAdam):
            v = optimizer.beta2 * v + (1 - optimizer.beta2) * delta**2
        else:
            v = v + delta**2
        x = x + optimizer.lr * m / (np.sqrt(v) + TAU)
    close(x, trained(specification, tmp_path / "run"))


LINED_UP = {"cluster": Simulated(slow=("0:16", "1:4", "2:2")), "partition": Iid()}
"""clients with equal work, of which the last is done first: they reply in the order 3, 2, 1, 0"""


@pytest.mark.parametrize("staleness", [Constant(), Polynomial(0.5), Hinge(2.0, 1.0)], ids=str)
def test_fedasync_mixes_what_comes_and_less_what_is_late(staleness: Any, tmp_path: Path) -> None:
    """Xie et al. 2019, algorithm 1: x ← (1 − α_t) x + α_t x_new."""
    specification = specify(FedAsync(alpha=0.5, staleness=staleness), rounds=2, **LINED_UP)
    world = World(specification)
    x = world.start
    for _ in range(2):
        handed = x
        for late, client in enumerate((3, 2, 1, 0)):
            alpha = (
                0.5
                * {"constant": 1, "polynomial": (1 + late) ** -0.5, "hinge": [1, 1, 1 / 3, 1 / 5][late]}[staleness.name]
            )
            x = (1 - alpha) * x + alpha * world.local(client, handed)[0]
    close(x, trained(specification, tmp_path / "run"))
    ledger = RunFolder(tmp_path / "run").read_json("ledger.json")
    assert ledger["nodes"][4]["staleness"] == {"0": 2, "1": 2, "2": 2, "3": 2}


def test_an_alpha_of_a_half_is_pairwise_averaging(tmp_path: Path) -> None:
    """One client at a time: after each the server has the mean of its weights and the client's."""
    strategy = FedAsync(alpha=0.5, fraction=0.25)
    specification = specify(strategy, rounds=2)
    world = World(specification)
    x, counts = world.start, np.zeros(4)
    for number in range(2):
        for left in (4, 3, 2, 1):
            (client,) = world.server.choose(range(4), 1, "starters", number, left)
            x = (x + world.local(client, x)[0]) / 2
            counts[client] += 1
    close(x, trained(specification, tmp_path / "run"))
    assert counts.max() > 2, "who is drawn does not depend on who was"


def test_fedbuff_steps_by_the_mean_of_what_is_in_the_buffer(tmp_path: Path) -> None:
    """Nguyen et al. 2022, algorithm 1, with K = 3, and what is left at the end of a round."""
    specification = specify(FedBuff(buffer=3, server_lr=0.8), rounds=2, **LINED_UP)
    world = World(specification)
    x = world.start
    for _ in range(2):
        deltas = {client: world.local(client, x)[0] - x for client in world.workers}
        p = world.shares([1, 2, 3])
        x = x + 0.8 * (p[0] * deltas[1] + p[1] * deltas[2] + p[2] * deltas[3])
        x = x + 0.8 * deltas[0] / np.sqrt(2)
    close(x, trained(specification, tmp_path / "run"))
    ledger = RunFolder(tmp_path / "run").read_json("ledger.json")
    assert ledger["nodes"][4]["staleness"] == {"0": 6, "1": 2}


@pytest.mark.parametrize("strategy", [FedAsync(fraction=0.5), FedBuff(fraction=0.5, buffer=3)])
def test_no_more_train_at_once_than_asked_for_and_the_fast_train_more(strategy: Asynchronous, tmp_path: Path) -> None:
    """The last to be started is always one that is idle, and nothing is left behind when a round is over."""
    specification = specify(strategy, rounds=60, workers=6, cluster=Simulated(slow=("0:20",)), partition=Iid())
    trained(specification, tmp_path / "run")
    nodes = RunFolder(tmp_path / "run").read_json("ledger.json")["nodes"]
    jobs = [node["messages_sent"] for node in nodes[:6]]
    assert sum(jobs) == nodes[6]["messages_sent"] == 60 * 6
    assert jobs[0] < min(jobs[1:])
    assert max(int(staleness) for staleness in nodes[6]["staleness"]) <= 6


def test_staleness_falls_from_one() -> None:
    for name in STALENESS.members:
        factors = [STALENESS.parse(name).factor(versions) for versions in range(30)]
        assert factors[0] == 1
        assert min(factors) > 0
        assert factors == sorted(factors, reverse=True)
    assert [Hinge(10, 4).factor(versions) for versions in (4, 5)] == [1, pytest.approx(1 / 11)]
    assert Polynomial(0.5).factor(3) == pytest.approx(0.5)


def test_moon_remembers_what_each_client_ended_with(tmp_path: Path) -> None:
    """After a round of all clients their mean is what the server has; contrast begins in the second round."""
    one = trained(specify(Moon(mu=5), rounds=1), tmp_path / "one")
    world = World(specify(Moon(), rounds=1))
    previous = np.array([state(tmp_path / "one", client, "previous") for client in world.workers])
    close(one, world.shares(list(world.workers)) @ previous)
    close(trained(specify(FedAvg(), rounds=1), tmp_path / "avg"), one)


def test_where_the_last_layer_is_all_there_is_each_client_trains_by_itself(tmp_path: Path) -> None:
    specification = specify(FedPer())
    world = World(specification)
    close(world.start, trained(specification, tmp_path / "run"))
    for client in world.workers:
        weights = world.start
        for _ in range(3):
            weights, _ = world.local(client, weights)
        close(weights, state(tmp_path / "run", client, "personal"))
    nodes = RunFolder(tmp_path / "run").read_json("ledger.json")["nodes"]
    assert [node["bytes_sent"] for node in nodes] == [0] * 5


@pytest.mark.parametrize("batch_size", [4, 100])
def test_fedsgd_steps_by_the_gradient_over_all_samples(batch_size: int, tmp_path: Path) -> None:
    """McMahan et al. 2017, section 2: w ← w − lr Σ (n_k / n) g_k; the optimiser is the server's."""
    specification = specify(FedSGD(), optimizer=SGD(momentum=0.8), batch_size=batch_size)
    world = World(specification)
    x, velocity = world.start, 0 * world.start
    for _ in range(3):
        velocity = 0.8 * velocity + world.gradient(x, np.arange(len(world.targets)))
        x = x - LR * velocity
    close(x, trained(specification, tmp_path / "run"))
    history = RunFolder(tmp_path / "run").read_history()
    assert history[-1]["samples"] == 3 * len(world.targets)


def test_local_steps_are_batches_of_a_stream(tmp_path: Path) -> None:
    """Five steps of seven samples each, whatever a client holds; the next round goes on where this one ended."""
    specification = specify(FedAvg(local_steps=5), rounds=2)
    world = World(specification)
    x, cohort = world.start, list(world.workers)
    for _ in range(2):
        ends = []
        for client in cohort:
            y = x.copy()
            for _ in range(5):
                y -= LR * world.gradient(y, world.nodes[client].next_batch().indices)
            ends.append(y)
        x = world.shares(cohort) @ np.array(ends)
    close(x, trained(specification, tmp_path / "run"))


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (FedProx, {"mu": -1}, "--strategy.mu of fedprox must be zero or more, not -1"),
    (FedProx, {"mu": float("nan")}, "--strategy.mu of fedprox must be zero or more, not nan"),
    (FedNova, {"mu": -0.1}, "--strategy.mu of fednova must be zero or more"),
    (Moon, {"mu": -1}, "--strategy.mu of moon must be zero or more"),
    (Moon, {"temperature": 0}, "--strategy.temperature of moon must be positive, not 0"),
    (Scaffold, {"server_lr": 0}, "--strategy.server-lr of scaffold must be positive, not 0"),
    (FedDyn, {"alpha": 0}, "--strategy.alpha of feddyn must be positive, not 0"),
    (FedAsync, {"alpha": 1.1}, r"--strategy.alpha of fedasync must lie in \(0, 1\], not 1.1"),
    (FedAsync, {"deadline": "3s"}, "fedasync waits for nobody: leave out --strategy.deadline"),
    (FedBuff, {"over_selection": 0.3}, "fedbuff waits for nobody: leave out --strategy.deadline"),
    (FedBuff, {"buffer": 0}, "--strategy.buffer of fedbuff must be positive, not 0"),
    (FedPer, {"layers": -1}, "--strategy.layers of fedper must be zero or more, not -1"),
    (FedSGD, {"local_epochs": 2}, "fedsgd takes no local steps, but one gradient over all of a client's samples"),
    (FedSGD, {"local_steps": 2}, "fedsgd takes no local steps"),
    (FedAvg, {"local_steps": -2}, "--strategy.local-steps of fedavg must be zero or more, not -2"),
    (ServerSGD, {"lr": 0}, "lr must be above 0, not 0"),
    (ServerAdam, {"beta2": 1}, "beta2 must be at least 0 and below 1, not 1"),
    (ServerAdagrad, {"tau": 0}, "tau must be above 0, not 0"),
    (Polynomial, {"a": -1}, "a must be zero or more, not -1"),
]


@pytest.mark.parametrize(("kind", "options", "complaint"), REFUSED)
def test_what_makes_no_sense_is_refused(kind: Any, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as refusal:
        kind(**options)
    assert "\n" not in str(refusal.value)


def test_more_layers_than_there_are_cannot_stay() -> None:
    with pytest.raises(
        UserError, match=r"--strategy.layers 2 of fedper is more than the model's linear layers, of which"
    ):
        World(specify(FedPer(layers=2)))


def test_whole_layers_cannot_be_compressed_where_some_stay() -> None:
    with pytest.raises(UserError, match="powersgd:2 compresses whole layers, which fedbn does not send"):
        parse_strategy("fedbn:compression=powersgd:2")


def test_the_model_has_as_many_numbers_as_the_reference() -> None:
    assert len(World(specify(FedAvg(), partition=Iid())).start) == CLASSES * (FEATURES + 1)
    assert replace(specify(FedAvg()), rounds=2).total == 2
