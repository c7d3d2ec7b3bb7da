"""Rounds of federated averaging that wait for nobody, or for those who come; all times are worked out by hand.

The weights are 40 bytes, which take 1 ms and a latency of 1 ms. To two clients at once they take 2 ms and 1 ms, so that
both begin at 3 ms. Each has four batches of 1 ms, client 1 of 10 ms. Its reply takes 2 ms: client 0's is there at 9 ms,
and client 1's at 45 ms.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from clockwork import clockwork, write
from safetensors.torch import load_file
from scripted import make_task, simulate

from manyhands import lab
from manyhands.clusters.cluster import Simulated
from manyhands.clusters.node import Node
from manyhands.errors import RunError, UserError
from manyhands.runs.specification import Specification
from manyhands.strategies import FedAvg, Strategy, parse_strategy
from manyhands.strategies.cohort import COHORTS

SLOW = ("1:10",)


def run(strategy: str | Strategy, folder: Path, rounds: int = 1, **options: Any) -> list[dict[str, Any]]:
    """The history of a run with two clients."""
    strategy = parse_strategy(strategy) if isinstance(strategy, str) else strategy
    simulate(strategy, folder, rounds=rounds, cluster=clockwork(folder.parent, **({"slow": SLOW} | options)))
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def times(history: list[dict[str, Any]]) -> list[float]:
    return [row["seconds"] for row in history]


def figures(history: list[dict[str, Any]]) -> dict[str, float]:
    """Those that are not zero."""
    return {name: number for name, number in history[-1]["figures"].items() if number}


@pytest.mark.parametrize(
    ("options", "end", "samples", "expected"),
    [
        ("", 0.045, 64, {"replies": 2}),
        ("deadline=1s", 0.045, 64, {"replies": 2}),
        # The word of 20 ms is there at 21 ms, in the second batch, which ends at 23 ms; an empty reply takes 1 ms.
        ("deadline=20ms", 0.024, 32 + 16, {"replies": 1, "late": 1}),
        # At 44 ms client 1 is through, and its whole reply is waited for.
        ("deadline=44ms", 0.045, 64, {"replies": 1, "late": 1}),
        # The first reply is there at 9 ms, the word at 10 ms, in the first batch, which ends at 13 ms.
        ("fraction=0.5,over_selection=1", 0.014, 32 + 8, {"replies": 1, "late": 1}),
        ("fraction=0.5,over_selection=1,deadline=8ms", 0.014, 32 + 8, {"late": 2, "skipped": 1}),
        # The word of 2 ms is there at 3 ms, when both would begin: they do not.
        ("deadline=2ms", 0.004, 0, {"late": 2, "skipped": 1}),
    ],
)
def test_a_round_waits_for_as_many_as_it_wants_and_as_long_as_it_may(
    options: str, end: float, samples: int, expected: dict[str, float], tmp_path: Path
) -> None:
    history = run(f"fedavg:{options}", tmp_path / "run")
    assert times(history) == [0.0, end]
    assert history[-1]["samples"] == samples
    assert figures(history) == expected


def weights(folder: Path) -> torch.Tensor:
    tensors = load_file(folder / "model.safetensors")
    return torch.cat([tensors[name].flatten() for name in sorted(tensors)])


def test_who_comes_in_time_is_the_whole_round(tmp_path: Path) -> None:
    """As if the other had never been asked; and nothing of a round that is over gets into the next."""

    class Alone(FedAvg):
        async def worker(self, node: Node) -> None:
            node.drops_out = lambda number: node.rank == 1  # type: ignore[method-assign]
            await super().worker(node)

    run("fedavg:deadline=20ms", tmp_path / "two", rounds=3)
    run(Alone(), tmp_path / "one", rounds=3)
    assert torch.equal(weights(tmp_path / "two"), weights(tmp_path / "one"))


def test_a_round_that_nobody_is_in_time_for_changes_nothing(tmp_path: Path) -> None:
    history = run("fedavg:deadline=2ms", tmp_path / "run", rounds=3)
    assert times(history) == [0.0, 0.004, 0.008, 0.012]
    assert len({row["test_loss"] for row in history}) == 1
    assert figures(history) == {"late": 6, "skipped": 3}


def test_replies_are_combined_in_the_order_of_ranks_whoever_comes_first(tmp_path: Path) -> None:
    """Bit for bit: with client 0 the slow one too, and as a round without a deadline has it."""
    run("fedavg:deadline=1s", tmp_path / "turned", rounds=2, slow=("0:3",))
    run("fedavg:deadline=1s", tmp_path / "hurried", rounds=2)
    run("fedavg", tmp_path / "plain", rounds=2)
    assert torch.equal(weights(tmp_path / "turned"), weights(tmp_path / "hurried"))
    assert torch.equal(weights(tmp_path / "turned"), weights(tmp_path / "plain"))


@pytest.mark.parametrize("deadline", ["", "1s"])
def test_who_drops_out_is_not_waited_for(deadline: str, tmp_path: Path) -> None:
    """Its empty reply is there 1 ms after it has got the weights at 3 ms."""

    class Dropping(FedAvg):
        async def worker(self, node: Node) -> None:
            node.drops_out = lambda number: node.rank == 1 or number == 1  # type: ignore[method-assign]
            await super().worker(node)

    history = run(Dropping(deadline=deadline), tmp_path / "run", rounds=2)
    assert times(history) == [0.0, 0.009, 0.013]
    assert figures(history) == {"replies": 1, "dropped": 3, "skipped": 1}


def test_what_is_halted_is_the_same_however_often_it_is_looked_at(tmp_path: Path) -> None:
    """Rounds end quietly, so that an evaluation finds nothing under way, and changes nothing."""
    often = run("fedavg:deadline=20ms", tmp_path / "often", rounds=4)
    strategy, cluster = parse_strategy("fedavg:deadline=20ms"), clockwork(tmp_path, slow=SLOW)
    simulate(strategy, tmp_path / "seldom", rounds=4, evaluate_every=4, cluster=cluster)
    assert times(often)[-1] == 4 * 0.024
    for name in ("model.safetensors", "ledger.json"):
        assert (tmp_path / "often" / name).read_bytes() == (tmp_path / "seldom" / name).read_bytes()


# ---- repeated in the order of a record


def replayed(order: dict[int, list[int]], folder: Path) -> list[dict[str, Any]]:
    specification = Specification(
        strategy=FedAvg(deadline="20ms"), workers=2, batch_size=8, rounds=1, cluster=Simulated(executor="single")
    )
    lab._run(lab.prepare(specification, make_task()), folder, None, resume=False, order=order)
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_a_record_says_who_was_late_and_how_far_each_had_come(tmp_path: Path) -> None:
    """Server: the clock, client 0, nobody more in time; clients: the batches that each has done."""
    history = replayed({2: [7_000_000, 0, -1], 0: [4], 1: [2]}, tmp_path / "run")
    assert history[-1]["samples"] == 32 + 16
    assert figures(history) == {"replies": 1, "late": 1}
    run("fedavg:deadline=20ms", tmp_path / "first")
    assert torch.equal(weights(tmp_path / "run"), weights(tmp_path / "first"))
    history = replayed({2: [0, 1, 0], 0: [4], 1: [4]}, tmp_path / "both")
    assert figures(history) == {"replies": 2}


@pytest.mark.parametrize(
    "order", [{2: [0, 0], 0: [4], 1: [2]}, {2: [0, 0, -1], 0: [4], 1: []}, {2: [], 0: [4], 1: [4]}]
)
def test_a_record_that_is_not_of_this_run_is_told_from_one_that_is(order: dict[int, list[int]], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="the recorded order does not fit this run"):
        replayed(order, tmp_path / "run")


# ---- clients that come and go by the clock


def cohorts(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Who is chosen, round by round, is noted there."""
    seen: list[list[int]] = []
    choose = Node.choose

    def noted(node: Node, *given: Any, **options: Any) -> list[int]:
        seen.append(choose(node, *given, **options))
        return seen[-1]

    monkeypatch.setattr(Node, "choose", noted)
    return seen


def test_only_those_who_are_available_are_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round with one client takes 8 ms: client 0 for the first two of them, both for the third, then client 1."""
    file = write(tmp_path / "trace.json", {"0": [[0, 0.02]], "1": [[0.016, 1]]})
    seen = cohorts(monkeypatch)
    history = run(f"fedavg:cohort=available:{file}", tmp_path / "run", rounds=4, slow=())
    assert seen == [[0], [0], [0, 1], [1]]
    assert times(history)[:3] == [0.0, 0.008, 0.016]
    assert figures(history) == {"replies": 5}


def test_where_nobody_is_available_somebody_is_waited_for(tmp_path: Path) -> None:
    """The second round begins when the trace does so again."""
    file = write(tmp_path / "trace.json", {"0": [[100, 100.004]], "1": [[100, 100.001]]})
    history = run(f"fedavg:fraction=0.5,cohort=available:{file},period=1000", tmp_path / "run", rounds=2, slow=())
    assert times(history) == [0.0, 100.008, 1100.008]
    ledger = json.loads((tmp_path / "run" / "ledger.json").read_text())
    assert ledger["nodes"][2]["seconds"]["waiting"] > 1099.9


def test_a_trace_that_ends_before_the_training_stops_it(tmp_path: Path) -> None:
    file = write(tmp_path / "trace.json", {"0": [[0, 0.001]], "1": []})
    with pytest.raises(RunError, match=r"nobody is available after 0\.008 s, when round 1 is to begin; a period would"):
        run(f"fedavg:fraction=0.5,cohort=available:{file}", tmp_path / "run", rounds=2, slow=())


def test_of_fewer_than_a_round_wants_all_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "trace.json", {"0": [[0, 1]], "1": [[0.008, 1]]})
    seen = cohorts(monkeypatch)
    history = run(f"fedavg:over_selection=0,cohort=available:{file}", tmp_path / "run", rounds=2, slow=())
    assert seen == [[0], [0, 1]]
    assert figures(history) == {"replies": 3}


def test_a_day_that_each_client_begins_at_its_own_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of eight clients, on average; who is chosen is so at that time, and with another seed others are."""
    cohort = COHORTS.parse("diurnal:0.1,0.5")
    seen = cohorts(monkeypatch)
    by_seed = {}
    for seed in (0, 1):
        seen.clear()
        simulate(
            FedAvg(cohort=cohort), tmp_path / str(seed), workers=8, rounds=20, seed=seed, cluster=clockwork(tmp_path)
        )
        by_seed[seed] = list(seen)
    assert by_seed[0] != by_seed[1]
    assert 2 < sum(map(len, by_seed[0])) / 20 < 6
    assert len({tuple(chosen) for chosen in by_seed[0]}) > 2


def test_a_cohort_that_the_trace_can_never_fill_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "trace.json", {"0": [[0, 5]], "1": [[5, 9]]})
    with pytest.raises(UserError, match=r"a round chooses 2 clients, but in availability trace .* more than 1 at once"):
        run(f"fedavg:cohort=available:{file}", tmp_path / "run")
