"""What a measured backend adds to the time of messages and collective operations."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from scripted import Scripted, simulate

from manyhands.clusters.cluster import Simulated
from manyhands.clusters.node import Node
from manyhands.clusters.simulated.profile import Backend, DeviceProfile
from manyhands.strategies import AllReduce

NOMINAL = DeviceProfile.load("nominal")
SEND, RECEIVE, LATENCY, NETWORK = 2e-3, 3e-3, 5e-3, 1e-3
SIZE = 125_000
"""bytes, which take 1 ms at 1 Gbit/s"""


def cluster(tmp_path: Path, network: str = "1ms", slowdown: float = 1.0, **backend: Any) -> Simulated:
    profile = replace(NOMINAL, name="test", backend=Backend(**backend), overlap_slowdown=slowdown)
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(profile.to_json()))
    return Simulated(profile=str(path), latency=network)


class OneMessage(Scripted):
    async def worker_0(self, node: Node) -> None:
        await node.send(1, torch.zeros(SIZE // 4))

    async def worker_1(self, node: Node) -> None:
        await node.receive(0)


def test_a_message_costs_its_sender_its_receiver_and_a_delay(tmp_path: Path) -> None:
    options = cluster(tmp_path, send_seconds=SEND, receive_seconds=RECEIVE, latency_seconds=LATENCY)
    ledger = simulate(OneMessage(), tmp_path / "run", cluster=options)
    assert ledger["seconds"] == pytest.approx(SEND + NETWORK + LATENCY + 1e-3 + RECEIVE)
    assert ledger["nodes"][0]["seconds"]["exposed_communication"] == pytest.approx(SEND)
    receiver = ledger["nodes"][1]["seconds"]
    assert receiver["waiting"] == pytest.approx(SEND)
    assert receiver["exposed_communication"] == pytest.approx(ledger["seconds"] - SEND)


def test_headers_take_their_part_of_the_wire(tmp_path: Path) -> None:
    ledger = simulate(OneMessage(), tmp_path / "run", cluster=cluster(tmp_path, efficiency=0.5))
    assert ledger["seconds"] == pytest.approx(NETWORK + 2e-3)


def test_a_transfer_stands_still_while_a_quota_is_used_up(tmp_path: Path) -> None:
    """Of a tenth of a core, half a core is needed: 2 ms at a time, in periods of 10 ms."""
    options = replace(cluster(tmp_path, network="1us", rendezvous=True, transfer_share=0.5), cpus=0.1)
    long = simulate(LongMessage(), tmp_path / "run", cluster=options)
    assert long["seconds"] == pytest.approx(50e-3, abs=10e-3)  # 10 ms on the wire
    whole = simulate(LongMessage(), tmp_path / "whole", cluster=replace(options, cpus=0.0))
    assert whole["seconds"] == pytest.approx(10e-3, rel=1e-3)


class LongMessage(Scripted):
    async def worker_0(self, node: Node) -> None:
        await node.send(1, torch.zeros(10 * SIZE // 4))

    async def worker_1(self, node: Node) -> None:
        await node.receive(0)


class Late(Scripted):
    """The receiver is busy when the message is ready."""

    async def worker_0(self, node: Node) -> None:
        await node.send(1, torch.zeros(SIZE // 4))

    async def worker_1(self, node: Node) -> None:
        await node.gradient(node.next_batch())
        await node.receive(0)


@pytest.mark.parametrize("rendezvous", [False, True])
def test_with_rendezvous_a_message_travels_when_its_receiver_asks(tmp_path: Path, rendezvous: bool) -> None:
    options = cluster(tmp_path, network="100us", rendezvous=rendezvous)
    ledger = simulate(Late(), tmp_path / "run", cluster=options)
    receiver = ledger["nodes"][1]["seconds"]
    exposed = 1e-3 + 1e-4  # all of it; else it went on behind the gradient as far as that lasted
    expected = exposed if rendezvous else exposed - receiver["compute"]
    assert receiver["exposed_communication"] == pytest.approx(expected)
    assert receiver["waiting"] == 0


class Asking(Scripted):
    """Messages that are offered are found by polls, and fetched one after another."""

    async def worker_0(self, node: Node) -> None:
        await node.send(2, torch.zeros(SIZE // 4), tag=1)

    async def worker_1(self, node: Node) -> None:
        await node.send(2, torch.zeros(SIZE // 4), tag=2)

    async def worker_2(self, node: Node) -> None:
        await node.gradient(node.next_batch())
        while (message := await node.poll()) is not None:
            self.seen.append(message.tag)


def test_polls_fetch_what_is_offered(tmp_path: Path) -> None:
    options = cluster(tmp_path, network="100us", rendezvous=True)
    ledger = simulate(Asking(), tmp_path / "run", cluster=options, workers=3)
    assert Asking.seen == [1, 2]
    assert ledger["nodes"][2]["seconds"]["exposed_communication"] == pytest.approx(2 * (1e-3 + 1e-4))
    assert ledger["nodes"][2]["bytes_received"] == 2 * SIZE


def test_the_backend_s_collective_has_a_delay_of_its_own(tmp_path: Path) -> None:
    """All-reduce of four workers is six steps."""
    plain, slower = (
        simulate(AllReduce(), tmp_path / name, workers=4, cluster=cluster(tmp_path, collective_seconds=delay))
        for name, delay in (("plain", 0.0), ("slower", LATENCY))
    )
    steps = 2  # of 64 samples, 8 at each of 4 workers
    assert slower["seconds"] - plain["seconds"] == pytest.approx(steps * 6 * LATENCY)


def test_all_workers_stand_still_while_one_has_used_up_its_quota(tmp_path: Path) -> None:
    """The processors' work of six steps of 1 ms comes first, then the wire, with half of each core."""
    options = cluster(tmp_path, network="1us", collective_processor_seconds=1e-3, collective_share=0.5)
    free = simulate(AllReduce(), tmp_path / "free", workers=4, cluster=options)
    assert free["nodes"][0]["seconds"]["exposed_communication"] == pytest.approx(2 * 6e-3, rel=0.1)
    held = simulate(AllReduce(), tmp_path / "held", workers=4, cluster=replace(options, cpus=0.1))
    assert held["seconds"] > 2 * 50e-3  # each step's 6 ms of work fill six periods of a tenth of a core


def test_the_backward_pass_is_slower_only_while_gradients_travel(tmp_path: Path) -> None:
    """A small model has one bucket, which is ready at the end: nothing travels behind its backward pass."""
    plain, slower = (
        simulate(AllReduce(), tmp_path / name, cluster=cluster(tmp_path, slowdown=slowdown))
        for name, slowdown in (("plain", 1.0), ("slower", 3.0))
    )
    assert slower["seconds"] == plain["seconds"]
