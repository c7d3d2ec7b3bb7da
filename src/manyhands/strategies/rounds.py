"""Rounds in which a server hands something to a cohort of clients: who takes part, and how long they are waited for."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from manyhands.clusters.quantities import nanoseconds
from manyhands.errors import UserError
from manyhands.strategies.base import Strategy
from manyhands.strategies.cohort import Cohort, Uniform

if TYPE_CHECKING:
    from manyhands.clusters.effects import Message
    from manyhands.clusters.layout import Layout
    from manyhands.clusters.node import Node


@dataclass(frozen=True, kw_only=True)
class Rounds(Strategy):
    """Cohorts, and replies that come in time.

    Deadlines and over-selection are those of Bonawitz et al. 2019, Towards Federated Learning at Scale: System Design,
    https://arxiv.org/abs/1902.01046. Who is late is told to leave off after the batch in progress, and answers then;
    the server waits for that, so that a round leaves nothing behind, which costs it a batch of the slowest. What is on
    its way arrives all the same.
    """

    fraction: float = 1.0
    """share of the clients that take part in a round (C in McMahan et al. 2017)"""
    cohort: Cohort = Uniform()
    """how the clients of a round are chosen"""
    deadline: str = ""
    """how long the server waits for the replies of a round, e.g. 30s; default: for all of them"""
    over_selection: float = 0.0
    """share of clients chosen beyond the cohort, of all of whom the first to reply count; 0.3 is common"""

    unit = "round"
    servers = 1

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise UserError(f"--strategy.fraction of {self.name} must lie in (0, 1], not {self.fraction}")
        if not 0 <= self.over_selection < inf:
            raise UserError(
                f"--strategy.over-selection of {self.name} must be zero or more and finite, not {self.over_selection}"
            )
        self.patience()

    def check(self, workers: int) -> None:
        size, chosen = self.cohort_size(workers), self.chosen(workers)
        if chosen > workers:
            raise UserError(
                f"--strategy.over-selection {self.over_selection:g} of {self.name} chooses {chosen} clients for a "
                f"cohort of {size}, but there are {workers}: lower it or --strategy.fraction"
            )
        self.cohort.check(chosen, workers)

    def quantities(self, layout: "Layout", workers: int, steps: int) -> dict[str, float]:
        return {"C": self.chosen(workers) / workers}

    def cohort_size(self, workers: int) -> int:
        """How many clients' replies make a round."""
        return max(1, round(self.fraction * workers))

    def chosen(self, workers: int) -> int:
        """How many clients are chosen for a round: the cohort, and those beyond it."""
        size = self.cohort_size(workers)
        return size + max(1, round(self.over_selection * size)) if self.over_selection else size

    def patience(self) -> float | None:
        """The deadline of a round, in seconds from its beginning."""
        try:
            return nanoseconds(self.deadline) / 1e9 if self.deadline else None
        except UserError as error:
            raise UserError(f"--strategy.deadline of {self.name}: {error}") from None

    @property
    def hurries(self) -> bool:
        """Whether a round goes on without the slowest of its clients."""
        return bool(self.deadline or self.over_selection)

    @property
    def synchronous(self) -> bool:
        return not (self.hurries or self.cohort.clocked)

    @property
    def polls(self) -> bool:
        return bool(self.deadline)

    async def choose(self, node: "Node", number: int) -> tuple[list[int], float | None]:
        """The clients of a round, and the time on the clock at which their replies are due, if any."""
        cohort = await self.cohort.choose(node, self.chosen(len(node.workers)), number)
        patience = self.patience()
        return cohort, None if patience is None else await node.now() + patience

    def enough(self, replies: int, asked: int) -> bool:
        """Whether so many replies, of so many that were asked for, make a round; else it is skipped, and counted."""
        return replies > 0

    async def collect(self, node: "Node", cohort: Sequence[int], number: int, due: float | None) -> "list[Message]":
        """The replies of a round that count, in the order of ranks; who has dropped out replies nothing."""
        came = await (self.first(node, cohort, number, due) if self.hurries else node.gather(cohort))
        replies = sorted([reply for reply in came if reply.tensors], key=lambda reply: reply.source)
        late, dropped = len(cohort) - len(came), len(came) - len(replies)
        node.count(replies=len(replies), late=late, dropped=dropped)
        return replies

    async def first(self, node: "Node", cohort: Sequence[int], number: int, due: float | None) -> "list[Message]":
        """What comes in time, until as many have replied as the cohort is large; the others are halted.

        These too answer, nothing or too late, which is thrown away.
        """
        wanted, left = self.cohort_size(len(node.workers)), set(cohort)
        came: list[Message] = []
        while left and wanted and (reply := await node.receive_any(due)) is not None:
            left.remove(reply.source)
            came.append(reply)
            wanted -= bool(reply.tensors)
        await node.halt(sorted(left), job=number)
        await node.gather(sorted(left))
        return came
