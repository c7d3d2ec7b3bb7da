"""The event loop of the simulated cluster, by strategies written for it alone."""

from pathlib import Path

import pytest
import torch
from scripted import Scripted, make_task, simulate
from torch import nn

from manyhands.clusters.cluster import Simulated
from manyhands.clusters.node import Node
from manyhands.errors import RunError
from manyhands.strategies import AllReduce, FedAvg, ParameterServer, Strategy
from manyhands.strategies.consistency import CONSISTENCIES


def test_a_small_message_does_not_overtake_a_large_one(tmp_path: Path) -> None:
    class Overtaking(Scripted):
        async def worker_0(self, node: Node) -> None:
            for size in (10_000_000, 1, 1_000_000, 0):
                await node.send(1, torch.zeros(size))

        async def worker_1(self, node: Node) -> None:
            for _ in range(4):
                message = await node.receive_any()
                self.seen.append((message.source, message.tensors[0].numel()))

    simulate(Overtaking(), tmp_path / "run")
    assert Overtaking.seen == [(0, 10_000_000), (0, 1), (0, 1_000_000), (0, 0)]


def test_messages_of_different_senders_arrive_as_the_network_brings_them(tmp_path: Path) -> None:
    class Racing(Scripted):
        async def worker_0(self, node: Node) -> None:
            await node.send(2, torch.zeros(1_000_000))

        async def worker_1(self, node: Node) -> None:
            await node.send(2, torch.zeros(1))

        async def worker_2(self, node: Node) -> None:
            first = (await node.receive_any()).source
            self.seen.append(first)
            await node.receive(1 - first)

    simulate(Racing(), tmp_path / "run", workers=3)
    assert Racing.seen == [1]


def test_a_message_waits_for_the_one_who_asks_for_another_first(tmp_path: Path) -> None:
    class Choosy(Scripted):
        async def worker_0(self, node: Node) -> None:
            await node.send(2, torch.tensor(0.0))

        async def worker_1(self, node: Node) -> None:
            await node.send(2, torch.zeros(1_000_000))

        async def worker_2(self, node: Node) -> None:
            for source in (1, 0):
                (tensor,) = await node.receive(source)
                self.seen.append(tensor.numel())

    simulate(Choosy(), tmp_path / "run", workers=3)
    assert Choosy.seen == [1_000_000, 1]


def test_what_is_sent_is_what_it_was_when_it_was_sent(tmp_path: Path) -> None:
    class Hasty(Scripted):
        async def worker_0(self, node: Node) -> None:
            tensor = torch.ones(3)
            await node.send(1, tensor)
            tensor.zero_()

        async def worker_1(self, node: Node) -> None:
            (tensor,) = await node.receive(0)
            self.seen.extend(tensor.tolist())

    simulate(Hasty(), tmp_path / "run")
    assert Hasty.seen == [1, 1, 1]


def test_a_transfer_takes_latency_and_bytes_over_bandwidth(tmp_path: Path) -> None:
    """8 MB at 1 Gbit/s = 64 ms, and 50 us until the first byte."""

    class Sending(Scripted):
        async def worker_0(self, node: Node) -> None:
            await node.send(1, torch.zeros(2_000_000))

        async def worker_1(self, node: Node) -> None:
            await node.receive(0)

    ledger = simulate(Sending(), tmp_path / "run", cluster=Simulated(bandwidth="1Gbit/s", latency="50us"))
    sender, receiver = (node["seconds"] for node in ledger["nodes"])
    assert ledger["seconds"] == pytest.approx(0.06405)
    assert receiver["exposed_communication"] == pytest.approx(0.06405)
    assert sender["exposed_communication"] == 0
    assert sender["waiting"] == pytest.approx(0.06405)  # for the end of the epoch


class Ring(Scripted):
    """Everybody waits for the next one, nobody begins."""

    async def worker(self, node: Node) -> None:
        async for _ in node.epochs():
            await node.receive((node.rank + 1) % 3)


class Lonely(Scripted):
    """One worker does not come to the collective operation."""

    async def worker(self, node: Node) -> None:
        async for _ in node.epochs():
            if node.rank:
                await node.all_reduce(node.weights)
            else:
                await node.receive_any()


class Leaving(Scripted):
    """One worker goes home early."""

    async def worker(self, node: Node) -> None:
        if node.rank:
            async for _ in node.epochs():
                await node.all_reduce(node.weights)


@pytest.mark.parametrize(
    ("strategy", "places"),
    [
        (
            Ring(),
            "node 0 waits for a message from node 1; node 1 waits for a message from node 2; "
            "node 2 waits for a message from node 0",
        ),
        (
            Lonely(),
            "node 0 waits for a message from anybody; node 1 waits for the others in a collective operation; "
            "node 2 waits for the others in a collective operation",
        ),
        (
            Leaving(),
            "node 1 waits for the others in a collective operation; "
            "node 2 waits for the others in a collective operation",
        ),
    ],
    ids=lambda value: value.__class__.__name__,
)
def test_a_deadlock_is_told_with_who_waits_for_what(strategy: Strategy, places: str, tmp_path: Path) -> None:
    with pytest.raises(RunError) as error:
        simulate(strategy, tmp_path / "run", workers=3)
    assert str(error.value) == f"deadlock in scripted: {places}"


def test_of_many_that_are_stuck_a_few_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^deadlock in scripted: node 1 .*; node 8 waits .*; and 11 more$"):
        simulate(Leaving(), tmp_path / "run", workers=20)


def test_a_strategy_that_fails_is_a_defect_and_keeps_its_traceback(tmp_path: Path) -> None:
    class Faulty(Scripted):
        async def worker(self, node: Node) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        simulate(Faulty(), tmp_path / "run")


def test_a_broadcast_to_two_thousand_workers(tmp_path: Path) -> None:
    ledger = simulate(FedAvg(), tmp_path / "run", workers=2000, task=make_task(2000), rounds=1)
    assert len(ledger["nodes"]) == 2001
    assert ledger["nodes"][2000]["messages_sent"] == 2000


def test_an_all_reduce_of_two_thousand_workers(tmp_path: Path) -> None:
    ledger = simulate(AllReduce(), tmp_path / "run", workers=2000, task=make_task(2000))
    assert {node["messages_sent"] for node in ledger["nodes"]} == {2 * 1999}


def test_a_straggler_holds_up_those_who_wait_for_it_and_nobody_else(tmp_path: Path) -> None:
    """An epoch is a fixed number of gradients: the others make those that the straggler does not."""

    def seconds(consistency: str, slow: tuple[str, ...]) -> float:
        strategy = ParameterServer(consistency=CONSISTENCIES.parse(consistency))
        folder = tmp_path / f"{consistency}{len(slow)}"
        ledger = simulate(strategy, folder, workers=8, task=make_task(1024), cluster=Simulated(slow=slow))
        total: float = ledger["seconds"]
        return total

    sync = seconds("sync", ("0:8",)) / seconds("sync", ())
    asynchronous = seconds("async", ("0:8",)) / seconds("async", ())
    assert sync > 4
    assert asynchronous < 1.6


def test_a_model_with_dropout_gives_the_same_result_again(tmp_path: Path) -> None:
    """Whoever has drawn from torch's generator in between."""
    task = make_task(model=lambda: nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5), nn.Linear(64, 2)))
    for number in range(2):
        torch.manual_seed(number)
        simulate(AllReduce(), tmp_path / str(number), workers=4, task=task, cluster=Simulated(threads=2))
    models = [(tmp_path / str(number) / "model.safetensors").read_bytes() for number in range(2)]
    assert models[0] == models[1]


def test_jitter_spreads_the_durations_but_not_the_results(tmp_path: Path) -> None:
    ledgers = [
        simulate(AllReduce(), tmp_path / str(jitter), workers=4, cluster=Simulated(jitter=jitter))
        for jitter in (0.0, 0.5)
    ]
    assert [len({node["seconds"]["compute"] for node in ledger["nodes"]}) for ledger in ledgers] == [1, 4]
    models = [(tmp_path / str(jitter) / "model.safetensors").read_bytes() for jitter in (0.0, 0.5)]
    assert models[0] == models[1]


def test_evaluations_are_off_the_clock_and_change_nothing(tmp_path: Path) -> None:
    """Where all are equally fast; else they are also a moment at which everybody waits for the last."""
    for every in (1, 4):
        folder = tmp_path / str(every)
        simulate(AllReduce(), folder, workers=4, epochs=4, evaluate_every=every)
    often, seldom = (
        {name: (tmp_path / every / name).read_bytes() for name in ("model.safetensors", "ledger.json")}
        for every in ("1", "4")
    )
    assert often == seldom
