"""How long a step takes in a run, real, simulated or rehearsed: the same rule for all."""

from collections.abc import Sequence
from math import ceil
from typing import Any

from manyhands.runs.specification import Specification


def step_seconds(specification: Specification, samples: int, rows: Sequence[dict[str, Any]]) -> float:
    """Mean seconds of a step on the cluster's clock, after the first epoch, which warms up.

    ``samples``: of the training set; ``rows``: of the history or of a rehearsal, with ``completed`` and ``seconds``.
    A step is one in which every worker takes part once; of strategies that do not wait, as many gradients as that.
    """
    steps = ceil(samples / (specification.size * specification.samples_per_step))
    by_epoch = {row["completed"]: row["seconds"] for row in rows}
    first, last = min(1, *by_epoch), max(by_epoch)
    first = 1 if 1 in by_epoch and last > 1 else 0
    return float((by_epoch[last] - by_epoch[first]) / ((last - first) * steps))
