"""Special cases in which one strategy is another."""

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
    "gossip": ("gossip:topology=complete", MOMENTUM),
    "local-sgd": ("local-sgd:period=1", MOMENTUM),
    "parameter-server": ("parameter-server", MOMENTUM),
    "peer-gradients": ("peer-gradients", MOMENTUM),
    "post-local-sgd": ("post-local-sgd:period=1", MOMENTUM),
    "push-sum": ("push-sum:topology=complete", MOMENTUM),
    "slow-momentum": ("slow-momentum:period=1,slow_momentum=0", MOMENTUM),
}
"""for each strategy the options with which N workers with batches of b are one with batches of N · b"""
NEVER_ONE = {"ad-psgd", "elastic-averaging"}
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
        [specification.lr] * steps,
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
    """Two variants on the same task with batch norm and skewed data."""
    given = MOMENTUM | {"partition": PARTITIONS.parse("dirichlet:0.5"), "epochs": 3} | options
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
}


@pytest.mark.parametrize("case", SAME)
def test_one_strategy_is_another(case: str, tmp_path: Path) -> None:
    one, other = pair(*SAME[case], tmp_path)
    assert distance(other.weights, one.weights) <= 1e-6


def test_post_local_with_period_one_is_all_reduce(tmp_path: Path) -> None:
    """But for batch statistics, which all-reduce leaves to each worker."""
    one, other = pair("post-local-sgd:period=1,switch=0.5", "all-reduce", tmp_path)
    assert distance(parameters(other), parameters(one)) <= 1e-6


def parameters(run: Run) -> Tensor:
    return flat({name: tensor for name, tensor in run.tensors.items() if "running" not in name})


SIZE = 6 * 8 + 8 + 8 * 3 + 3
"""of the toy model's parameters"""


@pytest.mark.parametrize("lossless", [f"top-k:{SIZE}", "top-k:1.0", f"random-k:{SIZE}", "powersgd:8"])
@pytest.mark.parametrize(
    "variant",
    ["all-reduce", "all-reduce:collective=ring", "parameter-server", "peer-gradients", "data-parallel", "gossip",
     "local-sgd:period=3", "post-local-sgd:period=3", "slow-momentum:period=3", "diloco:period=3", "fedavg"],
)  # fmt: skip
def test_lossless_compression_is_none(lossless: str, variant: str, tmp_path: Path) -> None:
    compressed = f"{variant}{',' if ':' in variant else ':'}compression={lossless}"
    runs = [
        train(specify(text, workers=4, epochs=3, optimizer=SGD(momentum=0.9)), toy(), tmp_path / str(place))
        for place, text in enumerate((variant, compressed))
    ]
    assert distance(runs[0].weights, runs[1].weights) <= 2e-6


@pytest.mark.parametrize("collective", [name for name in COLLECTIVES.members if name != "native"])
def test_every_collective_is_the_native_one(collective: str, tmp_path: Path) -> None:
    one, other = pair(f"all-reduce:collective={collective}", "all-reduce", tmp_path, workers=5)
    assert distance(other.weights, one.weights) <= 1e-6


def test_adasum_learns_and_keeps_all_workers_alike(tmp_path: Path) -> None:
    run = train(specify("all-reduce:combine=adasum", workers=4, epochs=5), toy(), tmp_path / "run")
    assert run.history[-1]["consensus"] <= 1e-6
    assert run.history[-1]["test_loss"] < 0.9 * run.history[0]["test_loss"]
