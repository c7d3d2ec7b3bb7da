"""What nodes tell each other beside their messages, in the store that all processes share.

Gloo cannot look for a message without waiting for it, cannot wait for one up to a time, and cannot interrupt.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from torch._C._distributed_c10d import Store

from manyhands.clusters.effects import NOTHING
from manyhands.training.sampler import Batch

NAP = 1e-3
"""seconds between two looks for an announcement"""


class Notices:
    """One node's. ``rank``: its own."""

    def __init__(self, store: Store, rank: int) -> None:
        self._store, self._rank = store, rank

    def announce(self, to: int) -> None:
        """One more message has been sent to a node."""
        self._store.add(f"announced/{to}", 1)

    def announced(self) -> int:
        """How many messages have been sent to this node."""
        return self._store.add(f"announced/{self._rank}", 0)

    def wait(self, received: int, left: Callable[[], float]) -> bool:
        """Whether more messages are announced than were received before no time, in seconds, is left."""
        while self.announced() <= received:
            seconds = left()
            if seconds <= 0:
                return False
            time.sleep(min(seconds, NAP))
        return True

    def halt(self, ranks: Sequence[int], job: int) -> None:
        """Tell nodes to leave a job."""
        for rank in ranks:
            self._store.set(f"halted/{rank}/{job}", "1")

    def until_halted(self, batches: Iterable[Batch], job: int) -> Iterator[Batch]:
        """The batches of a job, until this node is told to leave it."""
        key = f"halted/{self._rank}/{job}"
        for batch in batches:
            if job != NOTHING and self._store.check([key]):
                return
            yield batch
