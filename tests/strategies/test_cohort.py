"""Who is chosen: against distributions, and against availability looked up the slow way."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.clusters.drawing import Drawing
from manyhands.errors import UserError
from manyhands.strategies import parse_strategy
from manyhands.strategies.availability import Trace
from manyhands.strategies.cohort import COHORTS, Available, Cohort, Diurnal, Uniform, Weighted

ROUNDS = 6_000


class Chooser(Drawing):
    """As much of a server as a cohort sees: its clock goes on when it sleeps, and no other way."""

    def __init__(self, samples: list[int], seed: int = 0, clock: float = 0.0) -> None:
        self.workers, self.seed, self.clock, self._samples = range(len(samples)), seed, clock, samples

    def samples_of(self, worker: int) -> int:
        return self._samples[worker]

    async def now(self) -> float:
        return self.clock

    async def sleep(self, seconds: float) -> None:
        self.clock += seconds


def choose(cohort: Cohort, node: Chooser, size: int, number: int = 0) -> list[int]:
    chosen: list[int] = asyncio.run(cohort.choose(node, size, number))  # type: ignore[arg-type]
    return chosen


async def _many(cohort: Cohort, node: Any, size: int) -> list[list[int]]:
    return [await cohort.choose(node, size, number) for number in range(ROUNDS)]


def frequencies(cohort: Cohort, node: Chooser, size: int) -> np.ndarray:
    """The share of rounds for which each client is chosen."""
    rounds = asyncio.run(_many(cohort, node, size))
    assert all(chosen == sorted(set(chosen)) and len(chosen) == size for chosen in rounds)
    counts = Counter(client for chosen in rounds for client in chosen)
    return np.array([counts[client] for client in node.workers]) / ROUNDS


def test_uniform_and_weighted_choose_as_often_as_they_should() -> None:
    """Within five standard errors."""
    samples = [10, 20, 30, 40]
    error = 5 * 0.5 / ROUNDS**0.5
    assert frequencies(Uniform(), Chooser(samples), 1) == pytest.approx([0.25] * 4, abs=error)
    assert frequencies(Uniform(), Chooser(samples), 3) == pytest.approx([0.75] * 4, abs=error)
    assert frequencies(Weighted(), Chooser(samples), 1) == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=error)


def test_two_that_are_weighted_are_drawn_one_after_the_other() -> None:
    """P(i) = pᵢ + Σⱼ pⱼ pᵢ / (1 − pⱼ): the second among those who are left."""
    p = np.array([0.1, 0.2, 0.3, 0.4])
    expected = [p[i] + sum(p[j] * p[i] / (1 - p[j]) for j in range(4) if j != i) for i in range(4)]
    found = frequencies(Weighted(), Chooser([10, 20, 30, 40]), 2)
    assert found == pytest.approx(expected, abs=5 * 0.5 / ROUNDS**0.5)


@pytest.mark.parametrize("cohort", [Uniform(), Weighted(), Diurnal(10.0, 0.5)], ids=str)
def test_a_round_s_cohort_depends_on_seed_and_round_alone(cohort: Cohort) -> None:
    samples = list(range(1, 41))
    chosen = [choose(cohort, Chooser(samples, seed), 5, number) for seed in (0, 1) for number in (0, 1)]
    assert chosen == [choose(cohort, Chooser(samples, seed), 5, number) for seed in (0, 1) for number in (0, 1)]
    assert len(set(map(tuple, chosen))) == 4


# ---- traces

times = st.integers(0, 20)
spans = st.lists(st.tuples(times, times).filter(lambda pair: pair[0] < pair[1]), max_size=4)


def apart(own: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those that do not overlap one that begins before them."""
    kept: list[tuple[int, int]] = []
    for start, end in sorted(own):
        if not kept or start >= kept[-1][1]:
            kept.append((start, end))
    return kept


def written(folder: Path, content: dict[int, list[tuple[int, int]]], kind: str) -> str:
    file = folder / f"trace.{kind}"
    if kind == "csv":
        rows = [f"{client},{start},{end}" for client, own in content.items() for start, end in own]
        file.write_text("\n".join(["client,start,end", *rows]))
    else:
        body = ", ".join(f'"{client}": {[list(span) for span in own]}' for client, own in content.items())
        file.write_text(f"{{{body}}}")
    return str(file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traces")


@settings(derandomize=True, deadline=None)
@given(
    content=st.lists(spans.map(apart), min_size=1, max_size=5).map(lambda lists: dict(enumerate(lists))),
    period=st.sampled_from([0, 20, 25]),
    clients=st.integers(1, 5),
    kind=st.sampled_from(["json", "csv"]),
)
def test_a_trace_is_what_its_file_says(
    content: dict[int, list[tuple[int, int]]], period: int, clients: int, kind: str, folder: Path
) -> None:
    """Looked up one by one, at whole and half seconds, over three periods."""
    trace = Trace.read(written(folder, content, kind), period)
    assert trace.named == {client for client, own in content.items() if own or kind == "json"}
    trace = trace.first(clients)

    def there(now: float) -> list[int]:
        within = now % period if period else now
        return [
            client
            for client, own in content.items()
            if client < clients and any(start <= within < end for start, end in own)
        ]

    moments = [half / 2 for half in range(150)]
    assert [trace.at(now) for now in moments] == [there(now) for now in moments]
    assert trace.most == max(len(there(now)) for now in moments)
    for now in moments[:100]:
        if not there(now):
            coming = [later for later in moments if later > now and there(later)]
            assert trace.wait(now) == (coming[0] - now if coming else np.inf)


def test_the_server_waits_until_somebody_is_there(folder: Path) -> None:
    cohort = Available(written(folder, {0: [(7, 8)], 1: [(3, 5)], 2: []}, "json"), period=10)
    for clock, chosen, end in ((0.0, [1], 3.0), (4.5, [1], 4.5), (5.0, [0], 7.0), (8.0, [1], 13.0), (21.0, [1], 23.0)):
        node = Chooser([1, 1, 1], clock=clock)
        assert choose(cohort, node, 1) == chosen
        assert node.clock == end


@settings(derandomize=True, deadline=None, max_examples=30)
@given(period=st.floats(1, 1e6), share=st.floats(0.05, 0.95), clock=st.floats(0, 1e7), seed=st.integers(0, 99))
def test_somebody_is_there_after_the_wait(period: float, share: float, clock: float, seed: int) -> None:
    """Whatever rounding does; not long after the time that is said."""
    cohort, node = Diurnal(period, share), Chooser([1, 1], seed, clock)
    wait = 0.0 if cohort.there(node, clock) else cohort.wait(node, clock)  # type: ignore[arg-type]
    assert choose(cohort, node, 2)
    assert clock + wait <= node.clock + 1e-6 <= clock + wait + 1e-3 + 2e-6


def test_each_client_is_there_for_its_share_of_a_day() -> None:
    cohort, node = Diurnal(24.0, 0.25), Chooser([1] * 50)
    hours = np.zeros((240, 50), dtype=bool)
    for hour in range(240):
        hours[hour, cohort.there(node, hour / 10)] = True  # type: ignore[arg-type]
    assert hours.mean(0) == pytest.approx(0.25, abs=0.01)  # of each
    assert hours.any(1).all()
    edges = (hours != np.roll(hours, 1, axis=0)).sum(0)
    assert (edges == 2).all()  # in one piece


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("available", "needs file"),
        ("available:x,period=-1", "the period must be a number of seconds, zero or more and finite, not -1.0"),
        ("diurnal", "needs period"),
        ("diurnal:0,0.5", "the period must be a positive number of seconds, not 0.0"),
        ("diurnal:10,0", r"the share must lie in \(0, 1\], not 0.0"),
        ("diurnal:10,1.5", "not 1.5"),
        ("best", "unknown cohort 'best': choose from uniform, weighted, available:FILE, diurnal:PERIOD,SHARE"),
    ],
)
def test_impossible_cohorts(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        COHORTS.parse(text)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.json", None, "cannot be read: No such file"),
        ("a.json", "[", 'is damaged: it must be a JSON object of intervals by client, e.g. {"0": '),
        ("b.json", "[[0, 1]]", "is damaged"),
        ("c.json", '{"0": [[1]]}', "is damaged"),
        ("d.json", '{"first": [[1, 2]]}', "is damaged"),
        ("e.json", '{"0": [[2, 1]]}', "client 0 cannot be available from 2 to 1 s"),
        ("f.json", '{"0": [[-1, 1]]}', "from -1 to 1 s"),
        ("g.json", '{"0": [[0, 30]]}', "times rise from 0, up to the period of 20"),
        ("h.json", '{"-3": [[0, 3]]}', "client -3"),
        ("i.json", '{"0": [[0, NaN]]}', "client 0 cannot"),
        ("j.json", '{"4": [[0, 3], [2, 5]]}', "the intervals of client 4 from 0 and from 2 s overlap"),
        ("k.csv", "client,start\n0,1", "is damaged"),
        ("l.csv", "client,start,end\n0,1", "is damaged"),
        ("m.csv", "client,start,end\n0,1,x", "is damaged"),
        ("n.csv", "client,start,end\n0,5,3", "from 5 to 3 s"),
        ("o.json", b"\xff\xfe\x00", "is damaged"),
    ],
)
def test_a_trace_that_does_not_do(name: str, content: Any, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message) as error:
        Trace.read(str(tmp_path / name), 20)
    assert "\n" not in str(error.value)
    assert name in str(error.value)


def test_a_trace_must_know_all_clients(tmp_path: Path) -> None:
    (tmp_path / "trace.json").write_text('{"0": [[0, 9]], "2": [[0, 9]], "7": [[0, 9]]}')
    cohort = Available(str(tmp_path / "trace.json"))
    with pytest.raises(UserError, match=r"has no client 1: it must name all of 0 … 2"):
        cohort.check(1, 3)
    cohort.check(1, 1)


def test_a_cohort_is_written_as_it_is_read() -> None:
    for text in ("uniform", "weighted", "available:day.json,86400.0", "diurnal:86400.0,0.3"):
        assert str(COHORTS.parse(text)) == text
    strategy = parse_strategy("fedavg:cohort=diurnal:60,0.5,fraction=0.2,deadline=3s,over_selection=0.3")
    assert strategy == parse_strategy(str(strategy))
    assert not strategy.synchronous
