"""A task: what is learnt, from which samples, and how its inputs reach the model."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from manyhands.errors import UserError
from manyhands.tasks.augmentation import Augmentation
from manyhands.tasks.partition.groups import check_groups


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs with their classes."""

    inputs: Tensor
    """[n, …]: images uint8 [n, C, H, W], or float32 (or whole numbers, such as tokens) of any shape."""
    targets: Tensor
    """int64 [n]."""

    def __post_init__(self) -> None:
        if self.targets.dim() != 1 or self.targets.is_floating_point() or self.targets.is_complex():
            raise UserError(
                f"targets must be whole numbers of shape [n], not {self.targets.dtype} of {list(self.targets.shape)}"
            )
        if self.inputs.dim() == 0 or len(self.inputs) != len(self.targets) or len(self.targets) == 0:
            raise UserError(
                f"inputs {list(self.inputs.shape)} and targets {list(self.targets.shape)} must hold the same "
                "number of samples, at least one"
            )
        object.__setattr__(self, "targets", self.targets.long())
        if self.inputs.is_floating_point():
            object.__setattr__(self, "inputs", self.inputs.float())

    def __len__(self) -> int:
        return len(self.targets)

    def first(self, count: int) -> "Samples":
        """The first ``count`` samples, or all if there are fewer. A view, not a copy."""
        return Samples(self.inputs[:count], self.targets[:count])

    def parts(self, size: int) -> list["Samples"]:
        """The samples in order, cut into parts of ``size``; the last may be smaller. Views, not copies."""
        starts = range(0, len(self), size)
        return [Samples(self.inputs[i : i + size], self.targets[i : i + size]) for i in starts]

    @classmethod
    def of(cls, data: Any) -> Self:
        """From samples, from (inputs, targets) as tensors or arrays, or from a map-style Dataset of pairs.

        Raises UserError where `data` is none of these or its items have different shapes.
        """
        if isinstance(data, cls):
            return data
        if isinstance(data, tuple) and len(data) == 2:
            inputs, targets = map(_tensor, data)
        elif hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, (str, Tensor)):
            if len(data) == 0:
                raise UserError("a data set without samples: there must be at least one")
            inputs, targets = _stack(data)
        else:
            raise UserError(f"samples are an (inputs, targets) pair or a Dataset of pairs, not {type(data).__name__}")
        return cls(inputs, targets)


def _stack(dataset: Any) -> tuple[Tensor, Tensor]:
    items = [dataset[index] for index in range(len(dataset))]
    if not all(isinstance(item, (tuple, list)) and len(item) == 2 for item in items):
        raise UserError("a Dataset must give (x, y) pairs")
    try:
        return torch.stack([_tensor(x) for x, _ in items]), torch.stack([_tensor(y) for _, y in items])
    except RuntimeError as error:
        raise UserError(f"the items of a Dataset must all have one shape: {error}") from None


def _tensor(value: Any) -> Tensor:
    if not isinstance(value, (Tensor, np.ndarray, np.generic, int, float, list, tuple)):
        raise UserError(f"inputs and targets must be tensors, arrays or numbers, not {type(value).__name__}")
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"inputs and targets must be tensors or arrays of numbers: {error}") from None


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Data set, model and what lies between, e.g. ``Task(model=Net, train=(x, y), test=(x, y))``.

    `train` and `test` are what `Samples.of` takes. Raises UserError where they disagree with each other, with
    `classes` or with `mean` and `std`.
    """

    model: Callable[[], nn.Module]
    """Makes a new module that takes a prepared batch [b, …] to logits [b, classes]."""
    train: Samples
    test: Samples
    name: str = ""
    """Default: ``custom/`` and the model's name."""
    classes: tuple[str, ...] = ()
    """Names; default: the class numbers from 0 to the largest there is."""
    mean: tuple[float, ...] | None = None
    """Per channel (dimension 1 of a batch), uint8 images counting from 0 to 1."""
    std: tuple[float, ...] | None = None
    augmentation: Augmentation | None = None
    """For training batches."""
    groups: Any = None
    """The natural group of each training sample, whole numbers or names [n], for the partition `groups`."""

    def __post_init__(self) -> None:
        train, test = Samples.of(self.train), Samples.of(self.test)
        top = int(max(train.targets.max(), test.targets.max()))
        label = str(getattr(self.model, "__name__", type(self.model).__name__)).lower()
        defaults = {
            "train": train,
            "test": test,
            "name": self.name or f"custom/{label}",
            "classes": tuple(self.classes) or tuple(map(str, range(top + 1))),
            "groups": None if self.groups is None else check_groups(self.groups, len(train), "the task"),
        }
        for field, value in defaults.items():
            object.__setattr__(self, field, value)
        self._validate(int(min(train.targets.min(), test.targets.min())), top)

    def _validate(self, bottom: int, top: int) -> None:
        kinds = [f"{samples.inputs.dtype} {list(samples.inputs.shape[1:])}" for samples in (self.train, self.test)]
        if kinds[0] != kinds[1]:
            raise UserError(f"training and test inputs must be alike, not {kinds[0]} and {kinds[1]}")
        if bottom < 0 or top >= len(self.classes):
            wrong = bottom if bottom < 0 else top
            raise UserError(f"targets must be from 0 to {len(self.classes) - 1}, one for each class, not {wrong}")
        if (self.mean is None) != (self.std is None):
            raise UserError("mean and std go together: give both or none")
        if self.mean is not None and self.std is not None:
            channels = self.input_shape[0] if self.input_shape else 0
            if not len(self.mean) == len(self.std) == channels:
                raise UserError(
                    f"mean and std need a number for each of the {channels} channels, "
                    f"not {len(self.mean)} and {len(self.std)}"
                )
            if not all(std > 0 for std in self.std):
                raise UserError(f"std must be above 0, not {self.std}")

    def first(self, count: int) -> "Task":
        """The same task with the first ``count`` of its training samples, or all if there are fewer."""
        groups = None if self.groups is None else self.groups[:count]
        return replace(self, train=self.train.first(count), groups=groups)

    def to(self, device: torch.device) -> "Task":
        """The same task with its samples on a device."""
        samples = [Samples(part.inputs.to(device), part.targets.to(device)) for part in (self.train, self.test)]
        return replace(self, train=samples[0], test=samples[1])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input, without the batch: (C, H, W) for images."""
        return tuple(self.train.inputs.shape[1:])

    def prepared(self, limit: int) -> Tensor | None:
        """All training inputs as `prepare` makes them; None where they would fill more than so many bytes."""
        inputs = self.train.inputs
        if inputs.dtype != torch.uint8 and self.mean is None:
            return inputs
        if 4 * inputs.numel() > limit:
            return None
        whole = torch.empty(inputs.shape, device=inputs.device)
        for start in range(0, len(inputs), 1000):  # so that what comes between is small
            part = slice(start, start + 1000)
            whole[part] = self.prepare(inputs[part])
        return whole

    def prepare(self, inputs: Tensor) -> Tensor:
        """A batch as the model wants it, on its device: uint8 becomes float32 in 0..1, then normalised."""
        if inputs.dtype == torch.uint8:
            inputs = inputs.float() / 255
        if self.mean is None or self.std is None:
            return inputs
        shape = (-1,) + (1,) * (inputs.dim() - 2)
        mean = torch.tensor(self.mean, device=inputs.device).view(shape)
        std = torch.tensor(self.std, device=inputs.device).view(shape)
        return (inputs - mean) / std
