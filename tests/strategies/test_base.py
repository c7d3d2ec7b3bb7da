from dataclasses import dataclass
from pathlib import Path

import pytest

import manyhands.strategies
from manyhands.compression import TopK
from manyhands.errors import UserError
from manyhands.runs.specification import Specification
from manyhands.strategies import (
    STRATEGIES,
    FedAvg,
    FedBuff,
    FedOpt,
    Gossip,
    LocalSGD,
    ParameterServer,
    Single,
    Strategy,
    parse_strategy,
)
from manyhands.strategies.base import register
from manyhands.strategies.consistency import Async
from manyhands.strategies.server_optimizer import ServerAdam
from manyhands.strategies.staleness import Hinge
from manyhands.strategies.topology import Complete, RandomRegular

WRITTEN = {
    "single": Single(),
    "fedavg:fraction=0.1,local_epochs=5": FedAvg(fraction=0.1, local_epochs=5),
    "gossip:topology=complete": Gossip(topology=Complete()),
    "local-sgd:period=4": LocalSGD(period=4),
    "gossip:compression=top-k:0.1,topology=random-regular:3,5": Gossip(
        topology=RandomRegular(3, seed=5), compression=TopK(0.1)
    ),
    "local-sgd": LocalSGD(period="epoch"),
    "parameter-server:consistency=async,staleness_aware=true": ParameterServer(
        consistency=Async(), staleness_aware=True
    ),
    "fedopt:server_optimizer=adam:0.1,beta2=0.9": FedOpt(server_optimizer=ServerAdam(0.1, beta2=0.9)),
    "fedbuff:fraction=0.5,staleness=hinge:1.0,2.0,buffer=8": FedBuff(buffer=8, fraction=0.5, staleness=Hinge(1.0, 2.0)),
}


@pytest.mark.parametrize("text", WRITTEN)
def test_a_strategy_reads_as_it_is_written(text: str) -> None:
    assert parse_strategy(text) == WRITTEN[text]
    assert str(WRITTEN[text]) == text


def test_options_may_be_written_as_on_the_command_line() -> None:
    assert parse_strategy(" fedavg:local-epochs=5 ") == FedAvg(local_epochs=5)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("fedmax", r"unknown strategy 'fedmax': choose from .*fedavg.*single"),
        ("fedavg:mu=1", "strategy fedavg has no option 'mu'; it takes compression, fraction, .*local_epochs"),
        ("single:x=1", "strategy single has no option 'x'; it takes compression"),
        ("fedavg:fraction=all", "fraction must be a number, not 'all'"),
        ("fedavg:fraction", "fraction must be a number, not ''"),
        ("parameter-server:consistency=eventual", "unknown consistency 'eventual': choose from sync, async, ssp:BOUND"),
        ("gossip:topology=stars", "unknown topology 'stars': choose from ring, torus, star, complete"),
        ("local-sgd:period=often", "period must be a whole number or epoch, not 'often'"),
        ("local-sgd:period=0", "--strategy.period of local-sgd must be positive, not 0"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(text: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as refusal:
        parse_strategy(text)
    assert "\n" not in str(refusal.value)


def test_a_registered_strategy_can_be_named() -> None:
    try:

        @register("newcomer")
        @dataclass(frozen=True, kw_only=True)
        class Newcomer(Strategy):
            strength: int = 1

        assert parse_strategy("newcomer:strength=3") == Newcomer(strength=3)
    finally:
        del STRATEGIES["newcomer"]


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_is_documented(name: str) -> None:
    strategy = STRATEGIES[name]
    assert strategy.__doc__ is not None
    assert strategy.url.startswith("https://")
    assert any(year.strip(",").isdigit() for year in strategy.paper.split())
    assert strategy.__name__ in manyhands.strategies.__all__


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_can_be_read_in_class(name: str) -> None:
    folder = Path(manyhands.strategies.__file__).parent
    assert len((folder / f"{name.replace('-', '_')}.py").read_text().splitlines()) <= 200


def test_epochs_are_turned_into_rounds_that_draw_as_many_samples() -> None:
    assert FedAvg(fraction=0.1, local_epochs=5).rounds(epochs=10) == 20
    assert FedAvg(fraction=0.3).rounds(epochs=1) == 4
    assert LocalSGD().rounds(epochs=10) == 10
    assert FedBuff(fraction=0.1, local_epochs=5).rounds(epochs=10) == 2  # a round is as many trainings as clients


def test_where_clients_count_steps_rounds_must_be_given() -> None:
    strategy = FedAvg(local_steps=3)
    with pytest.raises(UserError, match=r"fedavg with --strategy.local-steps needs --rounds"):
        Specification(strategy=strategy, epochs=3)
    assert Specification(strategy=strategy, rounds=3).total == 3
