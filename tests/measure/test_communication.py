"""Sizes and formulas of the operations; and one small measurement for real."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.clusters.cluster import Processes
from manyhands.clusters.processes.fleet import Fleet
from manyhands.errors import UserError
from manyhands.measure.communication import (
    FACTORS,
    NUMBER,
    Limit,
    link_limit,
    read_size,
    size_text,
    sizes,
    tables,
    time_operation,
)
from manyhands.measure.results import Spread


def test_sizes_are_read_and_written() -> None:
    assert [read_size(text) for text in ("4KiB", "64 MiB", "1GiB", "12B")] == [4096, 64 * 2**20, 2**30, 12]
    assert [size_text(size) for size in (12, 4096, 64 * 2**20)] == ["12 B", "4 KiB", "64 MiB"]


@pytest.mark.parametrize("text", ["", "64", "64MB", "-4KiB", "0KiB", "1.5MiB", "KiB"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not a size"):
        read_size(text)


@given(st.integers(4, 10**6), st.integers(1, 64), st.integers(2, 10), st.integers(2, 9))
def test_sizes_can_be_shared_out(smallest: int, times: int, factor: int, processes: int) -> None:
    chosen = sizes(smallest, smallest * times, factor, processes)
    assert chosen == sorted(set(chosen))
    assert all(size % (NUMBER * processes) == 0 for size in chosen)
    assert 0 <= chosen[0] - smallest < NUMBER * processes


def test_the_usual_sizes() -> None:
    usual = [size_text(size) for size in sizes(4096, 64 * 2**20, 4, 2)]
    assert usual == ["4 KiB", "16 KiB", "64 KiB", "256 KiB", "1 MiB", "4 MiB", "16 MiB", "64 MiB"]


@pytest.mark.parametrize(("smallest", "largest", "factor"), [(8192, 4096, 2), (2, 4096, 2), (4096, 8192, 1)])
def test_rows_of_sizes_that_are_none(smallest: int, largest: int, factor: int) -> None:
    with pytest.raises(UserError, match=r"--smallest|--factor"):
        sizes(smallest, largest, factor, 2)


@pytest.mark.parametrize(
    ("operation", "traffic"),
    # Bytes that must leave the busiest of 4 processes for 1 byte of the whole, by the definition of each operation.
    [("all-reduce", 1.5), ("all-gather", 0.75), ("reduce-scatter", 0.75), ("broadcast", 1), ("send/receive", 1)],
)
def test_bus_bandwidth_is_the_rate_of_the_link(operation: str, traffic: float) -> None:
    assert FACTORS[operation](4) == pytest.approx(traffic)
    rate, size = 1e8, 4_000_000
    seconds = size * traffic / rate  # of an operation that uses the link as well as can be
    summary, whole = tables({(operation, size): Spread(seconds, seconds, seconds, 1)}, 4, Limit(rate, 1e-5, None))
    row = whole.rows[0]
    assert isinstance(row["busbw"], Spread)
    assert isinstance(row["algbw"], Spread)
    assert isinstance(row["share"], Spread)
    assert row["busbw"].value == pytest.approx(rate)
    assert row["algbw"].value == pytest.approx(size / seconds)
    assert row["share"].value == pytest.approx(1)
    assert summary.rows[0]["latency"] == row["time"]


def test_operations_of_three_processes_for_real() -> None:
    with Fleet(3, Processes(threads=1, timeout=60)) as fleet:
        for operation in FACTORS:
            answers = fleet.call(time_operation, operation, 12 * 1024, 3)
            assert [len(times) for times in answers] == [3, 3, 3]
            slowest = [max(times) for times in zip(*answers, strict=True)]
            assert all(0 < seconds < 10 for seconds in slowest), operation
        rate, latency = fleet.call(link_limit, "127.0.0.1", nodes=2)[0]
    assert rate > 1e6
    assert 0 < latency < 1
