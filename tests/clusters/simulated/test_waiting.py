"""Waiting up to a time, doing nothing for a while, and being told to leave off; all times are worked out by hand."""

from pathlib import Path
from typing import Any

import pytest
import torch
from clockwork import clockwork
from scripted import Scripted, make_task, simulate

from manyhands.clusters.cluster import Simulated
from manyhands.clusters.node import Node


def spent(ledger: dict[str, Any], rank: int) -> dict[str, float]:
    seconds: dict[str, float] = ledger["nodes"][rank]["seconds"]
    return seconds


def test_the_clock_goes_on_while_a_node_sleeps(tmp_path: Path) -> None:
    class Sleeping(Scripted):
        async def worker_0(self, node: Node) -> None:
            self.seen.append(await node.now())
            await node.sleep(0.25)
            self.seen.append(await node.now())
            await node.gradient(node.next_batch())
            self.seen.append(await node.now())

        async def worker_1(self, node: Node) -> None:
            pass

    ledger = simulate(Sleeping(), tmp_path / "run", cluster=clockwork(tmp_path))
    assert Sleeping.seen == [0.0, 0.25, 0.251]
    assert spent(ledger, 0)["waiting"] == 0.25
    assert ledger["seconds"] == 0.251


def test_the_clock_is_read_when_arithmetic_is_done(tmp_path: Path) -> None:
    class Reckoning(Scripted):
        async def worker(self, node: Node) -> None:
            async for _ in node.epochs():
                before = await node.now()
                node.average([torch.ones(1_000_000), torch.ones(1_000_000)])
                self.seen.append(await node.now() - before)

    simulate(Reckoning(), tmp_path / "run")
    assert min(Reckoning.seen) > 1e-4  # 24 MB of memory traffic


class Waiting(Scripted):
    """A message of 4 bytes is sent after 10 ms and takes 1.1 ms."""

    async def worker_0(self, node: Node) -> None:
        for until in (0.005, 0.011, 0.02):
            message = await node.receive_any(until)
            self.seen.append((message and message.tag, await node.now()))
        self.seen.append((await node.receive_any(0.001), await node.now()))

    async def worker_1(self, node: Node) -> None:
        await node.sleep(0.01)
        await node.send(0, torch.zeros(1), tag=7)


def test_a_wait_ends_at_its_time_or_with_a_message(tmp_path: Path) -> None:
    """A time that is over is none to wait for."""
    Waiting.seen.clear()
    ledger = simulate(Waiting(), tmp_path / "run", cluster=clockwork(tmp_path))
    assert Waiting.seen == [(None, 0.005), (None, 0.011), (7, 0.0111), (None, 0.0111)]
    assert spent(ledger, 0)["waiting"] == pytest.approx(0.011)  # the rest of it the message was under way
    assert spent(ledger, 0)["exposed_communication"] == pytest.approx(0.0001)


def test_what_is_there_already_comes_at_once_whatever_the_time(tmp_path: Path) -> None:
    class Late(Scripted):
        async def worker_0(self, node: Node) -> None:
            await node.sleep(1.0)
            message = await node.receive_any(0.5)
            self.seen.append((message and message.tag, await node.now()))

        async def worker_1(self, node: Node) -> None:
            await node.send(0, tag=3)

    simulate(Late(), tmp_path / "run", cluster=clockwork(tmp_path))
    assert Late.seen == [(3, 1.0)]


def test_a_message_that_is_being_fetched_is_waited_for(tmp_path: Path) -> None:
    """Where messages travel when their receiver asks, what has been offered in time counts."""

    class Fetching(Scripted):
        async def worker_0(self, node: Node) -> None:
            message = await node.receive_any(0.005)
            self.seen.append((message and message.tag, await node.now()))
            self.seen.append(await node.receive_any(0.012))

        async def worker_1(self, node: Node) -> None:
            await node.sleep(0.004)
            await node.send(0, torch.zeros(100), tag=9)

    simulate(Fetching(), tmp_path / "run", cluster=clockwork(tmp_path, rendezvous=True))
    assert Fetching.seen == [(9, 0.015), None]


class Halting(Scripted):
    """Node 1 has four batches of 1 ms before it from 2 ms on. Node 0 tells it to leave off: it hears it 1 ms later."""

    after = 0.0

    async def worker_0(self, node: Node) -> None:
        await node.sleep(self.after)
        await node.halt([1], job=5)
        self.seen.append((await node.receive(1)).tag)
        self.seen.append(await node.now())

    async def worker_1(self, node: Node) -> None:
        await node.sleep(0.002)
        before, node.job = node.weights.clone(), 5
        done = await node.train(node.local_batches(1))
        self.seen.append((done, await node.now(), node.samples, bool(node.weights.equal(before))))
        await node.send(0, tag=int(done))


def at(seconds: float) -> Halting:
    """`Halting` after so many seconds."""

    class Then(Halting):
        after = seconds

    return Then()


@pytest.mark.parametrize(
    ("after", "batches", "end"),
    [
        (0.0, 0, 0.002),  # the word is there before they begin
        (0.001, 0, 0.002),  # at that very moment
        (0.0011, 1, 0.003),
        (0.002, 1, 0.003),  # as the first batch ends
        (0.0025, 2, 0.004),
        (0.0045, 4, 0.006),  # in the last one: there is nothing to leave off
        (0.006, 4, 0.006),
    ],
)
def test_local_steps_end_with_the_batch_in_which_the_word_comes(
    after: float, batches: int, end: float, tmp_path: Path
) -> None:
    strategy = at(after)
    ledger = simulate(strategy, tmp_path / "run", cluster=clockwork(tmp_path))
    halted, tag, _ = strategy.seen
    whole = batches == 4
    assert halted == (whole, end, 8 * batches, not whole)
    assert tag == int(whole)
    assert spent(ledger, 1)["compute"] == pytest.approx(1e-3 * batches)


def test_another_job_is_not_meant(tmp_path: Path) -> None:
    class Other(Scripted):
        async def worker_0(self, node: Node) -> None:
            await node.halt([1], job=4)
            await node.sleep(0.002)
            await node.halt([1], job=6)

        async def worker_1(self, node: Node) -> None:
            for job in (5, 6, 7):
                node.job = job
                self.seen.append(await node.train(node.local_batches(1)))

    simulate(Other(), tmp_path / "run", cluster=clockwork(tmp_path))
    assert Other.seen == [True, False, True]


def test_what_cannot_be_halted_is_not(tmp_path: Path) -> None:
    class Stubborn(Scripted):
        async def worker_0(self, node: Node) -> None:
            for job in range(-1, 2):
                await node.halt([1], job=job)

        async def worker_1(self, node: Node) -> None:
            self.seen.append(await node.train(node.local_batches(1)))

    simulate(Stubborn(), tmp_path / "run", cluster=clockwork(tmp_path))
    assert Stubborn.seen == [True]


@pytest.mark.parametrize("uneven", [{"jitter": 0.5}, {"cpus": 0.3}])
def test_batches_that_are_left_off_leave_no_trace_on_the_device(uneven: dict[str, Any], tmp_path: Path) -> None:
    """What comes after them takes as long as it would have taken had they never been asked for."""

    def run(batches: int, folder: str) -> tuple[float, list[Any]]:
        class Two(Scripted):
            async def worker_0(self, node: Node) -> None:
                await node.sleep(1e-6)
                await node.halt([1], job=0)

            async def worker_1(self, node: Node) -> None:
                given = node.local_batches(1)
                node.job = 0
                await node.train(given[:batches])
                node.job = 1
                await node.train(given)
                self.seen.append(await node.now())

        cluster = clockwork(tmp_path, latency="1us", **uneven)
        ledger = simulate(Two(), tmp_path / folder, task=make_task(256), cluster=cluster)
        return ledger["nodes"][1]["seconds"]["compute"], Two.seen

    assert run(16, "halted") == run(1, "single")


def test_more_threads_change_nothing(tmp_path: Path) -> None:
    runs = []
    for threads in (1, 2):
        cluster = Simulated(threads=threads, jitter=0.3)
        folder = tmp_path / str(threads)
        simulate(at(0.0008), folder, cluster=cluster, task=make_task(256))
        runs.append([(folder / name).read_bytes() for name in ("model.safetensors", "ledger.json", "history.jsonl")])
    assert runs[0] == runs[1]
