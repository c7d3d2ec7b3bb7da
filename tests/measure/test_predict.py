"""Predictions: short rehearsals stand for whole ones, intervals come from the profile, and reasons are given."""

from dataclasses import replace

import pytest
import torch

from manyhands import lab
from manyhands.clusters.cluster import Simulated
from manyhands.clusters.node import Node
from manyhands.clusters.simulated.profile import DeviceProfile
from manyhands.clusters.simulated.rehearsal import Rehearsal
from manyhands.errors import RunError, UserError
from manyhands.measure.networks import parse_network
from manyhands.measure.predict import Configuration, Prediction, Predictor, check_profile, grid, mismatches, predict
from manyhands.runs.specification import Specification
from manyhands.strategies import STRATEGIES, Single, Strategy, parse_strategy
from manyhands.strategies.base import register
from manyhands.tasks.models import build
from manyhands.tasks.partition import Dirichlet
from manyhands.tasks.task import Task

NOMINAL = DeviceProfile.load("nominal")
NETWORK = parse_network("100Mbit/s,200us")


def make_task(samples: int) -> Task:
    inputs = torch.zeros(1, 1, 1, 1).expand(samples, 1, 28, 28)
    targets = torch.arange(samples) % 10
    return Task(model=lambda: build("logistic", (1, 28, 28), 10), train=(inputs, targets), test=(inputs, targets))


def configuration(strategy: str, workers: int, cluster: Simulated | None = None, **options: object) -> Configuration:
    return Configuration(
        strategy=parse_strategy(strategy),
        workers=workers,
        network=NETWORK,
        batch_size=8,
        cluster=cluster or Simulated(),
        base=Specification(**({"epochs": 1} | options)),  # type: ignore[arg-type]
    )


def both(wanted: Configuration, task: Task) -> tuple[Prediction, Rehearsal]:
    return Predictor(task, NOMINAL).predict(wanted), lab.rehearse(wanted.specification, task=task)


PERIODIC = [
    *("all-reduce", "all-reduce:collective=tree", "all-reduce:compression=powersgd:1", "parameter-server"),
    *("parameter-server:servers=3", "data-parallel", "peer-gradients", "gossip", "gossip:topology=star"),
    *("gossip:topology=one-peer-exponential", "push-sum", "local-sgd", "local-sgd:period=7", "slow-momentum:period=4"),
    *("diloco", "diloco:period=6,fragments=2", "post-local-sgd:period=3", "post-local-sgd:switch=0.3,period=2"),
]


@pytest.mark.parametrize("strategy", PERIODIC)
@pytest.mark.parametrize(("workers", "steps"), [(4, 61), (5, 48)])
def test_a_few_steps_stand_for_an_epoch_exactly(strategy: str, workers: int, steps: int) -> None:
    task = make_task(8 * workers * steps - 3)
    prediction, whole = both(configuration(strategy, workers), task)
    assert prediction.exact
    assert prediction.steps_per_epoch == steps
    assert prediction.epoch_seconds.value == pytest.approx(whole.seconds, rel=1e-9)
    assert prediction.step_seconds.value == pytest.approx(whole.seconds / steps, rel=1e-9)
    ledgers = [whole.ledgers[rank] for rank in range(workers)]
    talk = sum(ledger.exposed + ledger.waiting for ledger in ledgers)
    times = sum(ledger.compute + ledger.compression for ledger in ledgers) + talk
    assert prediction.communication.value == pytest.approx(talk / times, rel=1e-9)
    sent = sum(ledger.bytes_sent for ledger in ledgers)
    assert prediction.bytes_per_step == pytest.approx(sent / workers / steps, rel=1e-12)


def test_short_rehearsals_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    from manyhands.measure import epochs as module

    steps: list[int] = []
    rehearse = module.rehearse

    def counting(outline, *arguments):  # type: ignore[no-untyped-def]
        steps.append(outline.plan.steps_per_epoch)
        return rehearse(outline, *arguments)

    monkeypatch.setattr(module, "rehearse", counting)
    both(configuration("local-sgd:period=10", 4), make_task(32 * 1003))
    assert steps == [3, 13, 23, 3, 4, 5]  # 1003 ≡ 3 (mod 10); then one worker, whose 4012 steps are all alike


@pytest.mark.parametrize(
    ("strategy", "cluster"),
    [
        ("all-reduce", Simulated(slow=("1:3",))),
        ("gossip", Simulated(slow=("2:2",))),
        ("parameter-server", Simulated(slow=("0:4",))),
        ("local-sgd:period=5", Simulated(slow=("0:1.5", "3:2"))),
    ],
)
def test_with_slow_workers_too(strategy: str, cluster: Simulated) -> None:
    prediction, whole = both(configuration(strategy, 4, cluster), make_task(32 * 50))
    assert prediction.epoch_seconds.value == pytest.approx(whole.seconds, rel=1e-9)


@pytest.mark.parametrize(
    ("strategy", "cluster", "tolerance"),
    [
        ("parameter-server:consistency=async", Simulated(), 0.03),
        ("parameter-server:consistency=ssp:2", Simulated(), 0.03),
        ("ad-psgd", Simulated(), 0.03),
        ("elastic-averaging", Simulated(), 0.03),
        ("all-reduce", Simulated(jitter=0.2), 0.03),
    ],
)
def test_where_steps_do_not_repeat_the_prediction_is_near(strategy: str, cluster: Simulated, tolerance: float) -> None:
    task = make_task(8 * 40 * 450)
    prediction, whole = both(configuration(strategy, 40, cluster), task)
    assert not prediction.exact
    assert prediction.epoch_seconds.value == pytest.approx(whole.seconds, rel=tolerance)


@pytest.mark.parametrize("strategy", ["fedavg", "fedavg:fraction=0.4,local_epochs=2", "parameter-server"])
def test_short_epochs_and_rounds_are_rehearsed_whole(strategy: str) -> None:
    task = make_task(5 * 8 * 4)
    prediction, whole = both(configuration(strategy, 5), task)
    epochs = whole.samples / 160
    assert prediction.exact
    assert prediction.epoch_seconds.value == pytest.approx(whole.seconds / epochs, rel=1e-12)


def test_the_mean_of_several_epochs() -> None:
    task = make_task(4 * 8 * 30)
    prediction, whole = both(configuration("post-local-sgd:switch=0.5", 4, epochs=2), task)
    assert prediction.epoch_seconds.value == pytest.approx(whole.seconds / 2, rel=1e-9)


def test_speedup_and_efficiency_are_against_one_worker_that_is_not_slow() -> None:
    task = make_task(4 * 8 * 30)
    prediction = Predictor(task, NOMINAL).predict(configuration("all-reduce", 4, Simulated(slow=("0:3",))))
    single = lab.rehearse(configuration("single", 1).specification, task=task).seconds
    assert prediction.speedup.value == pytest.approx(single / prediction.epoch_seconds.value, rel=1e-9)
    assert prediction.efficiency.value == pytest.approx(prediction.speedup.value / 4, rel=1e-12)


def test_one_worker_is_its_own_measure() -> None:
    prediction = Predictor(make_task(800), NOMINAL).predict(configuration("single", 1))
    assert prediction.speedup.value == prediction.efficiency.value == pytest.approx(1, abs=1e-12)
    assert prediction.communication.value == prediction.bytes_per_step == 0


# ---- intervals


def test_a_profile_without_spread_gives_no_interval() -> None:
    prediction = Predictor(make_task(800), NOMINAL).predict(configuration("all-reduce", 4))
    assert prediction.epoch_seconds.half is None
    assert prediction.to_json()["epoch_seconds"] == {"value": prediction.epoch_seconds.value, "low": None, "high": None}


def test_the_interval_is_that_of_the_spreads() -> None:
    task, wanted = make_task(4 * 8 * 30), configuration("parameter-server", 4)
    spread = replace(NOMINAL, compute_spread=0.1, link_spread=0.04)
    prediction = Predictor(task, spread).predict(wanted)
    value, *corners = [
        Predictor(task, profile).predict(wanted).epoch_seconds.value
        for profile in (NOMINAL, NOMINAL.scaled(compute=1.1), NOMINAL.scaled(link=1.04))
    ]
    assert prediction.epoch_seconds.value == value
    half = sum((corner - value) ** 2 for corner in corners) ** 0.5
    assert prediction.epoch_seconds.half == pytest.approx(half, rel=1e-9)
    assert half > 0
    assert prediction.epoch_seconds.low == pytest.approx(value - half)


def test_speedup_is_surer_than_time_where_computing_is_all() -> None:
    spread = replace(NOMINAL, compute_spread=0.1)
    prediction = Predictor(make_task(800), spread).predict(configuration("single", 1))
    assert prediction.epoch_seconds.half == pytest.approx(0.1 * prediction.epoch_seconds.value, rel=1e-3)
    assert prediction.speedup.half == pytest.approx(0, abs=1e-9)


# ---- the grid, and what cannot be predicted


def test_a_grid_has_every_combination_once_and_single_alone() -> None:
    made = grid(
        Specification(),
        Simulated(slow=("1:2",)),
        strategies=[Single(), parse_strategy("gossip")],
        workers=[2, 4, 4],
        networks=[NETWORK, parse_network("1G")],
        batch_sizes=[8, 16],
    )
    assert len(made) == 2 * 2 * (1 + 2)
    assert all(one.specification.workers == 1 and not one.cluster.slow for one in made if one.strategy.name == "single")
    assert {(one.workers, one.batch_size) for one in made if one.strategy.name == "gossip"} == {
        *((2, 8), (4, 8), (2, 16), (4, 16))
    }
    assert made[-1].specification.cluster == Simulated(slow=("1:2",), bandwidth="1Gbit/s", latency="50us")


class Curious(Strategy):
    async def worker(self, node: Node) -> None:
        async for batch in node.batches():
            if (await node.gradient(batch)).norm() > 1:
                node.step(await node.gradient(batch))


@pytest.fixture
def curious(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("manyhands.strategies.base.STRATEGIES", dict(STRATEGIES))
    monkeypatch.setattr(Curious, "name", "curious", raising=False)
    register("curious")(Curious)
    return "curious"


def test_a_strategy_that_looks_at_values_is_named_with_the_reason(curious: str) -> None:
    with pytest.raises(RunError, match="curious cannot be predicted without learning: __bool__ needs the values"):
        predict([configuration(curious, 2)], Predictor(make_task(80), NOMINAL))


def test_what_cannot_be_predicted_stands_beside_what_can(curious: str) -> None:
    wanted = [
        configuration(curious, 2),
        configuration("all-reduce:combine=adasum", 3),
        configuration("gossip", 1000),
        configuration("gossip", 2),
    ]
    seen: list[Configuration] = []
    predictions = predict(wanted, Predictor(make_task(80), NOMINAL), show=seen.append)
    assert seen == wanted
    assert [one.configuration for one in predictions.predicted] == wanted[3:]
    assert [one for one, _ in predictions.refused] == wanted[:3]
    reasons = [why for _, why in predictions.refused]
    assert "__bool__" in reasons[0]
    assert "power of two" in reasons[1]
    assert "1000 is more than the 80" in reasons[2]
    content = predictions.to_json()
    assert [row["strategy"] for row in content["predictions"]] == ["gossip"]
    assert [row["why"] for row in content["not_predicted"]] == reasons


def test_a_skewed_partition_is_predicted_with_its_sizes() -> None:
    task = make_task(200)
    prediction, whole = both(configuration("fedavg", 4, partition=Dirichlet(0.3)), task)
    assert prediction.epoch_seconds.value == pytest.approx(whole.seconds, rel=1e-12)
    assert whole.seconds != lab.rehearse(configuration("fedavg", 4).specification, task=task).seconds


# ---- profiles of another task or machine


def test_a_profile_that_says_nothing_fits_everywhere() -> None:
    assert mismatches(NOMINAL, "mnist/cnn", {"cpu": "A"}) == []
    assert check_profile(NOMINAL, "mnist/cnn", strict=True) == []


def test_what_differs_is_named() -> None:
    there = replace(NOMINAL, name="laptop", task="mnist/cnn", hardware={"cpu": "A", "cores": 4, "memory_gib": 1})
    assert mismatches(there, "mnist/cnn", {"cpu": "A", "cores": 4, "memory_gib": 9}) == []
    differences = mismatches(there, "mnist/lenet5", {"cpu": "B", "cores": 4})
    assert differences == ["it was measured on the task mnist/cnn, not mnist/lenet5", "its cpu is A, here it is B"]
    assert len(check_profile(there, "mnist/lenet5", strict=False)) >= 2
    with pytest.raises(UserError, match=r"laptop may not fit: it was measured on the task mnist/cnn.* --strict"):
        check_profile(there, "mnist/lenet5", strict=True)
