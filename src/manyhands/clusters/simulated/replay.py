"""Repeating a run whose result depends on chance: on which message came first, on who claimed what, on the clock."""

from collections import deque
from collections.abc import Mapping, Sequence

from manyhands.errors import RunError


class Order:
    """What chance decided, node by node, and what of it is left to repeat.

    Recorded are, in order, the outcomes of receiving from anybody (the sender's rank, or NOTHING where that took too
    long), of polling (the sender's rank, or NOTHING), of claiming (the number, or NOTHING), of local steps that could
    be halted (how many batches were done) and of looking at the clock (ns).
    """

    def __init__(self, outcomes: Mapping[int, Sequence[int]]) -> None:
        self._left = {rank: deque(own) for rank, own in outcomes.items()}

    def has_more(self, rank: int) -> bool:
        return bool(self._left.get(rank))

    def next(self, rank: int) -> int:
        """The next outcome; raises RunError where the record has none."""
        if not self.has_more(rank):
            raise RunError(f"the recorded order does not fit this run: it ends before node {rank} has finished")
        return self._left[rank].popleft()

    def finish(self) -> None:
        """Raise RunError if the run has ended before its record."""
        if unfinished := [rank for rank in self._left if self.has_more(rank)]:
            raise RunError(f"the recorded order does not fit this run: node {unfinished[0]} did more when it was made")
