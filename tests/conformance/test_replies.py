"""Robust aggregation, masks, noise and attacks, with every federated method and on both clusters."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from table import Interrupt, Run, distance, flat, initial_module, specify, train
from toys import Normed, Plain, toy

from manyhands import lab
from manyhands.clusters.cluster import Simulated
from manyhands.clusters.faults import FAULTS
from manyhands.errors import UserError
from manyhands.runs.specification import Specification
from manyhands.strategies import STRATEGIES, parse_strategy
from manyhands.strategies.replies import Replies
from manyhands.tasks.partition import PARTITIONS

if TYPE_CHECKING:
    from fleet import Fleet

IN_ROUNDS = [name for name, kind in STRATEGIES.items() if issubclass(kind, Replies) and not kind.asynchronous]
AT_ONCE = [name for name, kind in STRATEGIES.items() if issubclass(kind, Replies) and kind.asynchronous]
WORKERS = 6
FEW = 3
"""workers of the cases: with a server as many processes as other tests have"""
PARTS = {FEW: "portions:0.3,0.5,0.2", WORKERS: "portions:0.1,0.2,0.15,0.1,0.2,0.25"}
"""unequal, so that weights of samples matter, and none with a last batch of one sample, which batch norm cannot do"""
VARIANTS = [
    "fedavg:secure=true",
    "fedavg:secure=true,fraction=0.67,aggregation=uniform",
    "fedavg:privacy=dp:0.5,0.3",
    "fedavg:privacy=dp:0.5,0.3,secure=true,fraction=0.67",
    "fedavg:aggregation=median",
    "fedavg:aggregation=trimmed-mean:0.34",
    "fedavg:aggregation=krum:0",
    "fedavg:aggregation=multi-krum:0,2",
    "fedavg:aggregation=geometric-median",
    "fedavg:aggregation=clipped:0.2",
    "parameter-server:aggregation=median",
    "parameter-server:aggregation=krum:0,consistency=ssp:2",
    "parameter-server:aggregation=trimmed-mean:0.34,servers=2",
]
SPOILT = {
    "fedavg:aggregation=median": ("sign-flip:0.34,scale=5", "drop-out:0.3"),
    "fedavg:secure=true": ("drop-out:0.2", "scaled-update:0.34"),
    "fedavg:fraction=0.67,compression=int8": ("gaussian:0.34,std=0.01", "label-flip:0.67"),
    "parameter-server": ("sign-flip:0.34", "gaussian:0.34,std=0.01", "label-flip:0.67"),
}
CASES = [(variant, ()) for variant in VARIANTS] + list(SPOILT.items())


def cases(given: list[tuple[str, tuple[str, ...]]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("variant", "faults"), given, ids=[" ".join([v, *f]) for v, f in given])


def skewed(variant: str, faults: tuple[str, ...] = (), workers: int = WORKERS, **options: Any) -> Specification:
    given = {"partition": PARTITIONS.parse(PARTS[workers]), "faults": tuple(map(FAULTS.parse, faults))}
    length = {} if {"rounds", "epochs"} & options.keys() else {"epochs": 3}
    return specify(variant, workers, **(given | length | options))


@pytest.mark.parametrize("name", IN_ROUNDS)
def test_masks_change_nothing(name: str, tmp_path: Path) -> None:
    runs = [
        train(skewed(variant, rounds=4), toy(Normed), tmp_path / str(place))
        for place, variant in enumerate((name, f"{name}:secure=true"))
    ]
    assert distance(runs[0].weights, runs[1].weights) <= 1e-6


@pytest.mark.parametrize("name", IN_ROUNDS)
@pytest.mark.parametrize("aggregation", ["median", "multi-krum:1,4"])
def test_every_method_withstands_a_liar(name: str, aggregation: str, tmp_path: Path) -> None:
    """It learns something by robust aggregations, of coordinates and of whole replies: of two vectors, or a part."""
    even, liar = PARTITIONS.parse("iid"), ("sign-flip:clients=2,scale=10",)
    specification = skewed(f"{name}:aggregation={aggregation}", liar, partition=even, rounds=6)
    run = train(specification, toy(), tmp_path / "run")
    assert run.weights.isfinite().all()
    if name != "fedper":  # whose server has no head of its own
        assert run.history[-1]["test_loss"] < run.history[0]["test_loss"]


@pytest.mark.parametrize("fault", ["sign-flip:0.34,scale=10", "gaussian:0.34,std=3"])
def test_two_attackers_of_six_do_less_harm(fault: str, tmp_path: Path) -> None:
    """Wrong labels are not among the attacks: where all hold alike data two of six do too little harm to be seen."""
    options: dict[str, Any] = {"partition": PARTITIONS.parse("iid"), "rounds": 8, "lr": 0.2}

    def loss(aggregation: str, *faults: str) -> float:
        specification = skewed(f"fedavg:aggregation={aggregation}", faults, **options)
        return float(train(specification, toy(), tmp_path / f"{aggregation} {len(faults)}").history[-1]["test_loss"])

    unharmed, harmed = loss("uniform"), loss("mean", fault)
    for aggregation in ("median", "trimmed-mean:0.34", "geometric-median"):
        assert loss(aggregation, fault) - unharmed < 0.1 * (harmed - unharmed)


@cases(CASES)
def test_a_rehearsal_takes_what_the_run_takes(variant: str, faults: tuple[str, ...], tmp_path: Path) -> None:
    specification = skewed(variant, faults, FEW, cluster=Simulated(jitter=0.3, threads=1, bandwidth="10Mbit/s"))
    rehearsal = lab.rehearse(specification, task=toy(Normed))
    run = train(specification, toy(Normed), tmp_path / "run")
    assert rehearsal.seconds == run.ledger["seconds"] > 0
    assert [tuple(row) for row in rehearsal.rows] == [
        (row["completed"], row["seconds"], row["bytes"]) for row in run.history
    ]


@cases(CASES)
def test_resumed_is_uninterrupted(variant: str, faults: tuple[str, ...], tmp_path: Path) -> None:
    task, specification = toy(Normed), skewed(variant, faults, FEW, epochs=4)
    whole = train(specification, task, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(specification, task, tmp_path / "broken", observer=Interrupt(2))
    assert Run(lab.resume(tmp_path / "broken", task=task)).files() == whole.files()


ORDERED = [case for case in CASES if parse_strategy(case[0]).synchronous and "servers" not in case[0]]
"""which do not depend on the order of messages, and have one server"""


@cases(ORDERED)
def test_processes_end_with_the_simulated_weights_and_bytes(
    variant: str, faults: tuple[str, ...], fleet: Callable[[int], "Fleet"], tmp_path: Path
) -> None:
    specification = skewed(variant, faults, FEW)
    simulated = train(specification, toy(Normed), tmp_path / "simulated")
    real = fleet(specification.nodes).train(specification, toy(Normed), tmp_path / "real")
    assert distance(simulated.weights, real.weights) <= 1e-6
    sent = [[node["bytes_sent"] for node in run.ledger["nodes"]] for run in (simulated, real)]
    assert sent[0] == sent[1]


def test_a_masked_reply_takes_eight_bytes_a_number_and_a_weight(tmp_path: Path) -> None:
    runs = [train(skewed(variant), toy(), tmp_path / variant) for variant in ("fedavg", "fedavg:secure=true")]
    plain, masked = ([node["bytes_sent"] for node in run.ledger["nodes"]] for run in runs)
    rounds = runs[0].history[-1]["completed"]
    assert masked[:-1] == [2 * sent + 8 * rounds for sent in plain[:-1]]
    assert masked[-1] == plain[-1] + WORKERS * 8 * WORKERS * rounds  # who takes part, to each


def test_the_server_sees_nothing_but_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    combine = Replies.combine

    def watched(self: Replies, node: Any, replies: Any) -> Any:
        seen.append([reply.tensors for reply in replies])
        return combine(self, node, replies)

    monkeypatch.setattr(Replies, "combine", watched)
    train(skewed("fedavg:secure=true", rounds=2), toy(), tmp_path / "run")
    assert len(seen) == 2
    for tensors in (tensors for replies in seen for tensors in replies):
        (hidden,) = tensors
        assert hidden.dtype == torch.int64
        assert float(hidden.double().abs().median()) > 2.0**59  # of uniform numbers it is 2**62


def test_rounds_from_which_somebody_is_missing_are_lost(tmp_path: Path) -> None:
    """With masks, and where too few are left for an aggregation."""
    specification = skewed("fedavg:secure=true", ("drop-out:1,clients=3",), rounds=3)
    start = flat({name: tensor.detach() for name, tensor in initial_module(specification, toy()).state_dict().items()})
    for place, variant in enumerate(("fedavg:secure=true", "fedavg:aggregation=multi-krum:1,5")):
        run = train(skewed(variant, ("drop-out:1,clients=3",), rounds=3), toy(), tmp_path / str(place))
        assert torch.equal(run.weights, start)
    left = skewed("fedavg:aggregation=multi-krum:1,4", ("drop-out:1,clients=3",), rounds=3)
    unharmed = train(left, toy(), tmp_path / "left")
    assert not torch.equal(unharmed.weights, start)


def test_noise_that_is_nothing_and_a_clip_that_is_large_are_the_uniform_mean(tmp_path: Path) -> None:
    runs = [
        train(skewed(f"fedavg:{options}", rounds=3), toy(Normed), tmp_path / str(place))
        for place, options in enumerate(("aggregation=uniform", "privacy=dp:1000,1e-12"))
    ]
    assert distance(runs[0].weights, runs[1].weights) <= 1e-6


def test_one_client_moves_the_model_by_no_more_than_the_clip_over_the_cohort(tmp_path: Path) -> None:
    """The same noise, one client more or less, whatever it has learnt."""
    whole, without = (
        train(skewed("fedavg:privacy=dp:0.05,1", faults, rounds=1, lr=1.0), toy(), tmp_path / str(len(faults)))
        for faults in ((), ("drop-out:1,clients=4",))
    )
    assert 0 < float((whole.weights - without.weights).norm()) <= 0.05 / WORKERS * (1 + 1e-3)


def test_a_private_run_says_what_it_promises(tmp_path: Path) -> None:
    run = train(skewed("fedavg:privacy=dp:0.5,1.5,delta=1e-4,fraction=0.5", rounds=7), toy(Plain), tmp_path / "run")
    facts = json.loads((run.folder / "run.json").read_text())["facts"]
    assert (facts["delta"], facts["sampling_rate"]) == (1e-4, 0.5)
    assert 0.5 < facts["epsilon"] < 50
    assert "Poisson" in facts["sampling"]


# ---- what does not go together

REFUSED = {
    "fedavg:secure=true,aggregation=median": "--strategy.secure adds up the clients' replies, and median looks at each",
    "fedavg:secure=true,aggregation=clipped:1": "use --strategy.aggregation mean or uniform",
    "fedavg:secure=true,compression=int8": "--strategy.secure adds up whole replies: leave out --strategy.compression",
    "fedavg:secure=true,fraction=0.1": "the sum of one client's reply hides nothing: have 2 or more take part",
    "fedavg:secure=true,fraction=0.5,over_selection=0.3": "leave out --strategy.over-selection",
    "fedavg:privacy=dp:1,1,aggregation=krum:1": "--strategy.privacy dp:1.0,1.0 adds up the clients' replies, and krum",
    "fedavg:privacy=dp:1,1,compression=top-k:0.1": "leave out --strategy.compression top-k:0.1",
    "fedavg:aggregation=krum:2": "aggregation krum:2 needs the updates of at least 7 clients, and gets those of 6",
    "fedavg:aggregation=krum:1,fraction=0.5": "aggregation krum:1 needs the updates of at least 5 clients",
    "fedavg:aggregation=trimmed-mean:0.1": "leaves out nobody of 6 clients: use a fraction of at least 0.167",
    "parameter-server:aggregation=krum:2": "needs the updates of at least 7 clients",
    "parameter-server:aggregation=median,consistency=async": "aggregation median needs the gradients of all workers",
    "parameter-server:aggregation=krum:1,servers=2": "judges whole gradients, which several servers cut",
}


@pytest.mark.parametrize("variant", REFUSED)
def test_what_does_not_go_together_is_refused(variant: str) -> None:
    with pytest.raises(UserError) as refusal:
        skewed(variant)
    assert REFUSED[variant] in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", AT_ONCE)
@pytest.mark.parametrize("option", ["secure=true", "privacy=dp:1,1"])
def test_without_rounds_there_are_no_sums(name: str, option: str) -> None:
    with pytest.raises(UserError, match=rf"needs rounds that all clients of a cohort share: {name} has none"):
        skewed(f"{name}:{option}")
