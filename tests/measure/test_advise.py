"""Advice: ranked by throughput times statistical efficiency, and honest about what it does not know."""

import math
from dataclasses import replace

import pytest

from manyhands.clusters.cluster import Simulated
from manyhands.clusters.simulated.profile import DeviceProfile
from manyhands.measure.advise import Advice, averages_gradients, rank
from manyhands.measure.networks import parse_network
from manyhands.measure.noise_scale import Noise, Reference
from manyhands.measure.predict import Predictions, Predictor, grid, predict
from manyhands.runs.specification import Specification
from manyhands.strategies import parse_strategy
from manyhands.tasks.registry import outline_task

NOMINAL = DeviceProfile.load("nominal")


def reference(scale: float, reached: bool = True) -> Reference:
    return Reference(
        batch_size=32,
        lr=0.1,
        training_samples=6000,
        points=tuple(Noise(place, 0.01, 0.01 * scale) for place in range(12)),
        samples=12_000,
        before=10_500,
        reached=reached,
        accuracy=0.9,
    )


def predictions(*strategies: str, profile: DeviceProfile = NOMINAL, network: str = "10G") -> Predictions:
    configurations = grid(
        Specification(task="mnist-mini/logistic"),
        Simulated(),
        strategies=map(parse_strategy, strategies),
        workers=[2, 16],
        networks=[parse_network(network)],
        batch_sizes=[32],
    )
    return predict(configurations, Predictor(outline_task("mnist-mini/logistic"), profile))


def test_goodput_is_throughput_times_efficiency() -> None:
    options = rank(predictions("single", "all-reduce").predicted, reference(1000.0))
    assert len(options) == 3
    for option in options:
        prediction = option.prediction
        workers = prediction.configuration.workers
        assert option.total_batch == workers * 32
        samples = option.total_batch * prediction.steps_per_epoch
        assert option.throughput.value == pytest.approx(samples / prediction.epoch_seconds.value)
        assert option.statistical_efficiency.value == pytest.approx(1032 / (1000 + option.total_batch))
        assert option.goodput.value == pytest.approx(option.throughput.value * option.statistical_efficiency.value)
        assert option.seconds is not None
        assert option.seconds.value == pytest.approx(11_250 / option.goodput.value)
        assert option.lr == pytest.approx(0.1 * workers * 1032 / (1000 + option.total_batch))
        # Only when the target was reached is unsure here: 750 samples of 11,250.
        assert option.seconds.half == pytest.approx(option.seconds.value * 750 / 11_250)
    assert options == sorted(options, key=lambda option: option.seconds.value if option.seconds else 0)


def test_large_batches_are_worth_it_where_gradients_are_noisy() -> None:
    found = predictions("all-reduce").predicted
    noisy, clear = rank(found, reference(1e5)), rank(found, reference(1.0))
    assert [option.prediction.configuration.workers for option in noisy] == [16, 2]
    assert [option.prediction.configuration.workers for option in clear] == [2, 16]


def test_an_unreached_target_leaves_times_unknown() -> None:
    options = rank(predictions("all-reduce").predicted, reference(1e5, reached=False))
    assert [option.seconds for option in options] == [None, None]
    assert options[0].goodput.value > options[1].goodput.value


def test_infinite_noise_wastes_nothing() -> None:
    lost = replace(reference(1), points=tuple(Noise(0, -1.0, 1.0) for _ in range(4)))
    (best, _) = rank(predictions("all-reduce").predicted, lost)
    assert best.statistical_efficiency.value == 1
    assert best.lr == pytest.approx(0.1 * 16)
    content = Advice(target=0.9, reference=lost, options=[best], predictions=predictions("all-reduce")).to_json()
    assert content["reference"]["noise_scale"] is None


def test_a_profile_s_spread_makes_times_less_sure() -> None:
    spread = replace(NOMINAL, compute_spread=0.2, link_spread=0.2)
    sure, unsure = (rank(predictions("all-reduce", profile=one).predicted, reference(100)) for one in (NOMINAL, spread))
    for first, second in zip(sure, unsure, strict=True):
        assert first.seconds is not None
        assert second.seconds is not None
        relative = second.seconds.half / second.seconds.value  # type: ignore[operator]
        assert relative == pytest.approx(math.hypot(750 / 11_250, second.throughput.half / second.throughput.value))  # type: ignore[operator]
        assert second.seconds.half > first.seconds.half  # type: ignore[operator]


@pytest.mark.parametrize(
    "strategy",
    ["single", "all-reduce", "all-reduce:collective=tree", "parameter-server", "data-parallel", "peer-gradients"],
)
def test_exact_means_are_what_the_theory_is_of(strategy: str) -> None:
    assert averages_gradients(parse_strategy(strategy))


@pytest.mark.parametrize(
    "strategy",
    [
        *("local-sgd", "gossip", "ad-psgd", "fedavg", "diloco", "all-reduce:combine=adasum", "elastic-averaging"),
        *(
            "parameter-server:consistency=async",
            "parameter-server:consistency=ssp:1",
            "all-reduce:compression=top-k:0.1",
        ),
    ],
)
def test_all_others_are_marked(strategy: str) -> None:
    assert not averages_gradients(parse_strategy(strategy))


def test_rounds_are_counted_in_samples() -> None:
    (option, _) = rank(predictions("fedavg:fraction=0.5").predicted, reference(1e5))
    assert option.optimistic
    assert option.throughput.value == pytest.approx(6000 / option.prediction.epoch_seconds.value)
