"""What a run tells of its clients, one by one: ``clients.jsonl``, and the figures that are made of it.

Fairness is measured as in Li et al. 2020, Fair Resource Allocation in Federated Learning
(https://arxiv.org/abs/1905.10497): by the accuracy at the worst and the best 10 % of the clients, and its spread over
all of them. The gain by personalisation is that of Wang et al. 2019, Federated Evaluation of On-device Personalization
(https://arxiv.org/abs/1910.10252): what local training adds at those clients that did it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

DIGITS = 5
"""after the point, in ``clients.jsonl``: clients may be many"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Clients:
    """What one evaluation tells: of all clients, and of those that trained since the evaluation before."""

    loss_sums: "np.ndarray"
    """float64 [clients]: of the run's model, with what stays with the client, on the client's test samples"""
    right: "np.ndarray"
    """int64 [clients]: of these samples, how many it classified rightly"""
    samples: "np.ndarray"
    """int64 [clients]: how many there are; a client may have none"""
    trained: Mapping[int, float]
    """by rank: mean training loss of the clients that trained"""
    own: Mapping[int, tuple[float, int]]
    """by rank: loss_sums and right of the weights that a client had after its local steps, if it still has them"""

    def row(self, completed: int) -> dict[str, Any]:
        """A row of ``clients.jsonl``; null for a mean of no samples.

        ``loss`` and ``accuracy`` have a number for each client; ``ranks`` says of which clients ``train_loss``,
        ``own_loss`` and ``own_accuracy`` have one.
        """
        ranks, samples = sorted(self.trained), self.samples.tolist()
        own = [(*self.own.get(rank, (0.0, 0)), samples[rank] if rank in self.own else 0) for rank in ranks]
        return {
            "completed": completed,
            "ranks": ranks,
            "train_loss": [_short(self.trained[rank]) for rank in ranks],
            "own_loss": [_mean(loss, count) for loss, _, count in own],
            "own_accuracy": [_mean(right, count) for _, right, count in own],
            "loss": list(map(_mean, self.loss_sums.tolist(), samples)),
            "accuracy": list(map(_mean, self.right.tolist(), samples)),
        }

    def figures(self) -> dict[str, float | None]:
        """What the history's row has of it, None where no client has test samples.

        ``worst_decile``, ``spread``: of the accuracy at the clients. ``personal_accuracy``: of clients' own weights
        after their local steps, over all their test samples; ``personalisation_gain``: how much more than the run's
        model has on the same samples.
        """
        pairs = zip(self.right.tolist(), self.samples.tolist(), strict=True)
        accuracies = [right / count for right, count in pairs if count]
        tested = sum(int(self.samples[rank]) for rank in self.own)
        own = sum(right for _, right in self.own.values())
        given = sum(int(self.right[rank]) for rank in self.own)
        return {
            "worst_decile": worst_decile(accuracies),
            "spread": spread(accuracies),
            "personal_accuracy": own / tested if tested else None,
            "personalisation_gain": (own - given) / tested if tested else None,
        }


def worst_decile(accuracies: Sequence[float]) -> float | None:
    """The mean over the least accurate tenth of the clients, rounded up to whole clients; None of none."""
    return _first_tenth(sorted(accuracies))


def best_decile(accuracies: Sequence[float]) -> float | None:
    """The mean over the most accurate tenth of the clients, rounded up to whole clients; None of none."""
    return _first_tenth(sorted(accuracies, reverse=True))


def spread(accuracies: Sequence[float]) -> float | None:
    """The standard deviation over the clients, who are all there are: √(Σ (aᵢ − ā)² / n); None of none."""
    if not accuracies:
        return None
    mean = math.fsum(accuracies) / len(accuracies)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in accuracies) / len(accuracies))


def _first_tenth(ordered: Sequence[float]) -> float | None:
    tenth = ordered[: -(-len(ordered) // 10)]
    return math.fsum(tenth) / len(tenth) if tenth else None


def _mean(total: float, count: int) -> float | None:
    return _short(total / count) if count else None


def _short(value: float) -> float | None:
    return round(value, DIGITS) if math.isfinite(value) else None
