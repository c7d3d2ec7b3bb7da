"""The table of ``manyhands advise``: of its ``advice.json`` and nothing else."""

from collections.abc import Callable

from manyhands import terminal
from manyhands.report import numbers
from manyhands.report.prediction import estimate_of, refusal, strategy_text
from manyhands.runs.files import Json

SHOWN = 15  # of the options

COLUMNS: tuple[tuple[str, Callable[[Json], str]], ...] = (
    ("work-\ners", lambda row: f"{row['workers']:,}"),
    ("batch", lambda row: f"{row['batch_size']:,}"),
    ("samples/\nsecond", lambda row: f"{row['throughput']['value']:,.0f}"),
    ("statistical\nefficiency", lambda row: numbers.percent(estimate_of(row["statistical_efficiency"]), 0)),
    ("goodput/\nsecond", lambda row: f"{row['goodput']['value']:,.0f}"),
    ("time to\ntarget", lambda row: numbers.duration(estimate_of(row["seconds"])) if row["seconds"] else numbers.NONE),
)


def terminal_advice(content: Json) -> None:
    """Print the ranking, the best first, what it stands on, and how sure it is."""
    from rich import box
    from rich.table import Table

    console, options = terminal.console(), content["options"]
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("strategy", overflow="fold")
    for heading, _ in COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in options[:SHOWN]:
        name = strategy_text(row["strategy"], " *" if row["optimistic"] else "")
        table.add_row(name, *(text(row) for _, text in COLUMNS))
    console.print(table)
    for line in (*_standing(content), *_best(options)):
        console.print(line, markup=False, highlight=False)
    more = len(options) - SHOWN
    notes = (
        f"{more} more in advice.json." if more > 0 else "",
        "goodput = throughput · statistical efficiency, N(m₀)/N(m), N(m) = Σ Δ (φ + m)/(φ + m₀), m = workers · batch.",
        "It supposes a learning rate that suits the batch: advice.json has one for each line (lr).",
        "* at best: the theory is of exact mean gradients, and what this strategy's other steps cost is not known.",
        "± is half a 95 % interval of profile, noise scale and evaluations; not of seeds, nor of the model of time.",
        "" if any(content["spreads"].values()) else "The profile states no spread: times are surer here than they are.",
    )
    for note in filter(None, notes):
        console.print(note, style="dim", markup=False, highlight=False)
    for row in content["not_predicted"]:
        console.print(refusal(row), markup=False, highlight=False)


def _standing(content: Json) -> list[str]:
    """What one worker showed."""
    reference = content["reference"]
    low, high = reference["noise_scale_low"], reference["noise_scale_high"]
    scale = "too large to tell" if reference["noise_scale"] is None else f"{reference['noise_scale']:,.0f} samples"
    interval = f" ({low:,.0f} to {high:,.0f})" if low is not None and high is not None else ""
    epochs, target = f"{reference['epochs']:.2f} epochs", numbers.percent(content["target"], 1)
    reached = f"reached {target} after {epochs}"
    if not reference["reached"]:
        accuracy = numbers.percent(reference["accuracy"], 1)
        reached = f"did not reach {target} in {epochs} ({accuracy}): ranked by goodput, times are unknown"
    return [f"One worker, batch {reference['batch_size']}, {reached}. Gradient noise scale φ: {scale}{interval}."]


def _best(options: list[Json]) -> list[str]:
    """The best of all and, if that is marked, the best that is not."""
    sure = next((row for row in options if not row["optimistic"]), None)
    if sure is None or not options[0]["optimistic"]:
        return []
    return [f"Best without a mark: {sure['strategy']} ×{sure['workers']}, batch {sure['batch_size']}."]
