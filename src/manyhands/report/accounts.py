"""A run's ledger as tables: where each node's time went, and its bytes three times over."""

from collections.abc import Sequence

from manyhands.report import numbers
from manyhands.report.figure import Table
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


def ledger_tables(run: RunView, key: str) -> list[Table]:
    """Times and bytes; none without a ledger. ``key`` begins the tables' keys."""
    if run.ledger is None:
        return []
    return [_times(run, run.ledger["nodes"], f"{key}-times"), _traffic(run.ledger["nodes"], f"{key}-bytes")]


def _times(run: RunView, nodes: Sequence[Json], key: str) -> Table:
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
    words = TIME_WORDS + _shown(MOST_NODES, len(nodes))
    return Table(key=key, title="Ledger: time", words=words, header=TIME, rows=rows)


def _traffic(nodes: Sequence[Json], key: str) -> Table:
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
    words += _shown(MOST_TRIPLES, len(nodes))
    return Table(key=key, title="Ledger: bytes", words=words, header=TRAFFIC, rows=rows)


def _shown(most: int, nodes: int) -> str:
    return "" if nodes <= most else f" The first {most} of {nodes:,} nodes."


def _seconds(value: float | None) -> str:
    """In one unit, to compare nodes."""
    return numbers.NONE if value is None else f"{numbers.plain(float(value))}\u00a0s"
