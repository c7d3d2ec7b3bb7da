"""What each node spent: seconds by kind, bytes and messages by direction."""

from dataclasses import dataclass, field, fields
from typing import Any


@dataclass
class Ledger:
    """One node's account. Times are integer nanoseconds on the cluster's clock; bytes are algorithmic ones.

    ``exposed`` is the time that a node stood still for its own communication, ``hidden`` the communication that
    went on behind its computation, ``waiting`` the time that it stood still because others were not ready.
    """

    compute: int = 0
    exposed: int = 0
    hidden: int = 0
    waiting: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    messages_sent: int = 0
    staleness: dict[int, int] = field(default_factory=dict)
    """how many updates were computed at weights so many versions old; of servers that do not wait for all"""

    def __post_init__(self) -> None:
        self.staleness = {int(versions): count for versions, count in self.staleness.items()}  # as JSON has them

    def note_staleness(self, versions: int) -> None:
        """Count an update by how many versions old the weights were at which it was computed."""
        self.staleness[versions] = self.staleness.get(versions, 0) + 1

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``ledger.json``: seconds by kind, then counts."""
        content = {
            "seconds": {
                "compute": self.compute / 1e9,
                "exposed_communication": self.exposed / 1e9,
                "hidden_communication": self.hidden / 1e9,
                "waiting": self.waiting / 1e9,
            },
            "bytes_sent": self.bytes_sent,
            "bytes_received": self.bytes_received,
            "messages_sent": self.messages_sent,
        }
        if self.staleness:
            content["staleness"] = {str(versions): count for versions, count in sorted(self.staleness.items())}
        return content

    def state(self) -> dict[str, Any]:
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return values | {"staleness": dict(sorted(self.staleness.items()))}
