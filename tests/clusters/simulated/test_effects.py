"""What the effects of a node do on the simulated cluster, beside plain sending and receiving."""

from pathlib import Path

import pytest
import torch
from scripted import Scripted, make_task, simulate

from manyhands.clusters.cluster import Simulated
from manyhands.clusters.node import Node
from manyhands.strategies import AllReduce
from manyhands.training.sampler import Batch


def test_a_poll_sees_what_has_arrived_and_does_not_wait_for_what_has_not(tmp_path: Path) -> None:
    """A gradient takes a while, in which the message of 4 bytes arrives and that of 4 MB does not."""

    class Polling(Scripted):
        async def worker_0(self, node: Node) -> None:
            await node.send(2, torch.zeros(1), tag=7)

        async def worker_1(self, node: Node) -> None:
            await node.send(2, torch.zeros(1_000_000), tag=8)

        async def worker_2(self, node: Node) -> None:
            self.seen.append(await node.poll())
            await node.gradient(node.next_batch())
            for _ in range(2):
                message = await node.poll()
                self.seen.append(message and message.tag)
            self.seen.append((await node.receive_any()).tag)

    ledger = simulate(Polling(), tmp_path / "run", workers=3)
    assert Polling.seen == [None, 7, None, 8]
    seconds = ledger["nodes"][2]["seconds"]
    assert seconds["compute"] + seconds["exposed_communication"] == pytest.approx(ledger["seconds"])


def test_polled_messages_come_in_the_order_of_their_arrival(tmp_path: Path) -> None:
    class Collecting(Scripted):
        async def worker(self, node: Node) -> None:
            async for _ in node.epochs():
                if node.rank:
                    for number in range(3):
                        await node.send(0, torch.zeros(1000 * (4 - node.rank)), tag=10 * node.rank + number)
                    continue
                first = await node.receive(2)
                await node.gradient(node.next_batch())
                self.seen.append(first.tag)
                while (message := await node.poll()) is not None:
                    self.seen.append(message.tag)

    simulate(Collecting(), tmp_path / "run", workers=4)
    assert Collecting.seen[0] == 20
    assert sorted(Collecting.seen[1:]) == [10, 11, 12, 21, 22, 30, 31, 32]
    for sender in (1, 2, 3):  # those of one sender in order, and of three the smallest first
        own = [tag for tag in Collecting.seen if tag // 10 == sender]
        assert own == sorted(own)
    assert Collecting.seen.index(30) < Collecting.seen.index(21) < Collecting.seen.index(12)


def test_a_message_brings_its_sender_s_progress_and_its_tag(tmp_path: Path) -> None:
    class Telling(Scripted):
        async def worker_0(self, node: Node) -> None:
            node.advance(0.5)
            await node.send(1, tag=-3)

        async def worker_1(self, node: Node) -> None:
            message = await node.receive(0)
            self.seen.extend([message.source, message.tensors, message.tag, node.progress])

    ledger = simulate(Telling(), tmp_path / "run")
    assert Telling.seen == [0, (), -3, 0.5]
    assert ledger["nodes"][0]["messages_sent"] == 1
    assert ledger["nodes"][0]["bytes_sent"] == 0


def test_claims_share_out_an_epoch_s_steps_and_the_fast_take_more(tmp_path: Path) -> None:
    """Every number is taken once in each epoch; then there is none, for anybody."""

    class Claiming(Scripted):
        async def worker(self, node: Node) -> None:
            async for epoch in node.epochs():
                while (number := await node.claim()) is not None:
                    self.seen.append((epoch, number, node.rank, node.progress))
                    await node.gradient(node.next_batch())
                assert await node.claim() is None

    simulate(Claiming(), tmp_path / "run", workers=4, task=make_task(1024), epochs=2, cluster=Simulated(slow=("3:4",)))
    steps = 1024 // 8
    assert [(epoch, number) for epoch, number, _, _ in Claiming.seen] == [
        (epoch, number) for epoch in range(2) for number in range(steps)
    ]
    assert [progress for *_, progress in Claiming.seen] == [number / steps / 2 for number in range(2 * steps)]
    taken = [sum(rank == taker for _, _, taker, _ in Claiming.seen) for rank in range(4)]
    assert taken[:3] == pytest.approx([3 * taken[3], 3 * taken[3], 3 * taken[3]], rel=0.5)
    assert min(taken[:3]) > 2 * taken[3] > 0


def test_samples_that_were_sent_give_the_gradient_of_those_that_were_not(tmp_path: Path) -> None:
    class Lending(Scripted):
        async def worker_0(self, node: Node) -> None:
            batch = node.next_batch()
            inputs, targets = await node.load(batch)
            await node.send(1, inputs, targets)
            self.seen.append((tuple(inputs.shape), tuple(targets.shape), targets.dtype))
            self.seen.append(await node.gradient(batch))

        async def worker_1(self, node: Node) -> None:
            inputs, targets = (await node.receive(0)).tensors
            batch = Batch(indices=torch.empty(0).long().numpy(), number=0, tensors=(inputs, targets))
            assert len(batch) == 8
            self.seen.append(await node.gradient(batch))

    ledger = simulate(Lending(), tmp_path / "run")
    shapes, own, borrowed = Lending.seen
    assert shapes == ((8, 4), (8,), torch.int64)
    assert torch.equal(own, borrowed)
    assert own.abs().sum() > 0
    assert ledger["nodes"][0]["bytes_sent"] == 8 * 4 * 4 + 8 * 8


def test_a_batch_in_parts_takes_the_time_of_its_parts(tmp_path: Path) -> None:
    """Micro-batches are computed one after another: each pays the overhead of a step."""
    whole, parts = (
        simulate(AllReduce(), tmp_path / str(accumulate), batch_size=32 // accumulate, accumulate=accumulate)
        for accumulate in (1, 4)
    )
    assert parts["nodes"][0]["seconds"]["compute"] > 1.5 * whole["nodes"][0]["seconds"]["compute"]
