"""Latency and bandwidth of the backend's operations over message sizes, beside the limit of the link.

Names and formulas are those of nccl-tests (https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md):
algbw = S / t, and busbw = algbw times a factor that makes it comparable with the rate of a link, whatever the operation
and the number of processes.
"""

import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist

from manyhands.clusters.cluster import Processes
from manyhands.clusters.processes.fleet import Fleet
from manyhands.clusters.processes.launch import Place
from manyhands.clusters.quantities import bytes_per_second, format_seconds
from manyhands.errors import UserError
from manyhands.measure.results import BenchFolder, Cell, Column, Say, Spread, Table, percent

KIB = 1024
UNITS = {"B": 1, "KiB": KIB, "MiB": KIB**2, "GiB": KIB**3}
NUMBER = 4
"""bytes of one number, float32"""
REPEAT_SECONDS = 0.02
"""the least that a repeat lasts: quick operations are timed several at a time"""
MOST_AT_ONCE = 100
WARM_UP = 3
LIMIT_SECONDS = 1.0
PINGS = 200

FACTORS: Mapping[str, Callable[[int], float]] = {
    "all-reduce": lambda n: 2 * (n - 1) / n,
    "all-gather": lambda n: (n - 1) / n,
    "reduce-scatter": lambda n: (n - 1) / n,
    "broadcast": lambda n: 1.0,
    "send/receive": lambda n: 1.0,
}
"""busbw / algbw for n processes"""

COLUMNS = (
    Column(key="operation", heading="Operation", short="operation"),
    Column(
        key="size", heading="Size", short="size",
        meaning="S: of the whole vector; in all-gather that of all parts together, in reduce-scatter before it is "
        "scattered.",
    ),
    Column(key="bytes", heading="Size in bytes", unit=""),
    Column(
        key="time", heading="Time", short="time", spread=True, unit="s",
        meaning="t, of the last process to finish: median over repeats, with quartiles. Of send/receive half a round "
        "trip. At the smallest sizes this is the latency.",
    ),
    Column(key="algbw", heading="algbw", short="algbw", unit="B/s", meaning="S / t."),
    Column(
        key="busbw", heading="busbw", short="busbw", unit="B/s",
        meaning="algbw · 2 (n − 1) / n for all-reduce, algbw · (n − 1) / n for all-gather and reduce-scatter, algbw "
        "for broadcast and send/receive; n processes.",
    ),
    Column(key="limit", heading="Link's limit", unit="B/s", meaning="What one TCP connection of two of them gives."),
    Column(key="share", heading="Share of the limit", short="of limit", unit="share", meaning="busbw / link's limit."),
)  # fmt: skip
SUMMARY = (
    Column(key="operation", heading="Operation", short="operation"),
    Column(key="latency", heading="Latency", short="latency", spread=True, unit="s", meaning="t at the smallest size."),
    Column(
        key="busbw",
        heading="Best busbw",
        short="best busbw",
        spread=True,
        unit="B/s",
        meaning="The greatest over the sizes.",
    ),
    Column(key="size", heading="At size", short="at size"),
    Column(key="share", heading="Share of the limit", short="of limit", unit="share", meaning="busbw / link's limit."),
)


def read_size(text: str) -> int:
    """``64MiB`` as bytes; raises UserError unless it is a whole number of B, KiB, MiB or GiB."""
    match = re.fullmatch(r"\s*([0-9]+)\s*([KMG]iB|B)\s*", text, re.ASCII)
    if match is None or not int(match[1]):
        raise UserError(f"'{text}' is not a size: write a number and one of {', '.join(UNITS)}, e.g. 64MiB")
    return int(match[1]) * UNITS[match[2]]


def size_text(size: int) -> str:
    """``65536`` as ``64 KiB``."""
    unit = next(unit for unit, scale in reversed(UNITS.items()) if size >= scale)
    return f"{size / UNITS[unit]:g} {unit}"


def sizes(smallest: int, largest: int, factor: int, processes: int) -> list[int]:
    """From the smallest size to the largest, each ``factor`` times the one before, rounded up so that it can be shared.

    Raises UserError for sizes or a factor that make no row.
    """
    if not NUMBER <= smallest <= largest:
        raise UserError(f"--smallest must be at least {NUMBER}B and at most --largest {size_text(largest)}")
    if factor < 2:
        raise UserError(f"--factor must be at least 2, not {factor}")
    unit = NUMBER * processes
    chosen, size = [], smallest
    while size <= largest:
        chosen.append(-(-size // unit) * unit)
        size *= factor
    return list(dict.fromkeys(chosen))


@dataclass(frozen=True)
class Limit:
    """What a link gives to one TCP connection."""

    rate: float
    """bytes of payload per second"""
    latency: float
    """seconds one way: half the median round trip of one byte"""
    nominal: float | None
    """bytes per second that emulated hosts are shaped to"""


def measure_communication(
    bench: BenchFolder,
    options: Processes,
    operations: Sequence[str],
    sizes: Sequence[int],
    processes: int,
    repeats: int,
    say: Say,
    device: str = "cpu",
) -> None:
    """Start so many processes, measure, and put the tables into the bench's result; raises UserError and RunError."""
    say.expect(2 + len(operations) * len(sizes))
    say(f"starting {processes} processes")
    with Fleet(processes, options, device=device) as fleet:
        say("the link's limit")
        addresses = [fleet.hosts.address(rank % options.hosts) if fleet.hosts else "127.0.0.1" for rank in (0, 1)]
        rate, latency = fleet.call(link_limit, addresses[0], nodes=2)[0]
        limit = Limit(rate, latency, bytes_per_second(options.network) if fleet.hosts else None)
        bench.result.conditions = {**bench.result.conditions, **_conditions(limit, options, processes, repeats)}
        seconds: dict[tuple[str, int], Spread] = {}
        for operation in operations:
            for size in sizes:
                say(f"{operation}, {size_text(size)}")
                each = fleet.call(time_operation, operation, size, repeats, device)
                seconds[operation, size] = Spread.of([max(times) for times in zip(*each, strict=True)])
                bench.result.tables = tables(seconds, processes, limit)
    bench.result.sentences = _sentences(bench.result.tables[0], limit)
    bucket = "The shaper of an emulated host lets a little through at once before it slows down what follows: messages "
    bucket += "of tens of KiB that come one by one can be faster than the link."
    bench.result.notes = [
        *([bucket] if options.hosts else []),
        "All processes of one machine share its processor: it sets a limit beside that of the link, above all where "
        "there are more processes than cores.",
        "Gloo forms reduce-scatter by a whole all-reduce, of which each process keeps its part: twice the traffic that "
        "the operation needs.",
    ]


def tables(seconds: Mapping[tuple[str, int], Spread], processes: int, limit: Limit) -> list[Table]:
    """The summary and the whole table of times by operation and size in bytes."""
    rows: list[dict[str, Cell]] = []
    for (operation, size), time_ in seconds.items():
        factor = FACTORS[operation](processes)
        rows.append(
            {
                "operation": operation,
                "size": size_text(size),
                "bytes": size,
                "time": time_,
                "algbw": time_.map(lambda t, s=size: s / t),  # type: ignore[misc]
                "busbw": time_.map(lambda t, s=size * factor: s / t),  # type: ignore[misc]
                "limit": limit.rate,
                "share": time_.map(lambda t, s=size * factor: s / t / limit.rate),  # type: ignore[misc]
            }
        )
    summary: list[dict[str, Cell]] = []
    for operation in dict.fromkeys(operation for operation, _ in seconds):
        own = [row for row in rows if row["operation"] == operation]
        best = max(own, key=lambda row: row["busbw"].value if isinstance(row["busbw"], Spread) else 0.0)
        summary.append(
            {
                "operation": operation,
                "latency": own[0]["time"],
                "busbw": best["busbw"],
                "size": best["size"],
                "share": best["share"],
            }
        )
    words = f"{processes} processes; the link's limit is {limit.rate * 8 / 1e9:.3g} Gbit/s of payload."
    return [
        Table(key="summary", title="Latency and best bandwidth", columns=SUMMARY, rows=summary, words=words),
        Table(key="communication", title="By operation and size", columns=COLUMNS, rows=rows, words=words),
    ]


def _conditions(limit: Limit, options: Processes, processes: int, repeats: int) -> dict[str, str]:
    nominal = {} if limit.nominal is None else {"link, nominal": f"{limit.nominal * 8 / 1e9:.3g} Gbit/s"}
    return {
        "processes": str(processes),
        "hosts": f"{options.hosts} emulated" if options.hosts else "this machine, over loopback",
        **nominal,
        "link, measured": f"{limit.rate * 8 / 1e9:.3g} Gbit/s of payload over one TCP connection",
        "link, latency": f"{format_seconds(limit.latency)} one way",
        "repeats": str(repeats),
    }


def _sentences(summary: Table, limit: Limit) -> list[str]:
    told = []
    for row in summary.rows:
        latency, busbw, share = row["latency"], row["busbw"], row["share"]
        assert isinstance(latency, Spread)
        assert isinstance(busbw, Spread)
        assert isinstance(share, Spread)
        told.append(
            f"{str(row['operation']).capitalize()}: latency {format_seconds(latency.value)}, bus bandwidth up to "
            f"{busbw.value / 1e9:.3g} GB/s (at {row['size']}), {percent(share.value)} of the link's limit."
        )
    return told


# ---- in the processes


def time_operation(place: Place, operation: str, size: int, repeats: int, device: str = "cpu") -> list[float]:
    """Seconds of an operation on ``size`` bytes, one value a repeat: a mean over as many as last `REPEAT_SECONDS`."""
    act = _operation(operation, size, place, torch.device(device))
    trips = 2 if operation == "send/receive" else 1  # there and back
    quick = [_seconds(act, 1, device) for _ in range(WARM_UP)][-1]
    at_once = torch.tensor([min(MOST_AT_ONCE, 1 + int(REPEAT_SECONDS / quick))])
    dist.broadcast(at_once, 0)  # all must take as many
    return [_seconds(act, int(at_once), device) / trips for _ in range(repeats)]


def _seconds(act: Callable[[], object], times: int, device: str) -> float:
    dist.barrier()
    start = time.perf_counter()
    for _ in range(times):
        act()
    if device != "cpu":
        torch.accelerator.synchronize()
    return (time.perf_counter() - start) / times


def _operation(name: str, size: int, place: Place, device: torch.device) -> Callable[[], object]:
    whole = torch.ones(size // NUMBER, device=device)
    part = torch.ones(size // NUMBER // place.world, device=device)
    if name == "all-reduce":
        return lambda: dist.all_reduce(whole)
    if name == "broadcast":
        return lambda: dist.broadcast(whole, 0)
    if name == "all-gather":
        parts = list(whole.chunk(place.world))
        return lambda: dist.all_gather(parts, part)
    if name == "reduce-scatter":
        parts = list(whole.chunk(place.world))
        return lambda: dist.reduce_scatter(part, parts)
    assert name == "send/receive", name
    return lambda: _ping_pong(whole, place.rank)


def _ping_pong(tensor: torch.Tensor, rank: int) -> None:
    """From the first process to the second and back; others look on."""
    if rank == 0:
        dist.send(tensor, 1)
        dist.recv(tensor, 1)
    elif rank == 1:
        dist.recv(tensor, 0)
        dist.send(tensor, 0)


def link_limit(place: Place, address: str) -> tuple[float, float]:
    """What one TCP connection between the first two processes gives: bytes per second, and seconds one way.

    The first listens at ``address``. Payload that has arrived is counted, over about a second.
    """
    if place.rank == 0:
        with socket.create_server((address, 0)) as listener:
            dist.send(torch.tensor([listener.getsockname()[1]]), 1)
            connection, _ = listener.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return _receive_all(connection), _ping(connection)
    port = torch.zeros(1, dtype=torch.int64)
    dist.recv(port, 0)
    with socket.create_connection((address, int(port))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _send_all(connection)
        for _ in range(PINGS):
            connection.sendall(connection.recv(1))
    return 0.0, 0.0


def _send_all(connection: socket.socket) -> None:
    """Sends for as long as is measured, then waits until all has arrived."""
    piece = bytes(KIB**2)
    begin = time.perf_counter()
    while time.perf_counter() < begin + LIMIT_SECONDS:
        connection.sendall(piece)
    connection.sendall(b"\1")
    connection.recv(1)


def _receive_all(connection: socket.socket) -> float:
    """Bytes per second, from when the flow has got under way to its end."""
    buffer = memoryview(bytearray(KIB**2))
    skipped, received, start = 0, 0, 0.0
    while True:
        count = connection.recv_into(buffer)
        assert count, "the other end has gone"
        if start:
            received += count
        else:
            skipped += count
            if skipped >= 256 * KIB:  # past slow start, and what a shaper lets through at once
                start = time.perf_counter()
        if buffer[count - 1]:  # the last byte alone is not zero
            rate = received / (time.perf_counter() - start)
            connection.sendall(b"\1")
            return rate


def _ping(connection: socket.socket) -> float:
    trips = []
    for _ in range(PINGS):
        start = time.perf_counter()
        connection.sendall(b"\1")
        connection.recv(1)
        trips.append(time.perf_counter() - start)
    return sorted(trips)[PINGS // 2] / 2
