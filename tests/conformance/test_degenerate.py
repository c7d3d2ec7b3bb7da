"""Special cases in which one strategy is another."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from table import Run, batches, distance, flat, initial_module, plain_sgd, specify, train
from torch import Tensor
from toys import Normed, toy

from manyhands import lab
from manyhands.clusters.collectives import COLLECTIVES
from manyhands.strategies import STRATEGIES, parse_strategy
from manyhands.tasks.partition import PARTITIONS
from manyhands.training.optimizer import SGD

MOMENTUM = {"optimizer": SGD(momentum=0.9)}
FULL_BATCH = {"batch_size": 240, "epochs": 20, "partition": PARTITIONS.parse("dirichlet:1")}

AS_ONE: dict[str, tuple[str, dict[str, Any]]] = {
    "single": ("single", MOMENTUM),
    "all-reduce": ("all-reduce", MOMENTUM),
    "data-parallel": ("data-parallel", MOMENTUM),
    "diloco": ("diloco:period=1,outer_lr=1,outer_momentum=0", MOMENTUM),
    "fedavg": ("fedavg", FULL_BATCH),
    "fedbn": ("fedbn", FULL_BATCH),
    "fedbuff": ("fedbuff:buffer=4", FULL_BATCH),
    "feddyn": ("feddyn:alpha=5", FULL_BATCH),
    "fednova": ("fednova", FULL_BATCH),
    "fedopt": ("fedopt:server_optimizer=sgd", FULL_BATCH),
    "fedper": ("fedper:layers=0", FULL_BATCH),
    "fedprox": ("fedprox:mu=5", FULL_BATCH),
    "fedsgd": ("fedsgd", FULL_BATCH | MOMENTUM),
    "gossip": ("gossip:topology=complete", MOMENTUM),
    "local-sgd": ("local-sgd:period=1", MOMENTUM),
    "moon": ("moon:mu=0", FULL_BATCH),
    "parameter-server": ("parameter-server", MOMENTUM),
    "peer-gradients": ("peer-gradients", MOMENTUM),
    "post-local-sgd": ("post-local-sgd:period=1", MOMENTUM),
    "push-sum": ("push-sum:topology=complete", MOMENTUM),
    "scaffold": ("scaffold", FULL_BATCH),
    "slow-momentum": ("slow-momentum:period=1,slow_momentum=0", MOMENTUM),
}
"""for each strategy the options with which N workers with batches of b are one with batches of N · b"""
LONGER = {"feddyn": 2}
"""strategies whose steps are then so many times as long"""
NEVER_ONE = {"ad-psgd", "elastic-averaging", "fedasync"}
"""strategies whose workers differ by design: no option makes them one"""


def test_every_strategy_states_when_it_is_large_batch_sgd() -> None:
    assert AS_ONE.keys() | NEVER_ONE == STRATEGIES.keys()
    assert not any(parse_strategy(name).synchronous for name in NEVER_ONE)


@pytest.mark.parametrize("name", AS_ONE)
def test_many_workers_are_one_with_all_their_samples(name: str, tmp_path: Path) -> None:
    variant, options = AS_ONE[name]
    task = toy()
    specification = specify(variant, workers=4, **({"epochs": 3} | options))
    steps = specification.total * lab.prepare(specification, task).plan.steps_per_epoch
    assert steps >= 20
    run = train(specification, task, tmp_path / "run")
    plain = plain_sgd(
        initial_module(specification, task),
        (np.concatenate(parts) for parts in batches(specification, task)),
        task,
        [specification.lr * LONGER.get(name, 1)] * steps,
        specification.chosen_optimizer,
    )
    assert distance(plain, run.weights) <= 1e-6


def test_gossip_on_the_complete_graph_averages_all_weights_after_each_step(tmp_path: Path) -> None:
    options = MOMENTUM | {"partition": PARTITIONS.parse("dirichlet:0.5")}
    gossip, averaging = (
        train(specify(variant, workers=5, **options), toy(Normed), tmp_path / variant.partition(":")[0])
        for variant in ("gossip:topology=complete", "local-sgd:period=1")
    )
    assert distance(averaging.weights, gossip.weights) <= 1e-6
    assert gossip.history[-1]["consensus"] <= 1e-6


def test_sparse_graphs_do_not_reach_consensus_in_one_step(tmp_path: Path) -> None:
    """Nine workers: what holds on the complete graph must not hold by accident on the others."""
    consensus = {
        topology: train(specify(f"gossip:topology={topology}", workers=9), toy(), tmp_path / topology).history[-1][
            "consensus"
        ]
        for topology in ("ring", "torus", "exponential", "complete")
    }
    assert consensus["ring"] > consensus["torus"] > consensus["exponential"] > 100 * consensus["complete"]


def test_a_server_that_waits_for_all_is_all_reduce_by_another_route(tmp_path: Path) -> None:
    server, ring = (
        train(specify(variant, workers=3, **MOMENTUM), toy(Normed), tmp_path / variant)
        for variant in ("parameter-server", "all-reduce")
    )
    assert distance(ring.weights, server.weights) <= 1e-6


def pair(one: str, other: str, tmp_path: Path, workers: int = 4, **options: Any) -> tuple[Run, Run]:
    """Two variants on the same task with batch norm and skewed data.

    Of these, batches of ten leave no last one of a single sample, on which batch norm cannot train.
    """
    given = MOMENTUM | {"partition": PARTITIONS.parse("dirichlet:0.5"), "epochs": 3, "batch_size": 10} | options
    first, second = (
        train(specify(variant, workers, **given), toy(Normed), tmp_path / str(place))
        for place, variant in enumerate((one, other))
    )
    return first, second


SAME = {
    "stale-synchronous with bound 0 is synchronous": ("parameter-server:consistency=ssp:0", "parameter-server"),
    "many servers are one": ("parameter-server:servers=5", "parameter-server"),
    "many asynchronous servers are one, where none is late": (
        "parameter-server:servers=3,consistency=ssp:0",
        "parameter-server",
    ),
    "a torus of one row is a ring": ("gossip:topology=torus:1", "gossip:topology=ring"),
    "push-sum on a complete graph averages": ("push-sum:topology=complete", "local-sgd:period=1"),
    "push-sum on a graph that is balanced is gossip": (
        "push-sum:topology=one-peer-exponential",
        "gossip:topology=one-peer-exponential",
    ),
    "post-local that never switches back is local": ("post-local-sgd:switch=0,period=3", "local-sgd:period=3"),
    "slow momentum of none is local": ("slow-momentum:slow_momentum=0,period=3", "local-sgd:period=3"),
    "diloco with outer SGD(1) is local": ("diloco:outer_lr=1,outer_momentum=0,period=3", "local-sgd:period=3"),
    "one fragment an epoch or several": ("diloco:fragments=3", "diloco"),
    "nobody is pulled": ("fedprox:mu=0", "fedavg"),
    "a server that steps by SGD(1) averages": ("fedopt:server_optimizer=sgd", "fedavg"),
    "no contrast": ("moon:mu=0", "fedavg"),
    "a buffer for all, who are never late": ("fedbuff:buffer=4", "fedavg"),
    "no layer stays": ("fedper:layers=0", "fedavg"),
    "how far a single client goes does not matter": ("fednova:mu=0,fraction=0.25", "fedavg:fraction=0.25"),
}


@pytest.mark.parametrize("case", SAME)
def test_one_strategy_is_another(case: str, tmp_path: Path) -> None:
    one, other = pair(*SAME[case], tmp_path)
    assert distance(other.weights, one.weights) <= 1e-6


ROUNDS = {"epochs": None, "rounds": 3}
ALIKE = {
    "variates are zero in the first round": ("scaffold", "fedavg", {"epochs": None, "rounds": 1}),
    "all clients take as many steps": ("fednova:local_steps=5", "fedavg:local_steps=5", ROUNDS),
    "all are pulled, and take as many steps": ("fednova:local_steps=5,mu=1", "fedprox:local_steps=5,mu=1", ROUNDS),
    "a single step, for which nothing pulls": ("fedprox:local_steps=1,mu=1", "fedavg:local_steps=1", ROUNDS),
    "the server steps by all gradients": ("fedsgd", "fedavg", {"batch_size": 240, "optimizer": SGD()}),
}
"""the same under these options"""
NOT_ALIKE = {
    "pulled": ("fedprox:mu=1", "fedavg", {}),
    "variates at work": ("scaffold", "fedavg", {}),
    "some take more steps": ("fednova", "fedavg", {}),
    "memories": ("feddyn", "fedavg", {}),
    "contrast": ("moon", "fedavg", {}),
    "norms of one's own": ("fedbn", "fedavg", {}),
    "a last layer of one's own": ("fedper", "fedavg", {}),
    "a smaller buffer": ("fedbuff:buffer=3", "fedavg", {}),
    "a clever server": ("fedopt", "fedavg", {}),
}
"""what a bug that switches a method off would make equal"""


@pytest.mark.parametrize("case", ALIKE)
def test_one_federated_method_is_another(case: str, tmp_path: Path) -> None:
    variant, parent, options = ALIKE[case]
    one, other = pair(variant, parent, tmp_path, **options)
    assert distance(other.weights, one.weights) <= 1e-6


@pytest.mark.parametrize("case", NOT_ALIKE)
def test_and_else_it_is_not(case: str, tmp_path: Path) -> None:
    variant, parent, options = NOT_ALIKE[case]
    one, other = pair(variant, parent, tmp_path, **options)
    assert distance(other.weights, one.weights) > 1e-4


def test_without_norms_nothing_stays_with_the_clients(tmp_path: Path) -> None:
    options = MOMENTUM | {"partition": PARTITIONS.parse("dirichlet:0.5")}
    runs = [train(specify(name, 4, **options), toy(), tmp_path / name) for name in ("fedbn", "fedavg")]
    assert runs[0].weights.equal(runs[1].weights)


def test_post_local_with_period_one_is_all_reduce(tmp_path: Path) -> None:
    """But for batch statistics, which all-reduce leaves to each worker."""
    one, other = pair("post-local-sgd:period=1,switch=0.5", "all-reduce", tmp_path)
    assert distance(parameters(other), parameters(one)) <= 1e-6


def parameters(run: Run) -> Tensor:
    return flat({name: tensor for name, tensor in run.tensors.items() if "running" not in name})


SIZE = 6 * 8 + 8 + 8 * 3 + 3
"""of the toy model's parameters"""


@pytest.fixture(scope="module")
def with_momentum(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Each variant is run once for all the tests here."""

    @cache
    def run(variant: str) -> Run:
        given = specify(variant, workers=4, epochs=3, **MOMENTUM)
        return train(given, toy(), tmp_path_factory.mktemp("momentum") / "run")

    return run


@pytest.mark.parametrize("lossless", [f"top-k:{SIZE}", "top-k:1.0", f"random-k:{SIZE}", "powersgd:8"])
@pytest.mark.parametrize(
    "variant",
    ["all-reduce", "all-reduce:collective=ring", "parameter-server", "peer-gradients", "data-parallel", "gossip",
     "local-sgd:period=3", "post-local-sgd:period=3", "slow-momentum:period=3", "diloco:period=3", "fedavg",
     "fedbuff", "feddyn", "fednova", "scaffold"],
)  # fmt: skip
def test_lossless_compression_is_none(lossless: str, variant: str, with_momentum: Callable[[str], Run]) -> None:
    compressed = f"{variant}{',' if ':' in variant else ':'}compression={lossless}"
    assert distance(with_momentum(variant).weights, with_momentum(compressed).weights) <= 2e-6


@pytest.mark.parametrize("collective", [name for name in COLLECTIVES.members if name != "native"])
def test_every_collective_is_the_native_one(collective: str, tmp_path: Path) -> None:
    one, other = pair(f"all-reduce:collective={collective}", "all-reduce", tmp_path, workers=5)
    assert distance(other.weights, one.weights) <= 1e-6


def test_adasum_learns_and_keeps_all_workers_alike(tmp_path: Path) -> None:
    run = train(specify("all-reduce:combine=adasum", workers=4, epochs=5), toy(), tmp_path / "run")
    assert run.history[-1]["consensus"] <= 1e-6
    assert run.history[-1]["test_loss"] < 0.9 * run.history[0]["test_loss"]
