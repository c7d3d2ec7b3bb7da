"""When each client is available, as a file tells it."""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from manyhands.errors import UserError

FORMAT = 'a JSON object of intervals by client, e.g. {"0": [[0, 3600]], "1": []}, or a .csv of client,start,end'


@dataclass(frozen=True, eq=False)
class Trace:
    """Intervals in which clients are available: n of them, from their start on and before their end."""

    clients: NDArray[np.int64]
    """[n]"""
    starts: NDArray[np.float64]
    """[n], seconds on the cluster's clock"""
    ends: NDArray[np.float64]
    period: float
    """seconds after which it begins again; 0: it does not"""
    named: frozenset[int]
    """clients that the file knows; some may have no interval"""

    @classmethod
    def read(cls, file: str, period: float) -> "Trace":
        """Raises UserError for a file that cannot be read, is damaged, or has impossible intervals."""
        try:
            text = Path(file).read_text(encoding="utf-8")
            spans = _of_csv(text) if file.endswith(".csv") else _of_json(text)
        except OSError as error:
            raise UserError(f"availability trace '{file}' cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error):  # no JSON, CSV or UTF-8
            raise UserError(f"availability trace '{file}' is damaged: it must be {FORMAT}") from None
        rows = sorted((client, start, end) for client, own in spans.items() for start, end in own)
        try:
            _check(rows, period or inf)
        except UserError as error:
            raise UserError(f"availability trace '{file}': {error}") from None
        table = np.array(rows, dtype=np.float64).reshape(-1, 3)
        return cls(table[:, 0].astype(np.int64), table[:, 1], table[:, 2], period, frozenset(spans))

    def first(self, clients: int) -> "Trace":
        """Of so many clients alone."""
        kept = self.clients < clients
        return Trace(self.clients[kept], self.starts[kept], self.ends[kept], self.period, self.named)

    def at(self, seconds: float) -> list[int]:
        """The clients that are available at a time, ascending."""
        now = self._within(seconds)
        there: list[int] = np.unique(self.clients[(self.starts <= now) & (now < self.ends)]).tolist()
        return there

    def wait(self, seconds: float) -> float:
        """How long it takes from a time, at which nobody is available, until somebody is; infinity if nobody will."""
        now = self._within(seconds)
        later = self.starts[self.starts > now]
        if len(later):
            return float(later.min() - now)
        return float(self.period - now + self.starts.min()) if self.period and len(self.starts) else inf

    @property
    def most(self) -> int:
        """The most clients that are available at one time."""
        changes = np.repeat([1, -1], len(self.starts))
        order = np.lexsort((changes, np.concatenate([self.starts, self.ends])))  # who leaves makes room
        return int(changes[order].cumsum().max(initial=0))

    def _within(self, seconds: float) -> float:
        return seconds % self.period if self.period else seconds


def _of_csv(text: str) -> dict[int, list[tuple[float, float]]]:
    spans: dict[int, list[tuple[float, float]]] = {}
    for row in csv.DictReader(text.splitlines()):
        spans.setdefault(int(row["client"]), []).append((float(row["start"]), float(row["end"])))
    return spans


def _of_json(text: str) -> dict[int, list[tuple[float, float]]]:
    content = json.loads(text)
    return {int(client): [(float(start), float(end)) for start, end in own] for client, own in content.items()}


def _check(rows: Iterable[tuple[int, float, float]], period: float) -> None:
    """Raise UserError unless the intervals, sorted, are possible and each client's own do not overlap."""
    rows = list(rows)
    for client, start, end in rows:
        if client < 0 or not 0 <= start < end <= period or end == inf:
            limit = f", up to the period of {period:g}" if period < inf else ""
            raise UserError(
                f"client {client} cannot be available from {start:g} to {end:g} s: clients are numbers from 0, and "
                f"times rise from 0{limit}"
            )
    for (client, start, end), (other, then, _) in pairwise(rows):
        if client == other and then < end:
            raise UserError(f"the intervals of client {client} from {start:g} and from {then:g} s overlap")
