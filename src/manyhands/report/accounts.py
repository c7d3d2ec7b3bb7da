"""A run's ledger as tables: where each node's time went, and its bytes three times over."""

from collections.abc import Sequence
from dataclasses import dataclass

from manyhands.report import numbers
from manyhands.runs.files import BYTES, PARTS_OF_TIME, Json
from manyhands.runs.reading import RunView

MOST_NODES = 20  # in the table of times
MOST_TRIPLES = 6  # nodes in the table of bytes, which has three lines for each
TIME = (
    "Node",
    "Role",
    "Samples",
    "Compute",
    "Exposed communication",
    "Waiting",
    "Compression",
    "Evaluation",
    "Hidden communication",
    "Overlap",
    "Messages",
    "algbw",
)
TIME_WORDS = (
    "Compute + exposed communication + waiting + compression + evaluation is the node’s time; hidden communication "
    "runs beside its computation. Evaluation, with preparations, reports and checkpoints, is left out by the run’s own "
    "clock. "
    "Overlap = 1 − exposed / (exposed + hidden): the share of its communication that cost no time. "
    "algbw = S / t: the algorithmic bytes it sent over the seconds of its communication, exposed and hidden."
)
TRAFFIC = ("Node", "Sent", "Received", "Sent / algorithmic", "Received / algorithmic")
LINES = {"algorithmic": "algorithmic", "wire": "predicted on the wire", "measured": "measured by the kernel"}
TRAFFIC_WORDS = (
    "Algorithmic: what the strategy asks for. On the wire: payload + 66 bytes of headers for each segment of at most "
    "1,448 bytes (TCP over Ethernet, MTU 1,500) + 66 bytes of acknowledgement for each 65,536 bytes of the other "
    "direction. Measured: the counters of the node’s network interface, while the run’s clock goes on."
)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A heading, what the columns mean, and the cells as they are written."""

    heading: str
    words: str
    header: Sequence[str]
    rows: list[list[str]]


def ledger_tables(run: RunView) -> list[Table]:
    """Times and bytes; none without a ledger."""
    return [_times(run, run.ledger["nodes"]), _traffic(run.ledger["nodes"])] if run.ledger is not None else []


def _times(run: RunView, nodes: Sequence[Json]) -> Table:
    samples = {node.get("rank"): node.get("samples") for node in run.nodes}
    rows = []
    for node in nodes[:MOST_NODES]:
        parts = {part: node["seconds"].get(part) for part in PARTS_OF_TIME}
        exposed, hidden = parts["exposed_communication"], parts["hidden_communication"]
        held, messages, moving = samples.get(node["rank"]), node.get("messages_sent"), exposed + hidden
        order = ("compute", "exposed_communication", "waiting", "compression", "evaluation", "hidden_communication")
        rows.append(
            [
                str(node["rank"]),
                str(node["role"]),
                f"{held:,}" if isinstance(held, int) else numbers.NONE,
                *(_seconds(parts[part]) for part in order),
                numbers.percent(1 - exposed / moving, 0) if moving > 0 else numbers.NONE,
                f"{messages:,}" if isinstance(messages, int) else numbers.NONE,
                f"{numbers.size(node['bytes_sent'] / moving)}/s" if moving > 0 else numbers.NONE,
            ]
        )
    return Table(heading="Time", words=TIME_WORDS + _shown(MOST_NODES, len(nodes)), header=TIME, rows=rows)


def _traffic(nodes: Sequence[Json]) -> Table:
    rows, reasons = [], []
    for node in nodes[:MOST_TRIPLES]:
        name, plain = f"{node['role']} {node['rank']}", {"sent": node["bytes_sent"], "received": node["bytes_received"]}
        traffic = node.get("bytes", {"algorithmic": plain})  # earlier versions counted nothing else
        for line in BYTES if "bytes" in node else BYTES[:1]:
            own = traffic.get(line)
            if own is None:
                reasons.append(str(traffic.get("measured_why") or "they were not read"))
                rows.append([f"{name}, {LINES[line]}", *[numbers.NONE] * 4])
                continue
            pairs = [(own[direction], plain[direction]) for direction in ("sent", "received")]
            shares = [f"{value / base:.3f}" if base else numbers.NONE for value, base in pairs]
            rows.append([f"{name}, {LINES[line]}", *(numbers.size(value) for value, _ in pairs), *shares])
    words = TRAFFIC_WORDS + "".join(f" Not measured: {reason}." for reason in dict.fromkeys(reasons))
    return Table(heading="Bytes", words=words + _shown(MOST_TRIPLES, len(nodes)), header=TRAFFIC, rows=rows)


def _shown(most: int, nodes: int) -> str:
    return "" if nodes <= most else f" The first {most} of {nodes:,} nodes."


def _seconds(value: float | None) -> str:
    """In one unit, to compare nodes."""
    return numbers.NONE if value is None else f"{numbers.plain(float(value))}\u00a0s"
