"""What is particular to single methods; what all have in common is tested under conformance."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from manyhands import lab
from manyhands.clusters.cluster import Simulated
from manyhands.errors import UserError
from manyhands.runs.specification import Specification
from manyhands.strategies import FedAvg, Gossip, LocalSGD, ParameterServer, Single, Strategy
from manyhands.strategies.consistency import Async
from manyhands.tasks.task import Task


def line() -> nn.Module:
    return nn.Linear(3, 2)


def train(
    strategy: Strategy, folder: Path, workers: int = 4, **options: Any
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """History and ledger of a run on 64 samples."""
    inputs = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    samples = (inputs, inputs[:, 0].gt(0).long())
    specification = Specification(strategy=strategy, workers=workers, **({"batch_size": 8} | options))
    lab.train(specification, task=Task(model=line, train=samples, test=samples), out=folder)
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return history, json.loads((folder / "ledger.json").read_text())


def test_single_has_one_worker() -> None:
    assert Specification(strategy=Single()).workers == 1
    with pytest.raises(UserError, match="single trains on one worker: use --workers 1, not 3"):
        Specification(strategy=Single(), workers=3)


def messages(ledger: dict[str, Any]) -> list[int]:
    return [node["messages_sent"] for node in ledger["nodes"]]


@pytest.mark.parametrize(("period", "averagings"), [(1, 12), (4, 4), (100, 2), ("epoch", 2)])
def test_local_sgd_averages_every_period_and_at_the_end_of_each_epoch(
    period: Any, averagings: int, tmp_path: Path
) -> None:
    """Two epochs of six steps: with a period of four after steps 4, 6, 8 and 12."""
    history, ledger = train(LocalSGD(period=period), tmp_path / "run", batch_size=3, epochs=2)
    assert messages(ledger) == [averagings * 2 * 3] * 4
    assert [row["consensus"] for row in history] == pytest.approx([0, 0, 0], abs=1e-6)


def test_gossip_talks_to_the_neighbours_after_each_step(tmp_path: Path) -> None:
    history, ledger = train(Gossip(), tmp_path / "run", epochs=3)
    assert messages(ledger) == [3 * 2 * 2] * 4
    assert history[0]["consensus"] == 0
    assert all(row["consensus"] > 0 for row in history[1:])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"fraction": 0}, r"--strategy.fraction of fedavg must lie in \(0, 1\], not 0"),
        ({"fraction": 1.5}, r"--strategy.fraction of fedavg must lie in \(0, 1\], not 1.5"),
        ({"fraction": float("nan")}, "--strategy.fraction of fedavg must lie in"),
        ({"local_epochs": 0}, "--strategy.local-epochs of fedavg must be positive, not 0"),
    ],
)
def test_fedavg_refuses_what_makes_no_sense(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        FedAvg(**options)


def test_fedavg_invites_another_cohort_each_round(tmp_path: Path) -> None:
    history, ledger = train(FedAvg(fraction=0.5), tmp_path / "run", rounds=12)
    *workers, server = messages(ledger)
    assert server == sum(workers) == 2 * 12
    assert all(0 < sent < 12 for sent in workers)
    assert [row["round"] for row in history] == list(range(13))
    assert history[-1]["epoch"] == 6


def test_fedavg_invites_somebody_at_least(tmp_path: Path) -> None:
    _, ledger = train(FedAvg(fraction=0.01), tmp_path / "run", rounds=3)
    assert messages(ledger)[-1] == 3


def test_fedavg_trains_several_local_epochs_between_two_averagings(tmp_path: Path) -> None:
    """With no communication in between, two local epochs of one worker are two of its rounds."""
    one, _ = train(FedAvg(local_epochs=2), tmp_path / "one", workers=1, rounds=1)
    two, _ = train(FedAvg(local_epochs=1), tmp_path / "two", workers=1, rounds=2)
    assert one[-1]["test_loss"] == pytest.approx(two[-1]["test_loss"], rel=1e-6)
    assert one[-1]["bytes"] * 2 == two[-1]["bytes"]


def test_a_server_that_does_not_wait_hears_most_from_the_fast(tmp_path: Path) -> None:
    """An epoch is as many gradients as for the others, whoever makes them."""
    cluster = Simulated(slow=("0:4",))
    _, ledger = train(ParameterServer(consistency=Async()), tmp_path / "run", epochs=10, cluster=cluster)
    *workers, server = messages(ledger)
    assert sum(workers) == server == 4 * 2 * 10
    assert workers[0] < min(workers[1:])
    _, ledger = train(ParameterServer(), tmp_path / "sync", epochs=10, cluster=cluster)
    assert messages(ledger) == [20, 20, 20, 20, 80]
