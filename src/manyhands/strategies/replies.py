"""What is done to clients' replies before they are sent, and how a server makes one of those of a round."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from manyhands.aggregation import Aggregation, Mean
from manyhands.compression import Uncompressed
from manyhands.errors import UserError
from manyhands.privacy import NoPrivacy, Privacy, SecureAggregation
from manyhands.strategies.cohort import Uniform
from manyhands.strategies.rounds import Rounds

if TYPE_CHECKING:
    from torch import Tensor

    from manyhands.clusters.effects import Message
    from manyhands.clusters.node import Node

Tensors = tuple["Tensor", ...]
"""float32, each of one dimension"""


@dataclass(frozen=True, kw_only=True)
class Replies(Rounds):
    """Rounds in which clients answer with vectors, and the server makes one answer of all.

    A reply goes through these hands: its client clips it (privacy), an attacker spoils it, and it is compressed, or
    weighted and masked. The server takes all that off again, or adds up what is masked; makes one reply of all
    (aggregation); and adds noise (privacy).
    """

    aggregation: Aggregation = Mean()
    """how the clients' replies become one"""
    privacy: Privacy = NoPrivacy()
    """what keeps the model from telling who took part"""
    secure: bool = False
    """mask the replies, so that the server sees nothing but their sum"""

    admits = frozenset({"data", "reply", "presence"})
    asynchronous: ClassVar[bool] = False
    """whether the server takes replies as they come, instead of a cohort's together"""

    def check(self, workers: int) -> None:
        super().check(workers)
        size = self.cohort_size(workers)
        self.aggregation.check(size)
        if self.secure:
            self._check_masks(size)
        if self.privacy.private:
            self._check_sums(f"--strategy.privacy {self.privacy}")
            if not isinstance(self.cohort, Uniform):
                raise UserError(
                    f"--strategy.privacy {self.privacy} is accounted for where clients are drawn uniformly: "
                    f"use --strategy.cohort uniform, not {self.cohort}"
                )
            self.privacy.check()

    def _check_masks(self, size: int) -> None:
        self._check_sums("--strategy.secure")
        if size < 2:
            raise UserError("--strategy.secure: the sum of one client's reply hides nothing: have 2 or more take part")
        if self.over_selection:
            raise UserError(
                "--strategy.secure needs the replies of all who were asked, or the masks stay on: "
                "leave out --strategy.over-selection"
            )

    def _check_sums(self, flag: str) -> None:
        """What adds up replies needs rounds, a weighted mean, and every number of a reply."""
        if self.asynchronous:
            raise UserError(f"{flag} needs rounds that all clients of a cohort share: {self.name} has none, use fedavg")
        if not self.aggregation.linear:
            raise UserError(
                f"{flag} adds up the clients' replies, and {self.aggregation} looks at each of them: "
                "use --strategy.aggregation mean or uniform"
            )
        if not isinstance(self.compression, Uncompressed):
            raise UserError(f"{flag} adds up whole replies: leave out --strategy.compression {self.compression}")

    def facts(self, workers: int, rounds: int) -> dict[str, float | str]:
        return self.privacy.facts(self.chosen(workers) / workers, rounds)

    # ---- at the client

    def announced(self, node: "Node", cohort: Sequence[int], number: int) -> Tensors:
        """What the server hands to each client beside the method's vectors: who takes part, where that matters."""
        return (SecureAggregation(node.seed, number, tuple(cohort)).roll(),) if self.secure else ()

    def opened(self, node: "Node", message: "Message") -> tuple[Tensors, SecureAggregation | None]:
        """The method's vectors in a message of the server's, and the masks of the round."""
        if not self.secure:
            return message.tensors, None
        return message.tensors[:-1], SecureAggregation.of(message.tensors[-1], node.seed, message.tag)

    def packed(self, node: "Node", reply: Tensors, masks: SecureAggregation | None = None) -> Tensors:
        """What is sent in place of a client's reply."""
        if self.privacy.private:
            node.vector_bytes += 3 * sum([vector.nbytes for vector in reply])
            reply = self.privacy.clipped(reply)
        reply = node.corrupt(reply)
        if masks is None:
            return tuple([node.compress(vector, _stream(place)) for place, vector in enumerate(reply)])
        (weight,) = self._weights(node, [node.rank])
        node.vector_bytes += masks.traffic * sum([vector.numel() for vector in reply])
        return (masks.hide(node.rank, reply, weight),)

    # ---- at the server

    def reply_sizes(self, node: "Node") -> tuple[int, ...]:
        """How many numbers each of the vectors of a reply has."""
        return (len(node.weights),)

    def enough(self, replies: int, asked: int) -> bool:
        """Whether so many replies can become one: masked ones only if all who were asked have answered."""
        return replies >= self.aggregation.least and (replies == asked or not self.secure)

    def combine(self, node: "Node", replies: "Sequence[Message]") -> Tensors:
        """The vectors of one reply, made of those of several."""
        mean = self._revealed(node, replies) if self.secure else self._aggregated(node, replies)
        if not self.privacy.private:
            return mean
        node.vector_bytes += 5 * sum([vector.nbytes for vector in mean])
        return self.privacy.released(
            mean, len(replies), self.cohort_size(len(node.workers)), seed=node.seed, number=node.completed
        )

    def share(self, node: "Node", clients: Sequence[int]) -> float:
        """What some clients weigh of what all do: that times the mean of these is their part of a mean of all."""
        return sum(self._weights(node, clients)) / sum(self._weights(node, node.workers))

    def _weights(self, node: "Node", clients: Sequence[int]) -> list[float]:
        """What clients weigh, each the same where privacy wants it."""
        if self.privacy.private:
            return [1.0] * len(clients)
        return [self.aggregation.weight(float(node.samples_of(client))) for client in clients]

    def unpacked(self, node: "Node", reply: "Message") -> Tensors:
        """The vectors of one reply that is not masked."""
        sizes = self.reply_sizes(node)
        return tuple([node.decompress(payload, size) for payload, size in zip(reply, sizes, strict=True)])

    def _aggregated(self, node: "Node", replies: "Sequence[Message]") -> Tensors:
        unpacked = [self.unpacked(node, reply) for reply in replies]
        samples = [1.0 if self.privacy.private else float(node.samples_of(reply.source)) for reply in replies]
        return self.aggregation.combine_replies(unpacked, samples, node)

    def _revealed(self, node: "Node", replies: "Sequence[Message]") -> Tensors:
        hidden = [reply.tensors[0] for reply in replies]
        node.vector_bytes += 3 * sum([vector.nbytes for vector in hidden])
        return SecureAggregation.reveal(hidden, self.reply_sizes(node))


def _stream(place: int) -> str:
    """The name under which a reply's vectors of one place are compressed, with error feedback of their own."""
    return f"reply-{place}" if place else "update"
