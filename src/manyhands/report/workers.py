"""The training loss of each worker by itself, where the workers are no clients."""

from manyhands.report import numbers
from manyhands.report.curves import TRAIN_LOSS
from manyhands.report.each import BANDS, LEVELS, LINES, are_many, draw_each, quantile, quantile_rows, thinned
from manyhands.report.figure import Figure
from manyhands.runs.reading import RunView


def worker_figures(run: RunView, key: str) -> list[Figure]:
    """By epoch; none where nothing is known of each worker."""
    known = [row for row in run.worker_losses if any(value is not None for value in row["train_loss"])]
    if not known:
        return []
    rows = thinned(known, "train_loss")
    at, each = [row["completed"] for row in rows], [row["train_loss"] for row in rows]
    last = sorted(value for value in each[-1] if value is not None)
    if not last:
        return []
    many = are_many(each)
    least, middle, most = (numbers.plain(quantile(last, level)) for level in (0.0, 0.5, 1.0))
    return [
        Figure(
            key=f"{key}-workers-loss",
            title="Training loss of each worker",
            caption=(BANDS.format("workers") if many else LINES.format("worker"))
            + " Mean over the samples that the worker trained on since the evaluation before.",
            alt=f"{'Bands' if many else 'Lines'} of the training loss of {len(each[-1]):,} workers against epochs; at "
            f"the end {least} to {most}, median {middle}.",
            spec=draw_each(at, each, TRAIN_LOSS, who="worker", unit="epoch"),
            header=("Epoch", *(f"{100 * level:.0f} %" for level in LEVELS)) if many else ("Worker", "Loss at the end"),
            rows=quantile_rows(at, each, TRAIN_LOSS)
            if many
            else [[str(rank), numbers.plain(loss)] for rank, loss in enumerate(each[-1])],
        )
    ]
