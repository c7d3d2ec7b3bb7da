"""Virtual time: a clock in whole nanoseconds, and the queue of what is to happen when.

Whole nanoseconds and a total order of events (time, priority, sequence) give a simulation the same bits
everywhere.
"""

import heapq
from collections.abc import Callable
from typing import Any, NamedTuple


class Clock:
    """The simulated time, in nanoseconds since the start of the run. Time cannot go backwards."""

    def __init__(self, now: int = 0) -> None:
        self._now = now

    @property
    def now(self) -> int:
        return self._now

    def advance(self, to: int) -> None:
        assert to >= self._now, f"time cannot go backwards, from {self._now} to {to} ns"
        self._now = to


class Event(NamedTuple):
    """Something to be done at a time (ns). The sequence is unique, so actions are never compared."""

    time: int
    priority: int
    sequence: int
    action: Callable[..., None]
    arguments: tuple[Any, ...] = ()


class EventQueue:
    """Pending events, earliest first; at one time the lower priority first, then the one pushed first."""

    def __init__(self) -> None:
        self._heap: list[Event] = []
        self._pending: set[int] = set()
        self._pushed = 0

    def __len__(self) -> int:
        return len(self._pending)

    def push(self, time: int, action: Callable[..., None], *arguments: Any, priority: int = 0) -> Event:
        """Plan ``action(*arguments)`` for a time (ns); the event returned can be cancelled."""
        event = Event(time, priority, self._pushed, action, arguments)
        self._pushed += 1
        self._pending.add(event.sequence)
        heapq.heappush(self._heap, event)
        return event

    def cancel(self, event: Event) -> None:
        """Take a pending event back; one that has been popped or cancelled already is left as it is."""
        self._pending.discard(event.sequence)
        if len(self._heap) > 2 * len(self._pending) + 64:  # a flow re-timed for ever must not fill the memory
            self._heap = [event for event in self._heap if event.sequence in self._pending]
            heapq.heapify(self._heap)

    def pop(self) -> Event:
        """Remove and return the next event; raises IndexError where none is pending."""
        while True:
            event = heapq.heappop(self._heap)
            if event.sequence in self._pending:
                self._pending.remove(event.sequence)
                return event

    def run(self, clock: Clock) -> None:
        """Carry out events, each at its time, until none is pending."""
        while self._pending:
            event = self.pop()
            clock.advance(event.time)
            event.action(*event.arguments)
