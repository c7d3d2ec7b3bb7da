"""Clients that are not alike: their speeds and links, and what that makes of times worked out by hand."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clockwork import clockwork, write
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Scripted, make_task, simulate

from manyhands import lab
from manyhands.clusters.cluster import Simulated
from manyhands.clusters.collectives import COLLECTIVES, Collective
from manyhands.clusters.node import Node
from manyhands.clusters.spread import SPREADS, Even, LogNormal, UniformSpread
from manyhands.errors import UserError
from manyhands.runs.specification import Specification
from manyhands.strategies import AllReduce, FedAvg

CLIENTS = 20_000


def drawn(text: str, clients: int = CLIENTS, seed: int = 0, purpose: str = "speeds") -> np.ndarray:
    factors = SPREADS.parse(text).factors(clients, seed, purpose)
    assert list(factors) == list(range(clients))
    return np.array(list(factors.values()))


def test_by_default_all_are_alike() -> None:
    assert Even().factors(5, 0, "speeds") == {}
    assert Simulated().computing_factors(5, 0) == Simulated().link_factors(5, 0) == {}


def test_half_of_a_log_normal_spread_is_faster() -> None:
    logarithms = np.log(drawn("lognormal:0.5"))
    error = 0.5 / math.sqrt(CLIENTS)
    assert logarithms.mean() == pytest.approx(0, abs=4 * error)
    assert logarithms.std() == pytest.approx(0.5, rel=0.03)
    assert np.median(logarithms) == pytest.approx(0, abs=5 * error)


def test_a_uniform_spread_fills_its_range() -> None:
    factors = drawn("uniform:0.5,4")
    assert factors.min() == pytest.approx(0.5, abs=0.01)
    assert factors.max() == pytest.approx(4, abs=0.01)
    assert factors.mean() == pytest.approx(2.25, abs=0.05)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(text=st.sampled_from(["lognormal:1", "uniform:1,9"]), seed=st.integers(0, 9), few=st.integers(1, 50))
def test_a_client_s_factor_is_its_own(text: str, seed: int, few: int) -> None:
    """However many there are; another one for another purpose or seed."""
    assert drawn(text, few, seed).tolist() == drawn(text, 50, seed)[:few].tolist()
    assert drawn(text, 50, seed).tolist() != drawn(text, 50, seed, "links").tolist()
    assert drawn(text, 50, seed).tolist() != drawn(text, 50, seed + 1).tolist()


def test_who_is_slow_is_so_besides() -> None:
    cluster = Simulated(speeds=LogNormal(0.3), slow=("1:4", "7:2"))
    factors, others = cluster.computing_factors(3, 5), LogNormal(0.3).factors(3, 5, "speeds")
    assert factors == {0: others[0], 1: 4 * others[1], 2: others[2], 7: 2.0}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        ("[1, 2", "is damaged: it must be a JSON list of numbers"),
        ("{}", "is damaged"),
        ('[1, "2", 3]', "is damaged"),
        ("[1, true, 3]", "is damaged"),
        ("[1, 0, 3]", "factors must be positive and finite, not 0"),
        ("[1, -2, 3]", "not -2"),
        ("[1, NaN, 3]", "not nan"),
        ("[1, 2]", "has 2 factors for 3 clients"),
    ],
)
@pytest.mark.parametrize("option", ["speeds", "links"])
def test_a_file_that_does_not_do(option: str, content: str | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "factors.json"
    if content is not None:
        file.write_text(content)
    cluster = Simulated(**{option: SPREADS.parse(f"file:{file}")})
    with pytest.raises(UserError, match=message) as error:
        lab.prepare(Specification(workers=3, cluster=cluster), make_task())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["lognormal:0", "lognormal:-1", "lognormal:inf", "uniform:0,1", "uniform:3,2", "odd"])
def test_impossible_spreads(text: str) -> None:
    with pytest.raises(UserError, match="spread"):
        SPREADS.parse(text)


# ---- times


def test_a_slow_client_takes_longer_and_its_server_does_not(tmp_path: Path) -> None:
    """Each averages two vectors of 1,000 numbers (24,000 bytes) and computes a gradient."""

    class Busy(Scripted):
        servers = 1

        async def worker(self, node: Node) -> None:
            async for message in node.incoming(node.server):
                node.average([torch.ones(1000), torch.ones(1000)])
                await node.gradient(node.next_batch())
                await node.send(node.server, tag=message.tag)

        async def server(self, node: Node) -> None:
            async for _ in node.epochs():
                await node.broadcast(node.workers)
                await node.gather(node.workers)
                node.average([torch.ones(1000), torch.ones(1000)])
                await node.now()

    even = simulate(Busy(), tmp_path / "even")["nodes"]
    factors = [3.0, 0.5]
    cluster = Simulated(speeds=SPREADS.parse(f"file:{write(tmp_path / 'factors.json', [*factors, 9.0])}"))
    uneven = simulate(Busy(), tmp_path / "uneven", cluster=cluster)["nodes"]
    compute = [[node["seconds"]["compute"] for node in nodes] for nodes in (even, uneven)]
    expected = [factor * each for factor, each in zip(factors, compute[0], strict=False)]
    assert compute[1][:2] == pytest.approx(expected, rel=1e-4)  # but for whole nanoseconds
    assert compute[1][2] == compute[0][2] > 0


class Ends(Scripted):
    """A message of 40 bytes each way."""

    async def worker_0(self, node: Node) -> None:
        await node.send(1, torch.zeros(10))
        await node.receive(1)
        self.seen.append(await node.now())

    async def worker_1(self, node: Node) -> None:
        await node.receive(0)
        await node.send(0, torch.zeros(10))


@pytest.mark.parametrize(("factors", "end"), [([1, 1], 0.004), ([4, 1], 0.010), ([1, 4], 0.010), ([0.5, 0.25], 0.003)])
def test_the_narrower_end_decides(factors: list[float], end: float, tmp_path: Path) -> None:
    Ends.seen.clear()
    links = SPREADS.parse(f"file:{write(tmp_path / 'factors.json', factors)}")
    simulate(Ends(), tmp_path / "run", cluster=clockwork(tmp_path, links=links))
    assert Ends.seen == [end]


def test_servers_have_the_nominal_link(tmp_path: Path) -> None:
    """To clients with links four times as fast, the weights go at the server's own rate: 2 ms for two of them."""
    links = SPREADS.parse(f"file:{write(tmp_path / 'factors.json', [0.25, 0.25, 0.25])}")
    ledger = simulate(FedAvg(), tmp_path / "run", rounds=1, cluster=clockwork(tmp_path, links=links))
    assert ledger["seconds"] == pytest.approx(0.003 + 0.004 + 0.003)


OWN = [kind() for name, kind in COLLECTIVES.members.items() if name != "native"]


@pytest.mark.parametrize("workers", [2, 3, 4, 6])
@pytest.mark.parametrize("collective", OWN, ids=str)
def test_a_collective_as_a_whole_takes_what_its_messages_take_over_uneven_links(
    collective: Collective, workers: int, tmp_path: Path
) -> None:
    """To the nanosecond, where the parts are equal; a ring goes at the pace of its slowest link."""

    class Meeting(Scripted):
        async def worker(self, node: Node) -> None:
            async for _ in node.epochs():
                self.seen.append(await node.all_reduce(torch.full((840 * workers,), float(node.rank)), collective))

    def seconds(mode: Any) -> float:
        cluster = Simulated(collectives=mode, links=UniformSpread(0.5, 8))
        ledger = simulate(Meeting(), tmp_path / mode, workers=workers, cluster=cluster, seed=workers)
        total: float = ledger["seconds"]
        return total

    assert seconds("rounds") == seconds("messages")
    assert all(mean.allclose(torch.full_like(mean, (workers - 1) / 2)) for mean in Meeting.seen)


def test_a_slow_link_holds_up_everybody_s_all_reduce(tmp_path: Path) -> None:
    """The backend's own, overlapped with the gradient or not: a ring, whose parts go over all links."""
    links = SPREADS.parse(f"file:{write(tmp_path / 'factors.json', [1, 1, 5, 1])}")
    even, uneven = (
        simulate(AllReduce(), tmp_path / name, workers=4, cluster=clockwork(tmp_path, **options))
        for name, options in (("even", {}), ("uneven", {"links": links}))
    )
    steps, hops, part = 2, 6, 0.001 / 4  # of 40 bytes
    assert even["seconds"] == pytest.approx(steps * (0.001 + hops * (0.001 + part)))
    assert uneven["seconds"] == pytest.approx(steps * (0.001 + hops * (0.001 + 5 * part)))


@pytest.mark.parametrize("strategy", [FedAvg(), AllReduce()], ids=str)
def test_a_rehearsal_takes_what_the_run_takes(strategy: Any, tmp_path: Path) -> None:
    cluster = Simulated(speeds=LogNormal(0.5), links=LogNormal(0.5), bandwidth="10Mbit/s")
    specification = Specification(strategy=strategy, workers=4, batch_size=8, epochs=2, cluster=cluster)
    ledger = simulate(strategy, tmp_path / "run", workers=4, epochs=2, cluster=cluster)
    assert lab.rehearse(specification, task=make_task()).seconds == ledger["seconds"]
