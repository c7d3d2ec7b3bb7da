"""The test set, shared out as the training set is, so that each worker is tested on what it is to know."""

from collections.abc import Sequence

import numpy as np

from manyhands.tasks.partition.base import Indices, largest_remainders


def share_test_set(
    targets: Indices, parts: Sequence[Indices], test_targets: Indices, rng: np.random.Generator
) -> list[Indices]:
    """The positions of each worker's samples in the test set, sorted; every test sample is one worker's.

    ``targets``: the classes of the training samples, int64 [n], of which a worker holds those at ``parts[worker]``;
    ``test_targets``: those of the test samples, int64 [m]. The test samples of a class go to the workers in proportion
    to the class's training samples that they hold, rounded by largest remainders, ties broken at random; those of a
    class without training samples, in proportion to all. Where there are few test samples a worker may get none.
    """
    workers = len(parts)
    sizes = np.array([len(part) for part in parts])
    holders, labels = np.repeat(np.arange(workers), sizes), targets[np.concatenate(parts)]
    owners = np.empty(len(test_targets), np.int64)
    for label in np.unique(test_targets):
        samples = rng.permutation(np.flatnonzero(test_targets == label))
        held = np.bincount(holders[labels == label], minlength=workers)
        shares = largest_remainders(held if held.any() else sizes, len(samples), rng)
        owners[samples] = np.repeat(np.arange(workers), shares)
    counts = np.bincount(owners, minlength=workers)
    return np.split(np.argsort(owners, kind="stable"), np.cumsum(counts)[:-1])
