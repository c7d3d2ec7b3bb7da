"""A run repeated in the order in which its messages came, whatever the network would do now."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from scripted import Scripted, make_task
from torch import Tensor

from manyhands import lab
from manyhands.clusters.cluster import Simulated
from manyhands.clusters.effects import NOTHING, Receive
from manyhands.clusters.node import Node
from manyhands.clusters.simulated.replay import Order
from manyhands.errors import RunError
from manyhands.runs.specification import Specification
from manyhands.strategies import Strategy, parse_strategy

Outcomes = dict[int, list[int]]
ASYNCHRONOUS = ["ad-psgd", "parameter-server:consistency=async", "parameter-server:consistency=ssp:2,servers=2"]
SLOW_NETWORK = Simulated(bandwidth="1Mbit/s", latency="3ms", jitter=0.4, slow=("1:3",))


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Iterator[Outcomes]:
    """What chance decided at each node, as it is asked of it."""
    outcomes: defaultdict[int, list[int]] = defaultdict(list)
    receive, poll, claim = Node.receive, Node.poll, Node.claim

    async def noted_receive(node: Node, source: int | None) -> Any:
        message = await receive(node, source)
        if source is None:
            outcomes[node.rank].append(message.source)
        return message

    async def noted_poll(node: Node) -> Any:
        message = await poll(node)
        outcomes[node.rank].append(NOTHING if message is None else message.source)
        return message

    async def noted_claim(node: Node) -> Any:
        number = await claim(node)
        outcomes[node.rank].append(NOTHING if number is None else number)
        return number

    for name, noted in (("receive", noted_receive), ("poll", noted_poll), ("claim", noted_claim)):
        monkeypatch.setattr(Node, name, noted)
    return outcomes


def run(
    strategy: Strategy, folder: Path, cluster: Simulated, order: Mapping[int, Sequence[int]] | None = None
) -> dict[str, Tensor]:
    """The model."""
    specification = Specification(strategy=strategy, workers=4, cluster=cluster, batch_size=8, epochs=2)
    experiment = lab.prepare(specification, make_task(256))
    lab._run(experiment, folder, None, resume=False, order=order)
    return load_file(folder / "model.safetensors")


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", ASYNCHRONOUS)
def test_the_order_makes_the_run(name: str, tmp_path: Path, record: Outcomes) -> None:
    """On another network the same order gives the same bits; without it, others."""
    strategy = parse_strategy(name)
    first = run(strategy, tmp_path / "first", SLOW_NETWORK)
    order = {rank: tuple(own) for rank, own in record.items()}
    record.clear()
    again = run(strategy, tmp_path / "again", Simulated(), order)
    assert equal(again, first)
    assert order == {rank: tuple(own) for rank, own in record.items()}
    assert not equal(run(strategy, tmp_path / "free", Simulated()), first)


class Mixed(Scripted):
    """A poll that found something, one that did not, and claims against the order of time."""

    async def worker_0(self, node: Node) -> None:
        self.seen.append(await node.claim())
        self.seen.append((await node.receive_any()).tag)
        for _ in range(2):
            message = await node.poll()
            self.seen.append(message and message.tag)
        self.seen.append((await node.receive(2)).tag)

    async def worker_1(self, node: Node) -> None:
        await node.gradient(node.next_batch())
        await node.send(0, torch.zeros(1), tag=10)

    async def worker_2(self, node: Node) -> None:
        await node.gradient(node.next_batch())
        for tag in (20, 21):
            await node.send(0, torch.zeros(2), tag=tag)

    async def worker_3(self, node: Node) -> None:
        pass


def once(strategy: Strategy, folder: Path, order: Mapping[int, Sequence[int]]) -> None:
    specification = Specification(strategy=strategy, workers=4, batch_size=8, epochs=1)
    lab._run(lab.prepare(specification, make_task()), folder, None, resume=False, order=order)


def test_receiving_polling_and_claiming_follow_the_record(tmp_path: Path) -> None:
    Mixed.seen.clear()
    once(Mixed(), tmp_path / "run", {0: [17, 2, NOTHING, 1], 3: []})
    assert Mixed.seen[:5] == [17, 20, None, 10, 21]


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        ([17, 2, NOTHING], "it ends before node 0 has finished"),
        ([17, 2, NOTHING, 1, 5], "node 0 did more when it was made"),
        ([17, 2, NOTHING, 0], "node 0 waits for a message from node 0"),
        ([], "it ends before node 0 has finished"),
    ],
)
def test_a_record_of_another_run_does_not_fit(own: list[int], reason: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=rf"^the recorded order does not fit this run: {reason}"):
        once(Mixed(), tmp_path / "run", {0: own})


def test_a_follower_may_wait_at_the_end_for_what_will_not_come(tmp_path: Path) -> None:
    """The record has no outcome of its last wait, as none came."""

    class Served(Scripted):
        servers = 1

        async def server(self, node: Node) -> None:
            async for _ in node.epochs():
                for worker in node.workers:
                    await node.send(worker, tag=1)
                for _ in node.workers:
                    self.seen.append((await node.receive_any()).source)

        async def worker(self, node: Node) -> None:
            while (message := await Receive(None)) is not None:
                assert message.source == node.server
                await node.send(node.server)

    order = {4: [3, 1, 0, 2], **{rank: [4] for rank in range(4)}}
    once(Served(), tmp_path / "run", order)
    assert Served.seen == [3, 1, 0, 2]


def test_an_order_tells_what_is_left_of_it() -> None:
    order = Order({0: [5, NOTHING]})
    assert order.has_more(0)
    assert not order.has_more(1)
    assert [order.next(0), order.next(0)] == [5, NOTHING]
    order.finish()
    with pytest.raises(RunError, match="it ends before node 0 has finished"):
        order.next(0)
