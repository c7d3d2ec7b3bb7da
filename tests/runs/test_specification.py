"""All that defines a run, there and back again."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.clusters.cluster import Cluster, Processes, Simulated
from manyhands.errors import UserError
from manyhands.runs.specification import Specification
from manyhands.strategies import AllReduce, FedAvg, Gossip, LocalSGD, ParameterServer, Single, Strategy
from manyhands.strategies.topology import Complete, Exponential, Ring
from manyhands.tasks.partition import Dirichlet, Iid, Labels, Partition, Shards
from manyhands.training.loss import CrossEntropy
from manyhands.training.optimizer import SGD
from manyhands.training.schedule import Constant, Cosine, OneCycle, Schedule, Step

FRACTIONS = st.floats(1e-6, 1)
STRATEGIES: st.SearchStrategy[Strategy] = st.one_of(
    st.builds(AllReduce),
    st.builds(FedAvg, fraction=FRACTIONS, local_epochs=st.integers(1, 9)),
    st.builds(Gossip, topology=st.sampled_from([Ring(), Complete(), Exponential()])),
    st.builds(LocalSGD, period=st.one_of(st.just("epoch"), st.integers(1, 99))),
    st.builds(ParameterServer, consistency=st.sampled_from(["sync", "async"])),
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
SPECIFICATIONS = st.builds(
    Specification,
    strategy=STRATEGIES,
    cluster=CLUSTERS,
    workers=st.integers(2, 1000),
    epochs=st.one_of(st.none(), st.integers(1, 100)),
    batch_size=st.integers(1, 1000),
    lr=FRACTIONS,
    lr_scaling=st.sampled_from(["none", "linear"]),
    schedule=SCHEDULES,
    warm_up=FRACTIONS,
    optimizer=st.builds(SGD, momentum=st.floats(0.1, 0.9), nesterov=st.booleans(), clip_norm=st.none() | FRACTIONS),
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
        ({"lr": "0.1"}, "lr in the specification must be float, not '0.1'"),
        ({"lr": True}, "lr in the specification must be float, not True"),
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
        ({"optimizer": {"momentum": 2}}, "momentum must be at least 0 and below 1"),
        ({"strategy": {}}, "strategy in the specification has the unknown strategy 'None': choose from all-reduce"),
        ({"strategy": {"name": "gossip", "topology": "star"}}, "unknown topology 'star'"),
        ({"cluster": {"name": "cloud"}}, "unknown cluster 'cloud': choose from simulated, processes"),
        ({"cluster": {"name": "simulated", "slow": "3:4"}}, "slow in cluster in the specification must be"),
        ({"cluster": {"name": "simulated", "slow": [3]}}, "slow in cluster in the specification must be"),
        ({"colour": "red"}, "the specification has the unknown field 'colour': it takes augment, batch_size"),
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
