"""Training steps of one worker outside any run, to be timed: forward, backward, update."""

import torch
from torch.nn.parallel import DistributedDataParallel

from manyhands.clusters.experiment import Experiment

SMALL = 1e-3
"""factor on the learning rate: weights hardly change, so that the last step timed computes on numbers like the first"""


class Steps:
    """One worker's steps on its own samples, with its own optimiser, as its strategy would take them."""

    def __init__(self, experiment: Experiment, rank: int = 0) -> None:
        self.learner = experiment.make_learner()
        self._node = experiment.make_nodes(self.learner)(rank)
        self._gradient = torch.zeros(self.learner.parameters, device=experiment.device)
        self._device = experiment.device

    @property
    def samples(self) -> int:
        """Of one step."""
        assert self._node.sampler is not None
        return self._node.sampler.batch_size

    def take(self, steps: int = 1, parallel: DistributedDataParallel | None = None) -> None:
        """So many steps; returns when the last is done. ``parallel`` wraps the learner's module."""
        self.learner.bind(self._node.weights)
        self.learner.collect(self._gradient)
        for _ in range(steps):
            self._gradient.zero_()
            self.learner.backward(self._node.next_batch(), self._node.rank, parallel)
            self._node.step(self._gradient, SMALL)
        finish(self._device)


def finish(device: torch.device) -> None:
    """Wait for what an accelerator still has to do."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
