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
class ByClient:
    """Sums over the test samples of each client, [clients]: what `Evaluation` has of all together."""

    loss_sums: np.ndarray
    """float64"""
    right: np.ndarray
    """int64: samples classified rightly"""
    samples: np.ndarray
    """int64: test samples of the client"""

    @classmethod
    def count(cls, owners: np.ndarray, losses: np.ndarray, right: np.ndarray, clients: int) -> Self:
        """From samples: whose each is, int64 [n], its loss, and whether it was classified rightly."""
        return cls(
            loss_sums=np.bincount(owners, weights=losses, minlength=clients),
            right=np.bincount(owners[right], minlength=clients),
            samples=np.bincount(owners, minlength=clients),
        )

    @classmethod
    def gather(cls, found: Mapping[int, Evaluation], clients: int) -> Self:
        """From an evaluation of each client that has test samples, by its number."""
        places = np.array(list(found), dtype=np.int64)
        sums = {key: np.zeros(clients, dtype=kind) for key, kind in _SUMS.items()}
        sums["loss_sums"][places] = [one.loss_sum for one in found.values()]
        sums["right"][places] = [one.confusion.trace() for one in found.values()]
        sums["samples"][places] = [one.confusion.sum() for one in found.values()]
        return cls(**sums)

    @classmethod
    def merge(cls, parts: Sequence[Self]) -> Self:
        """Those of all the parts' samples together; at least one part."""
        return cls(**{key: np.sum([getattr(part, key) for part in parts], axis=0) for key in _SUMS})

    def state(self) -> dict[str, list[float]]:
        """Plain values from which ``from_state`` makes an equal one."""
        return {key: getattr(self, key).tolist() for key in _SUMS}

    @classmethod
    def from_state(cls, state: Mapping[str, Sequence[float]]) -> Self:
        """The inverse of ``state``."""
        return cls(**{key: np.array(state[key], dtype=kind) for key, kind in _SUMS.items()})


_SUMS: dict[str, type[np.generic]] = {"loss_sums": np.float64, "right": np.int64, "samples": np.int64}


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Sums over samples, so that the evaluations of parts add up to that of the whole."""

    classes: tuple[str, ...]
    loss_sum: float
    """cross-entropy without label smoothing, added up over the samples"""
    confusion: np.ndarray
    """int64 [classes, classes]: samples of the row's class that were taken for the column's"""
    by_client: ByClient | None = None
    """where the samples are the clients' and this was asked for"""
    mistakes: np.ndarray | None = None
    """int64 [m, 3]: place in the test set, class and predicted class of all samples classified wrongly, where asked"""

    @classmethod
    def merge(cls, parts: Sequence[Self]) -> Self:
        """The evaluation of all the parts' samples together; at least one part."""
        by_client = [part.by_client for part in parts if part.by_client]
        mistakes = [part.mistakes for part in parts if part.mistakes is not None]
        return cls(
            classes=parts[0].classes,
            loss_sum=sum(part.loss_sum for part in parts),
            confusion=np.sum([part.confusion for part in parts], axis=0),
            by_client=ByClient.merge(by_client) if by_client else None,
            mistakes=np.concatenate(mistakes) if len(mistakes) == len(parts) else None,
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

    def most_confused(self, pairs: int) -> list[tuple[int, int, int]]:
        """The pairs of classes that are taken for each other most often: class, predicted class, and how often."""
        counts = self.confusion - np.diag(self.confusion.diagonal())
        order = np.argsort(-counts, axis=None, kind="stable")[:pairs]
        found = [(*divmod(int(place), len(self.classes)), int(counts.flat[place])) for place in order]
        return [pair for pair in found if pair[2]]

    def examples(self, true: int, predicted: int, count: int) -> list[int]:
        """Places in the test set of the first samples of one class that were taken for another; none if not asked."""
        if self.mistakes is None:
            return []
        chosen = self.mistakes[(self.mistakes[:, 1:] == (true, predicted)).all(axis=1), 0]
        return [int(place) for place in np.sort(chosen)[:count]]

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
            "by_client": self.by_client.state() if self.by_client else None,
            "mistakes": self.mistakes.tolist() if self.mistakes is not None else None,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of ``state``."""
        return cls(
            classes=tuple(state["classes"]),
            loss_sum=state["loss_sum"],
            confusion=np.array(state["confusion"], dtype=np.int64),
            by_client=ByClient.from_state(state["by_client"]) if state.get("by_client") else None,
            mistakes=None if state["mistakes"] is None else np.array(state["mistakes"], np.int64).reshape(-1, 3),
        )


def evaluate(
    module: nn.Module,
    task: Task,
    samples: Samples,
    precision: Precision,
    *,
    batch: int = 500,
    owners: np.ndarray | None = None,
    clients: int = 0,
    first: int | None = None,
) -> Evaluation:
    """The module on the samples, ``batch`` of them at a time, on the module's device and in evaluation mode.

    ``owners``: whose of so many ``clients`` each sample is, int64 [n]: then the sums of each are taken too, in the same
    pass. ``first``: the place of the first sample in the test set: then it is noted which are classified wrongly. The
    module's modes are left as they were. Raises UserError where its outputs are not [b, classes].
    """
    device = next((parameter.device for parameter in module.parameters()), samples.inputs.device)
    classes = len(task.classes)
    loss_sum = torch.zeros((), dtype=torch.float64, device=device)
    pairs = torch.zeros(classes**2, dtype=torch.int64, device=device)  # true class * classes + predicted
    each: list[tuple[torch.Tensor, torch.Tensor]] = []  # losses, and which samples were classified rightly
    predicted: list[torch.Tensor] = []
    with torch.no_grad(), evaluation_mode(module):
        for part in samples.parts(batch):
            inputs, targets = precision.layout(task.prepare(part.inputs.to(device))), part.targets.to(device)
            with precision.autocast(device):
                logits = module(inputs)
            if logits.shape != (len(targets), classes):
                shape = list(logits.shape)
                raise UserError(f"the model's outputs must be [b, {classes}], one for each class, not {shape}")
            logits = logits.float()
            losses, guesses = F.cross_entropy(logits, targets, reduction="none"), logits.argmax(1)
            loss_sum += losses.sum()
            pairs += torch.bincount(targets * classes + guesses, minlength=classes**2)
            if owners is not None:
                each.append((losses, guesses == targets))
            if first is not None:
                predicted.append(guesses)
    confusion = pairs.view(classes, classes).cpu().numpy()
    by_client = None
    if owners is not None:
        of_each, right = (torch.cat(parts).cpu().numpy() for parts in zip(*each, strict=True))
        by_client = ByClient.count(owners, of_each, right, clients)
    mistakes = None if first is None else _mistakes(samples.targets, torch.cat(predicted), first)
    return Evaluation(
        classes=task.classes, loss_sum=float(loss_sum), confusion=confusion, by_client=by_client, mistakes=mistakes
    )


def _mistakes(targets: torch.Tensor, predicted: torch.Tensor, first: int) -> np.ndarray:
    true, guesses = targets.cpu().numpy(), predicted.cpu().numpy()
    (wrong,) = np.nonzero(true != guesses)
    return np.stack([first + wrong, true[wrong], guesses[wrong]], axis=1)


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
