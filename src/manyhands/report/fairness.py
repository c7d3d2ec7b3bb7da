"""How evenly a run's model does at its clients: the numbers, for tables, charts and sentences alike."""

from dataclasses import dataclass

from manyhands.report.series import Series
from manyhands.runs.clients import best_decile, spread, worst_decile
from manyhands.runs.reading import RunView, final
from manyhands.statistics import Estimate

TESTED = "Each client is tested on its own share of the test set."
WORDS = (
    f"{TESTED} Worst and best: means over the worst and the best tenth of the clients. "
    "Spread: √(Σ (aᵢ − ā)² / n), the standard deviation over the n clients."
)
GAIN_WORDS = (
    "Personalisation gain: accuracy of the clients’ own weights after their local steps − accuracy of the run’s model, "
    "over the same test samples: those of the clients that trained last."
)


@dataclass(frozen=True, kw_only=True)
class Fairness:
    """Of a series at its last evaluation, each a mean over the seeds; accuracies from 0 to 1."""

    clients: int
    """that have test samples"""
    mean: Estimate
    """over the clients, each counting once"""
    worst: Estimate
    best: Estimate
    spread: Estimate
    personal: Estimate | None
    """accuracy of clients' own weights"""
    gain: Estimate | None


def fairness(series: Series) -> Fairness | None:
    """None where a run of the series tells nothing of its clients."""
    mean = series.estimate(lambda run: _mean(accuracies(run)))
    worst = series.estimate(lambda run: worst_decile(accuracies(run)))
    best = series.estimate(lambda run: best_decile(accuracies(run)))
    apart = series.estimate(lambda run: spread(accuracies(run)))
    if mean is None or worst is None or best is None or apart is None:
        return None
    return Fairness(
        clients=len(accuracies(series.runs[0])),
        mean=mean,
        worst=worst,
        best=best,
        spread=apart,
        personal=series.estimate(lambda run: final(run, "personal_accuracy")),
        gain=series.estimate(lambda run: final(run, "personalisation_gain")),
    )


def accuracies(run: RunView) -> list[float]:
    """The final accuracy at each client that has test samples."""
    return [value for value in run.at_clients.get("accuracy", []) if value is not None]


def own_accuracies(run: RunView) -> list[float]:
    """Those of the clients' own weights, of the clients that trained last and have test samples."""
    return [value for value in run.at_clients.get("own_accuracy", []) if value is not None]


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
