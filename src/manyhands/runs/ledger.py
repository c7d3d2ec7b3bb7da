"""What each node spent: seconds by kind, bytes and messages by direction."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from manyhands.runs.trace import Kind

SEGMENT = 1_448
"""bytes of payload in a full TCP segment: MTU 1,500 less IPv4 (20), TCP (20) and its time stamps (12)"""
HEADERS = 66
"""bytes around the payload of a segment: Ethernet (14), IPv4 (20), TCP (20) and its time stamps (12)"""
ACKNOWLEDGED = 65_536
"""bytes that a receiver acknowledges at once: Linux first joins the segments that came together to at most so many
(generic receive offload, https://docs.kernel.org/networking/segmentation-offloads.html)"""


@dataclass
class Ledger:
    """One node's account. Times are integer nanoseconds on the cluster's clock; bytes are algorithmic ones.

    ``exposed`` is the time that a node stood still for its own communication, ``hidden`` the communication that
    went on behind its computation, ``waiting`` the time that it stood still because others were not ready,
    ``compression`` the arithmetic of compressing and of undoing it. ``evaluation`` is what the run's own clock leaves
    out: measuring on the test set, reports and checkpoints. All but the hidden communication add up to the node's
    time, `wall`.
    """

    compute: int = 0
    exposed: int = 0
    hidden: int = 0
    waiting: int = 0
    compression: int = 0
    evaluation: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    messages_sent: int = 0
    segments_sent: int = 0
    """TCP segments that the messages fill, each of them anew"""
    segments_received: int = 0
    to: dict[int, int] = field(default_factory=dict)
    """of the bytes sent, those to each other node, by rank; the parts of a native all-reduce go to the next worker"""
    staleness: dict[int, int] = field(default_factory=dict)
    """how many updates were computed at weights so many versions old; of servers that do not wait for all"""
    measured: tuple[int, int] | None = None
    """bytes sent and received as the kernel counted them at the node's network interface"""
    measured_why: str = "the network is simulated"
    """why they were not counted"""

    def __post_init__(self) -> None:
        self.staleness = {int(versions): count for versions, count in self.staleness.items()}  # as JSON has them
        self.to = {int(rank): size for rank, size in self.to.items()}
        if self.measured is not None:
            sent, received = self.measured
            self.measured = sent, received

    @property
    def wall(self) -> int:
        """All the node's time (ns)."""
        return self.compute + self.exposed + self.waiting + self.compression + self.evaluation

    def add(self, kind: Kind, duration: int) -> None:
        """Put so much time (ns) on one of the accounts."""
        setattr(self, kind, getattr(self, kind) + duration)

    def note_sent(self, size: int, to: int) -> None:
        """Count a message of so many bytes to a node."""
        self.bytes_sent += size
        self.messages_sent += 1
        self.segments_sent += segments(size, 1)
        if size:
            self.to[to] = self.to.get(to, 0) + size

    def note_received(self, size: int) -> None:
        self.bytes_received += size
        self.segments_received += segments(size, 1)

    def note_collective(self, to: Mapping[int, int], received: int, messages: int) -> None:
        """Count so many messages in each direction, equally long: the bytes sent to each other node, and received."""
        sent = sum(to.values())
        self.bytes_sent += sent
        self.bytes_received += received
        self.messages_sent += messages
        self.segments_sent += segments(sent, messages)
        self.segments_received += segments(received, messages)
        for rank, size in to.items():
            if size:
                self.to[rank] = self.to.get(rank, 0) + size

    def note_staleness(self, versions: int) -> None:
        """Count an update by how many versions old the weights were at which it was computed."""
        self.staleness[versions] = self.staleness.get(versions, 0) + 1

    @property
    def wire(self) -> tuple[int, int]:
        """Bytes sent and received that TCP over Ethernet makes of the messages, at an MTU of 1,500 bytes.

        payload + 66 · segments + 66 · ⌈payload of the other direction / 65,536⌉, where a message of b bytes takes
        ⌈b / 1,448⌉ segments: 4.7 % more than the payload of long messages. Not in it are retransmissions, the backend's
        own envelopes and greetings, and more frequent acknowledgements: one for every second segment, the most that
        there are, would add 2.3 %. An interface that cuts long packets into segments itself counts their headers once.
        """
        return (
            self.bytes_sent + HEADERS * (self.segments_sent + ceil(self.bytes_received / ACKNOWLEDGED)),
            self.bytes_received + HEADERS * (self.segments_received + ceil(self.bytes_sent / ACKNOWLEDGED)),
        )

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``ledger.json``: seconds by kind, then counts."""
        traffic = {
            "algorithmic": _directions((self.bytes_sent, self.bytes_received)),
            "wire": _directions(self.wire),
            "measured": _directions(self.measured) if self.measured else None,
        }
        content = {
            "seconds": {
                "compute": self.compute / 1e9,
                "exposed_communication": self.exposed / 1e9,
                "hidden_communication": self.hidden / 1e9,
                "waiting": self.waiting / 1e9,
                "compression": self.compression / 1e9,
                "evaluation": self.evaluation / 1e9,
            },
            "bytes_sent": self.bytes_sent,
            "bytes_received": self.bytes_received,
            "messages_sent": self.messages_sent,
            "to": {str(rank): size for rank, size in sorted(self.to.items())},
            "bytes": traffic if self.measured else traffic | {"measured_why": self.measured_why},
        }
        if self.staleness:
            content["staleness"] = {str(versions): count for versions, count in sorted(self.staleness.items())}
        return content

    def state(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return vars(self) | {"to": dict(sorted(self.to.items())), "staleness": dict(sorted(self.staleness.items()))}


def segments(size: int, messages: int) -> int:
    """TCP segments that so many messages fill which hold ``size`` bytes in all, shared out evenly."""
    return messages * ceil(size / (messages * SEGMENT)) if messages else 0


def _directions(pair: tuple[int, int]) -> dict[str, int]:
    return {"sent": pair[0], "received": pair[1]}
