"""Special cases in which one strategy is another."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from table import batches, distance, initial_module, plain_sgd, specify, train
from toys import Normed, toy

from manyhands import lab
from manyhands.strategies import STRATEGIES
from manyhands.strategies.topology import TOPOLOGIES
from manyhands.tasks.partition import PARTITIONS
from manyhands.training.optimizer import SGD

MOMENTUM = {"optimizer": SGD(momentum=0.9)}
FULL_BATCH = {"batch_size": 240, "epochs": 20, "partition": PARTITIONS.parse("dirichlet:1")}

AS_ONE: dict[str, tuple[str, dict[str, Any]]] = {
    "single": ("single", MOMENTUM),
    "all-reduce": ("all-reduce", MOMENTUM),
    "parameter-server": ("parameter-server", MOMENTUM),
    "gossip": ("gossip:topology=complete", MOMENTUM),
    "local-sgd": ("local-sgd:period=1", MOMENTUM),
    "fedavg": ("fedavg", FULL_BATCH),
}
"""for each strategy the options with which N workers with batches of b are one with batches of N · b"""


def test_every_strategy_states_when_it_is_large_batch_sgd() -> None:
    assert AS_ONE.keys() == STRATEGIES.keys()


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
        specification.optimizer,
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
        for topology in TOPOLOGIES.members
    }
    assert consensus["ring"] > consensus["exponential"] > 100 * consensus["complete"]


def test_a_server_that_waits_for_all_is_all_reduce_by_another_route(tmp_path: Path) -> None:
    server, ring = (
        train(specify(variant, workers=3, **MOMENTUM), toy(Normed), tmp_path / variant)
        for variant in ("parameter-server", "all-reduce")
    )
    assert distance(ring.weights, server.weights) <= 1e-6
