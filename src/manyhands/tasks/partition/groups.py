"""Natural groups: who wrote, spoke or measured a sample says who holds it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from manyhands.errors import UserError
from manyhands.tasks.partition.base import PARTITIONS, Indices, Partition


@PARTITIONS.register("groups")
@dataclass(frozen=True)
class Groups(Partition):
    """Each group of samples is one worker's; more groups than workers are dealt out in turn.

    Natural groups, such as the writers of LEAF's FEMNIST (Caldas et al. 2018, https://arxiv.org/abs/1812.01097), are
    the task's own, ``Task(..., groups=...)``, or stand in a file: a group for each training sample, as a line of text
    or in an array of NumPy's (.npy). They are taken in ascending order, the first being worker 0's.
    """

    file: str = ""
    """with a group for each training sample; default: the task's own groups"""

    def _owners_by(self, groups: Indices | None, targets: Indices, workers: int, rng: np.random.Generator) -> Indices:
        if self.file:
            groups = read_groups(Path(self.file), len(targets))
        if groups is None:
            raise UserError("the task has no groups: write groups:FILE, with a group for each training sample")
        names, numbers = np.unique(groups, return_inverse=True)
        if len(names) < workers:
            raise UserError(
                f"partition '{self}': {workers:,} workers need a group each, and there are {len(names):,}: "
                "use fewer workers"
            )
        owners: Indices = numbers.reshape(-1) % workers
        return owners


def read_groups(file: Path, samples: int) -> Indices:
    """The group of each sample, int64 [samples], numbered in ascending order.

    Raises UserError where the file cannot be read or has another number of groups than there are samples.
    """
    try:
        found = np.load(file, allow_pickle=False) if file.suffix == ".npy" else file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read the groups in {file}: {error.strerror}; name another file") from None
    except (ValueError, EOFError):
        raise UserError(f"{file} holds no groups: give a line of text or a whole number for each sample") from None
    groups = _lines(found) if isinstance(found, str) else found
    return check_groups(groups, samples, str(file))


def check_groups(groups: Any, samples: int, where: str) -> Indices:
    """The groups numbered in ascending order, int64 [samples]; raises UserError unless each sample has one."""
    groups = np.asarray(groups)
    if groups.ndim == 1 and len(groups) != samples:
        raise UserError(
            f"{where} has {len(groups):,} groups for {samples:,} training samples: give one for each of them"
        )
    if groups.dtype.kind not in "iuU" or groups.ndim != 1:
        raise UserError(
            f"{where} must have whole numbers of shape [n] for groups, not {groups.dtype} of {list(groups.shape)}"
        )
    numbers: Indices = np.unique(groups, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return numbers


def _lines(text: str) -> Sequence[Any]:
    """Whole numbers if all lines are, so that 10 comes after 9, else words."""
    words = [line.strip() for line in text.rstrip().splitlines()]
    try:
        return [int(word) for word in words]
    except ValueError:
        return words
