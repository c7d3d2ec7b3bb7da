"""How good a model is on samples: loss, accuracy, confusion matrix and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from manyhands.errors import UserError

if TYPE_CHECKING:
    from manyhands.tasks.task import Samples, Task
    from manyhands.training.precision import Precision


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Sums over samples, so that the evaluations of parts add up to that of the whole."""

    classes: tuple[str, ...]
    loss_sum: float
    """cross-entropy without label smoothing, added up over the samples"""
    confusion: np.ndarray
    """int64 [classes, classes]: samples of the row's class that were taken for the column's"""

    @classmethod
    def merge(cls, parts: Sequence[Self]) -> Self:
        """The evaluation of all the parts' samples together; at least one part."""
        return cls(
            classes=parts[0].classes,
            loss_sum=sum(part.loss_sum for part in parts),
            confusion=np.sum([part.confusion for part in parts], axis=0),
        )

    @property
    def loss(self) -> float:
        """Mean cross-entropy without label smoothing."""
        return self.loss_sum / int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Share of the samples classified rightly, 0 to 1."""
        return int(self.confusion.trace()) / int(self.confusion.sum())

    def scores(self) -> dict[str, np.ndarray]:
        """Precision, recall, f1 and support by class, float64 [classes]; 0 for a share of no samples."""
        right = self.confusion.diagonal()
        support, predicted = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        return {
            "precision": right / np.maximum(predicted, 1),
            "recall": right / np.maximum(support, 1),
            "f1": 2 * right / np.maximum(predicted + support, 1),
            "support": support.astype(float),
        }

    def report(self) -> dict[str, dict[str, float]]:
        """The scores by class name, and their ``macro`` and ``weighted`` means: plain and by support."""
        scores = self.scores()
        support = scores["support"]
        rows = {name: {key: float(scores[key][i]) for key in scores} for i, name in enumerate(self.classes)}
        for mean, weights in (("macro", None), ("weighted", support)):
            shares = ("precision", "recall", "f1")
            rows[mean] = {key: float(np.average(scores[key], weights=weights)) for key in shares}
        return {name: row | {"support": int(row.get("support", support.sum()))} for name, row in rows.items()}

    def to_json(self) -> dict[str, Any]:
        """The content of a run's ``evaluation.json``."""
        return {
            "accuracy": self.accuracy,
            "loss": self.loss,
            "classes": list(self.classes),
            "per_class_accuracy": self.scores()["recall"].tolist(),
            "confusion": self.confusion.tolist(),
            "report": self.report(),
        }

    def state(self) -> dict[str, Any]:
        """Plain values from which ``from_state`` makes an equal evaluation."""
        return {
            "classes": list(self.classes),
            "loss_sum": self.loss_sum,
            "confusion": self.confusion.tolist(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of ``state``."""
        return cls(
            classes=tuple(state["classes"]),
            loss_sum=state["loss_sum"],
            confusion=np.array(state["confusion"], dtype=np.int64),
        )


def evaluate(module: nn.Module, task: Task, samples: Samples, precision: Precision, *, batch: int = 500) -> Evaluation:
    """The module on the samples, ``batch`` of them at a time, on the module's device and in evaluation mode.

    The module's modes are left as they were. Raises UserError where its outputs are not [b, classes].
    """
    device = next((parameter.device for parameter in module.parameters()), samples.inputs.device)
    classes = len(task.classes)
    loss_sum = torch.zeros((), dtype=torch.float64, device=device)
    pairs = torch.zeros(classes**2, dtype=torch.int64, device=device)  # true class * classes + predicted
    with torch.no_grad(), evaluation_mode(module):
        for part in samples.parts(batch):
            inputs, targets = precision.layout(task.prepare(part.inputs.to(device))), part.targets.to(device)
            with precision.autocast(device):
                logits = module(inputs)
            if logits.shape != (len(targets), classes):
                shape = list(logits.shape)
                raise UserError(f"the model's outputs must be [b, {classes}], one for each class, not {shape}")
            logits = logits.float()
            loss_sum += F.cross_entropy(logits, targets, reduction="sum")
            pairs += torch.bincount(targets * classes + logits.argmax(1), minlength=classes**2)
    confusion = pairs.view(classes, classes).cpu().numpy()
    return Evaluation(classes=task.classes, loss_sum=float(loss_sum), confusion=confusion)


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Puts each submodule back by itself: some may be in evaluation mode for good, such as frozen norms."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training
