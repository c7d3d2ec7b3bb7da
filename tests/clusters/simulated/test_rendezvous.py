"""Collective operations as a whole, held against the same ones message by message."""

from pathlib import Path
from typing import Any

import pytest
import torch
from scripted import Scripted, simulate
from torch import Tensor

from manyhands.clusters.cluster import Simulated
from manyhands.clusters.collectives import COLLECTIVES, Collective, Native
from manyhands.clusters.node import Node
from manyhands.clusters.simulated.rendezvous import Parcel, schedule

OWN = [kind() for name, kind in COLLECTIVES.members.items() if name != "native"]
RING = COLLECTIVES.parse("ring")


def run(collective: Collective, workers: int, numbers: int, mode: Any, folder: Path) -> tuple[dict[str, Any], Tensor]:
    """The ledger, and every worker's mean [workers, numbers], where all begin at one time."""

    class Meeting(Scripted):
        async def worker(self, node: Node) -> None:
            async for _ in node.epochs():
                vector = torch.randn(numbers, generator=torch.Generator().manual_seed(node.rank))
                self.seen.append((node.rank, await node.all_reduce(vector, collective)))

    ledger = simulate(Meeting(), folder, workers=workers, cluster=Simulated(collectives=mode))
    assert len(Meeting.seen) == workers
    return ledger, torch.stack([mean for _, mean in sorted(Meeting.seen, key=lambda pair: pair[0])])


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("collective", OWN, ids=str)
def test_a_collective_as_a_whole_is_the_same_as_in_messages(
    collective: Collective, workers: int, tmp_path: Path
) -> None:
    for numbers in (840 * workers, 1009):  # 840 = 3 · 5 · 7 · 8
        whole, mean = run(collective, workers, numbers, "rounds", tmp_path / f"{numbers}w")
        single, other = run(collective, workers, numbers, "messages", tmp_path / f"{numbers}m")
        torch.testing.assert_close(other, mean, rtol=1e-6, atol=1e-6)
        for kind in ("bytes_sent", "bytes_received", "messages_sent", "to"):
            assert [node[kind] for node in whole["nodes"]] == [node[kind] for node in single["nodes"]]
        assert whole["seconds"] == single["seconds"]


@pytest.mark.parametrize("collective", OWN, ids=str)
def test_where_one_comes_late_the_two_differ_a_little(collective: Collective, tmp_path: Path) -> None:
    """A whole begins when the last worker has come. Messages go as soon as they can: the sums of the others are formed
    meanwhile, as in a star, or they get in the way of those that all wait for, as in halving and doubling."""

    class Late(Scripted):
        async def worker(self, node: Node) -> None:
            async for _ in node.epochs():
                if node.rank == 3:
                    await node.gradient(node.next_batch())
                self.seen.append(await node.all_reduce(torch.full((840_000,), float(node.rank)), collective))

    def seconds(mode: Any) -> float:
        ledger = simulate(Late(), tmp_path / mode, workers=4, cluster=Simulated(collectives=mode))
        assert all(mean.eq(1.5).all() for mean in Late.seen)
        total: float = ledger["seconds"]
        return total

    assert seconds("messages") == pytest.approx(seconds("rounds"), rel=0.05)


def test_the_backend_s_own_is_always_a_whole(tmp_path: Path) -> None:
    """It costs what a ring does."""
    (whole, mean), (single, other), (ring, _) = (
        run(collective, 4, 4000, mode, tmp_path / f"{collective}{mode}")
        for collective, mode in ((Native(), "rounds"), (Native(), "messages"), (RING, "rounds"))
    )
    assert torch.equal(mean, other)
    assert whole == single
    assert [node["bytes_sent"] for node in whole["nodes"]] == [6 * 4000] * 4
    assert whole["seconds"] == ring["seconds"]


@pytest.mark.parametrize("collective", [Native(), *OWN], ids=str)
def test_numbers_of_two_bytes_cost_half(collective: Collective, tmp_path: Path) -> None:
    class Half(Scripted):
        async def worker(self, node: Node) -> None:
            async for _ in node.epochs():
                self.seen.append(await node.all_reduce(torch.ones(800, dtype=torch.bfloat16), collective))

    ledger = simulate(Half(), tmp_path / "half", workers=4)
    full, _ = run(collective, 4, 800, "rounds", tmp_path / "full")
    assert [2 * node["bytes_sent"] for node in ledger["nodes"]] == [node["bytes_sent"] for node in full["nodes"]]
    assert all(mean.dtype == torch.bfloat16 and mean.eq(1).all() for mean in Half.seen)


def test_who_comes_last_keeps_the_others_waiting(tmp_path: Path) -> None:
    class Late(Scripted):
        async def worker(self, node: Node) -> None:
            async for _ in node.epochs():
                await node.gradient(node.next_batch())
                await node.all_reduce(node.weights, RING)

    ledger = simulate(Late(), tmp_path / "run", workers=3, cluster=Simulated(slow=("1:10",)))
    waiting = [node["seconds"]["waiting"] for node in ledger["nodes"]]
    compute = [node["seconds"]["compute"] for node in ledger["nodes"]]
    assert waiting == pytest.approx([compute[1] - each for each in compute])
    assert waiting[1] == 0 < waiting[0]


def test_buckets_travel_one_after_another_as_soon_as_all_have_them() -> None:
    parcels = [Parcel(1, 100), Parcel(1, 150), Parcel(1, 400)]
    assert schedule(parcels, [200, 50, 10], 400, 1.0) == [(100, 300), (300, 350), (400, 410)]


def test_behind_computing_buckets_travel_more_slowly() -> None:
    """The first needs 200 at full speed: 300 behind computing, at half of it, and the rest after that."""
    assert schedule([Parcel(1, 100), Parcel(1, 150)], [200, 50], 400, 2.0) == [(100, 450), (450, 500)]
    assert schedule([Parcel(1, 100)], [100], 400, 2.0) == [(100, 300)]
