"""A task small enough to train in milliseconds. Processes import it by name, so it lives at module level."""

import os
import time
from itertools import count

import torch
import torch.distributed as dist
from torch import Tensor, nn

from manyhands.tasks.task import Task

FEATURES, CLASSES = 6, 3


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(FEATURES, 8), nn.Tanh(), nn.Linear(8, CLASSES))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layers(inputs)  # type: ignore[no-any-return]


class Normed(Plain):
    """With batch norm: its statistics are buffers, which every strategy must carry along."""

    def __init__(self) -> None:
        super().__init__()
        self.layers.insert(1, nn.BatchNorm1d(8))


class Dropped(Normed):
    """With dropout too: the forward pass draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers.insert(3, nn.Dropout(0.2))


class Spared(Plain):
    """With parameters that have no part in the loss, such as a head that is not in use."""

    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(2, 2)


def toy(model: type[nn.Module] = Plain, samples: int = 240) -> Task:
    """Three overlapping clouds of points."""
    generator = torch.Generator().manual_seed(7)
    targets = torch.arange(samples + 30) % CLASSES
    inputs = torch.randn(samples + 30, FEATURES, generator=generator)
    inputs[:, :CLASSES] += torch.eye(CLASSES)[targets]
    return Task(model=model, train=(inputs[:samples], targets[:samples]), test=(inputs[samples:], targets[samples:]))


class Dawdling(Plain):
    """Slow in one process of a cluster, that of rank 1: a fifth of a second for each batch."""

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training and dist.is_initialized() and dist.get_rank() == 1:
            time.sleep(0.2)
        return super().forward(inputs)


HALT = "MANYHANDS_TEST_HALT"
_batches = count(1)


class Halting(Normed):
    """Where ``HALT`` is in the environment: a process of a cluster stands still at its fifteenth batch."""

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training and HALT in os.environ and dist.is_initialized() and next(_batches) >= 15:
            time.sleep(600)
        return super().forward(inputs)
