"""All that defines a run, there and back again."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.cli.compare import Compare
from manyhands.clusters.cluster import Cluster, Processes, Simulated
from manyhands.compression import COMPRESSIONS
from manyhands.errors import UserError
from manyhands.options import field_docs
from manyhands.runs.specification import Specification
from manyhands.strategies import STRATEGIES, AllReduce, FedAvg, Gossip, LocalSGD, ParameterServer, Single, Strategy
from manyhands.strategies.consistency import CONSISTENCIES
from manyhands.strategies.topology import Complete, Exponential, Ring
from manyhands.tasks.partition import Dirichlet, Iid, Labels, Partition, Shards
from manyhands.training.loss import CrossEntropy
from manyhands.training.optimizer import LAMB, LARS, OPTIMIZERS, SGD, AdamW, Optimizer
from manyhands.training.schedule import Constant, Cosine, OneCycle, Schedule, Step

FRACTIONS = st.floats(1e-6, 1)
COMPRESSED: dict[str, Any] = {
    "compression": st.sampled_from([COMPRESSIONS.parse(text) for text in ("none", "bf16", "top-k:0.25", "powersgd:2")])
}
BUILT: st.SearchStrategy[Strategy] = st.one_of(
    st.builds(AllReduce, **COMPRESSED),
    st.builds(FedAvg, fraction=FRACTIONS, local_epochs=st.integers(1, 9), **COMPRESSED),
    st.builds(Gossip, topology=st.sampled_from([Ring(), Complete(), Exponential()])),
    st.builds(LocalSGD, period=st.one_of(st.just("epoch"), st.integers(1, 99))),
    st.builds(
        ParameterServer, consistency=st.sampled_from([CONSISTENCIES.parse(t) for t in ("sync", "async", "ssp:3")])
    ),
    st.sampled_from([strategy() for name, strategy in STRATEGIES.items() if name != "single"]),
)
CLUSTERS: st.SearchStrategy[Cluster] = st.one_of(
    st.builds(
        Simulated,
        bandwidth=st.sampled_from(["1Gbit/s", "100MB/s"]),
        slow=st.lists(st.sampled_from(["0:2", "1:4"]), unique=True, max_size=2).map(tuple),
        jitter=FRACTIONS,
        threads=st.one_of(st.none(), st.integers(1, 4)),
    ),
    st.builds(Processes, port=st.integers(0, 65535), timeout=st.floats(1, 100)),
)
SCHEDULES: st.SearchStrategy[Schedule] = st.one_of(
    st.builds(Constant), st.builds(Cosine), st.builds(OneCycle, st.floats(0.1, 0.9)), st.just(Step((0.5, 0.75), 0.2))
)
PARTITIONS: st.SearchStrategy[Partition] = st.one_of(
    st.builds(Iid), st.builds(Dirichlet, FRACTIONS, st.integers(1, 10)), st.builds(Shards, st.integers(1, 9)),
    st.builds(Labels, st.integers(1, 9)),
)  # fmt: skip
SGDS = st.builds(SGD, momentum=st.floats(0.1, 0.9), nesterov=st.booleans(), clip_norm=st.none() | FRACTIONS)
OPTIMIZER_VALUES: st.SearchStrategy[Optimizer | None] = st.one_of(
    st.none(),
    SGDS,
    st.builds(AdamW, beta2=FRACTIONS.filter(lambda x: x < 1), decay_norms_and_biases=st.booleans()),
    st.builds(LARS, trust=FRACTIONS),
    st.builds(LAMB, weight_decay=FRACTIONS),
)
SPECIFICATIONS = st.builds(
    Specification,
    strategy=BUILT,
    cluster=CLUSTERS,
    workers=st.integers(2, 1000),
    epochs=st.one_of(st.none(), st.integers(1, 100)),
    batch_size=st.integers(1, 1000),
    accumulate=st.integers(1, 64),
    lr=st.none() | FRACTIONS,
    lr_scaling=st.sampled_from(["none", "linear", "sqrt"]),
    schedule=SCHEDULES,
    warm_up=FRACTIONS,
    optimizer=OPTIMIZER_VALUES,
    loss=st.builds(CrossEntropy, label_smoothing=FRACTIONS, one_hot=st.booleans()),
    partition=PARTITIONS,
    samples=st.none() | st.integers(1, 10**6),
    augment=st.booleans(),
    seed=st.integers(0, 2**64),
    precision=st.sampled_from(["fp32", "bf16", "auto"]),
)


@given(SPECIFICATIONS)
def test_json_gives_the_same_specification(specification: Specification) -> None:
    data = json.loads(json.dumps(specification.to_json()))
    assert Specification.from_json(data) == specification
    assert Specification.from_json(data).to_json() == data


@given(SPECIFICATIONS)
def test_what_is_resolved_says_what_is_used(specification: Specification) -> None:
    resolved = specification.resolved()
    assert resolved.optimizer == specification.chosen_optimizer
    assert resolved.lr == specification.chosen_lr
    assert resolved.resolved() == resolved
    if specification.optimizer and specification.lr:
        assert resolved == specification
    assert replace(resolved, optimizer=specification.optimizer, lr=specification.lr) == specification


def test_the_optimizer_is_the_strategys_and_the_rate_the_optimizers() -> None:
    class Adaptive(AllReduce):
        default_optimizer = "adamw"

    assert Specification().chosen_optimizer == SGD()
    given = Specification(strategy=Adaptive())
    assert (given.chosen_optimizer, given.chosen_lr) == (AdamW(), AdamW.default_lr)
    assert replace(given, strategy=AllReduce()).chosen_optimizer == SGD()
    assert replace(given, optimizer=LARS()).chosen_lr == LARS.default_lr
    assert replace(given, optimizer=LARS(), lr=3).chosen_lr == 3


def test_the_help_names_every_default_rate() -> None:
    rates = ", ".join(f"{name} {kind.default_lr:g}" for name, kind in OPTIMIZERS.items())
    for kind in (Specification, Compare):
        assert field_docs(kind)["lr"].endswith(f"default: {rates}")


def test_a_step_takes_all_micro_batches() -> None:
    assert Specification(batch_size=6, accumulate=4).samples_per_step == 24


def test_an_old_run_has_an_optimizer_without_a_name() -> None:
    assert Specification.from_json({"optimizer": {"momentum": 0.5}}).optimizer == SGD(momentum=0.5)


@pytest.mark.parametrize(
    ("given", "workers"),
    [
        (Specification(), 8),
        (Specification(cluster=Processes()), 2),
        (Specification(strategy=Single()), 1),
        (Specification(strategy=FedAvg(), workers=3), 3),
    ],
)
def test_the_number_of_workers_depends_on_where_they_run(given: Specification, workers: int) -> None:
    assert given.size == workers
    assert given.nodes == workers + given.strategy.servers


def test_rounds_draw_as_many_samples_as_the_epochs() -> None:
    assert Specification(epochs=6).total == 6
    assert Specification().total == 10
    assert Specification(strategy=FedAvg(fraction=0.25, local_epochs=2), epochs=6).total == 12
    assert Specification(strategy=FedAvg(fraction=0.25), rounds=6).total == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": "0.1"}, "lr in the specification must be float | None, not '0.1'"),
        ({"lr": True}, "lr in the specification must be float | None, not True"),
        ({"epochs": 1.5}, "epochs in the specification must be"),
        ({"augment": 1}, "augment in the specification must be bool, not 1"),
        ({"precision": "fp8"}, "precision in the specification must be"),
        ({"partition": None}, "partition in the specification must be str, not None"),
        ({"partition": "half"}, "unknown partition 'half'"),
        ({"optimizer": []}, "optimizer in the specification must be dict"),
        (
            {"optimizer": {"speed": 1}},
            "optimizer in the specification has the unknown field 'speed': it takes clip_norm",
        ),
        (
            {"optimizer": {"name": "lars", "nesterov": True}},
            "unknown field 'nesterov': it takes clip_norm, momentum, trust",
        ),
        ({"optimizer": {"name": "adam"}}, "unknown optimizer 'adam': choose from sgd, adamw, lars, lamb"),
        ({"optimizer": {"name": ["sgd"]}}, "unknown optimizer '['sgd']'"),
        ({"accumulate": 0}, "--accumulate must be positive and finite, not 0"),
        ({"accumulate": 1.5}, "accumulate in the specification must be int"),
        ({"lr_scaling": "cube"}, "lr_scaling in the specification must be"),
        ({"optimizer": {"momentum": 2}}, "momentum must be at least 0 and below 1"),
        ({"strategy": {}}, "strategy in the specification has the unknown strategy 'None': choose from ad-psgd"),
        ({"strategy": {"name": "gossip", "topology": "stars"}}, "unknown topology 'stars'"),
        ({"cluster": {"name": "cloud"}}, "unknown cluster 'cloud': choose from simulated, processes"),
        ({"cluster": {"name": "simulated", "slow": "3:4"}}, "slow in cluster in the specification must be"),
        ({"cluster": {"name": "simulated", "slow": [3]}}, "slow in cluster in the specification must be"),
        ({"colour": "red"}, "the specification has the unknown field 'colour': it takes accumulate, augment"),
        ({"workers": 0}, "--workers must be positive"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        Specification.from_json(Specification().to_json() | change)
    assert message in str(caught.value)


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_what_is_no_specification_at_all(data: Any) -> None:
    with pytest.raises(UserError, match="the specification must be dict"):
        Specification.from_json(data)


def test_what_is_left_out_has_its_default() -> None:
    assert Specification.from_json({}) == Specification()
    assert Specification.from_json({"lr": 1}).lr == 1
