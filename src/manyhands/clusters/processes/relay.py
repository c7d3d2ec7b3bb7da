"""Tells the launcher how far a training in other processes is: by their store, over this machine's loopback."""

import threading
from collections.abc import Callable
from math import nan
from typing import Self

from torch._C._distributed_c10d import Store

from manyhands.runs.recorder import Row

KEY = "share of the training"
PERIOD = 0.2
"""seconds"""


class Relay:
    """The lead's observer, as a context. Of the rows it tells nothing: the launcher reads them in the run's folder."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread:
            self._thread.join()

    def __call__(self, row: Row) -> None:
        pass

    def follow(self, progress: Callable[[], float]) -> None:
        """Write down what it tells, now and then, beside what the process does."""

        def write() -> None:
            while True:
                self._store.set(KEY, str(progress()))
                if self._over.wait(PERIOD):
                    return

        self._thread = threading.Thread(target=write, daemon=True)
        self._thread.start()


def read_share(store: Store) -> float:
    """What was written last; NaN before anything was."""
    return float(store.get(KEY)) if store.check([KEY]) else nan
