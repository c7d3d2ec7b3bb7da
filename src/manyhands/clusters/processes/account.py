"""Puts a real node's time on its account, so that every moment is on it once."""

import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import torch
import torch.distributed as dist
from torch import Tensor

from manyhands.clusters.node import Node
from manyhands.clusters.processes.stopwatch import Stopwatch
from manyhands.runs.trace import Kind

BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Transfer:
    """Something that a collective operation brought about, from and to when (ns, with all pauses)."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Meeting:
    """A collective operation of the backend's: one after another transfer of which it consists."""

    ready: int
    """when this node had computed all that it brought to it (ns)"""
    end: int
    """when it had the result (ns)"""
    transfers: tuple[Transfer, ...]


class Account:
    """Books a node's time, lap by lap: what happened since the last lap is of one kind.

    How much of a collective operation was waiting for others is known when the nodes tell each other when each was
    ready (`settle`): it is booked then.
    """

    def __init__(self, node: Node, watch: Stopwatch) -> None:
        self.node, self.watch = node, watch
        self.meetings: list[Meeting] = []
        self._mark = 0
        """up to when everything is booked (ns, with all pauses), but for meetings that are not settled"""
        node.lap = self.arithmetic

    def start(self) -> None:
        self._mark = self.watch.wall()

    def lap(self, kind: Kind, name: str = "") -> int:
        """Book what happened since the last lap; returns up to when (ns)."""
        now = self.watch.wall()
        self.node.book(kind, self._mark, now, name)
        self._mark = now
        return now

    def arithmetic(self) -> int:
        """A lap of the strategy's own arithmetic."""
        return self.lap(self.node.arithmetic, "vector arithmetic" if self.node.arithmetic == "compute" else "")

    @contextmanager
    def timed(self, kind: Kind, name: str = "") -> Iterator[None]:
        """A lap that ends with the block."""
        yield
        self.lap(kind, name)

    @contextmanager
    def paused(self, name: str = "") -> Iterator[None]:
        """A lap off the run's clock."""
        with self.watch.paused():
            yield
            self.lap("evaluation", name)

    def meet(self, ready: int, transfers: Sequence[Transfer], end: int, name: str = "") -> None:
        """Book a collective operation that gave its result at ``end``: computing and, behind it, transfers.

        What came after the node was ready is booked later, see `settle`. Of transfers that are under way together, one
        is taken to begin when the other has ended.
        """
        self.node.book("compute", self._mark, ready, name)
        parts, done = [], 0
        for transfer in transfers:
            start = max(transfer.start, done)
            self.node.book("hidden", start, min(transfer.end, ready), transfer.name)
            parts.append(Transfer(transfer.name, max(start, ready), transfer.end))
            done = max(done, transfer.end)
        self._mark = end
        self.meetings.append(Meeting(ready, end, tuple(part for part in parts if part.end > part.start)))

    def settle(self, group: dist.ProcessGroup | None, size: int) -> None:
        """Book the meetings of a group of so many nodes, of which all call this; without a group as if none waited.

        On several machines, whose clocks differ, none waits either: all is communication then.
        """
        latest = [meeting.ready for meeting in self.meetings]
        if group is not None and size > 1:
            origin = self.watch.origin
            own = torch.tensor([_machine(), *(ready + origin for ready in latest)], dtype=torch.int64)
            everybody = [torch.empty_like(own) for _ in range(size)]
            dist.all_gather(everybody, own, group=group)
            table: Tensor = torch.stack(everybody)
            if bool((table[:, 0] == table[0, 0]).all()):
                latest = (table[:, 1:].amax(dim=0) - origin).tolist()
        for meeting, last in zip(self.meetings, latest, strict=True):
            self._book(meeting, last)
        self.meetings = []

    def _book(self, meeting: Meeting, last: int) -> None:
        """What comes after the node was ready: waiting for the last, communication, and what is done with the mean."""
        done = max((transfer.end for transfer in meeting.transfers), default=meeting.ready)
        going = min(max(meeting.ready, last), done)
        self.node.book("waiting", meeting.ready, going, "for all")
        for transfer in meeting.transfers:
            self.node.book("exposed", max(transfer.start, going), transfer.end, transfer.name)
        self.node.book("compute", done, meeting.end, "vector arithmetic")


def _machine() -> int:
    """A number that the processes on one machine have in common."""
    try:
        name = BOOT.read_text()
    except OSError:
        name = platform.node()
    return crc32(name.encode())
