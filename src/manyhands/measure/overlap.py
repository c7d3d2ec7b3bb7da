"""How much communication the backward pass hides: three times measured on the same processes, and what follows.

exposed = t - t₀, with t the time of a step and t₀ that of the step with communication replaced by nothing;
overlap = 1 - exposed / t_c, with t_c what the same communication takes alone.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import GradBucket
from torch.nn.parallel import DistributedDataParallel

from manyhands.clusters.experiment import Experiment
from manyhands.clusters.processes.launch import Place
from manyhands.measure.results import Spread
from manyhands.measure.steps import Steps

REPEAT_SECONDS = 0.3
WARM_UP = 3


@dataclass(frozen=True)
class Overlap:
    """Seconds, of the process that takes longest, a value for each repeat."""

    step: Sequence[float]
    nothing: Sequence[float]
    """of a step with communication replaced by nothing"""
    alone: Sequence[float]
    """of the communication of a step, bucket after bucket, without computing"""

    @property
    def exposed(self) -> Spread:
        """t - t₀ in seconds; pairs of one repeat follow each other closely."""
        return Spread.of([step - nothing for step, nothing in zip(self.step, self.nothing, strict=True)])

    @property
    def overlap(self) -> Spread:
        """1 - exposed / t_c, a share; below zero where communication costs a step more than it takes alone."""
        exposed = [step - nothing for step, nothing in zip(self.step, self.nothing, strict=True)]
        return Spread.of([1 - own / alone for own, alone in zip(exposed, self.alone, strict=True)])

    @classmethod
    def of(cls, answers: Sequence[dict[str, list[float]]]) -> "Overlap":
        """From what each process measured: all wait for the last."""
        slowest = {key: [max(own) for own in zip(*(each[key] for each in answers), strict=True)] for key in answers[0]}
        return cls(slowest["step"], slowest["nothing"], slowest["alone"])


def time_overlap(place: Place, experiment: Experiment, repeats: int) -> dict[str, list[float]]:
    """Runs in each process of a fleet: times of all-reduce's steps in DistributedDataParallel, as `Overlap` has them.

    The three take turns, so that other load falls on all of them.
    """
    steps = Steps(experiment, place.rank)
    hook = _Hook(place.world)
    steps.take()  # binds the parameters before they are wrapped
    parallel = wrap(steps, hook)
    kinds: dict[str, Callable[[], None]] = {
        "step": lambda: steps.take(parallel=parallel),
        "nothing": lambda: hook.silent(lambda: steps.take(parallel=parallel)),
        "alone": hook.repeat,
    }
    return _in_turns(kinds, repeats)


def time_alone(place: Place, experiment: Experiment, repeats: int) -> list[float]:
    """Runs in each process of a fleet: seconds of steps in which every worker computes for itself."""
    steps = Steps(experiment, place.rank)
    return _in_turns({"nothing": steps.take}, repeats)["nothing"]


def _in_turns(kinds: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    counts = {}
    for kind, act in kinds.items():
        for _ in range(WARM_UP):
            seconds = _timed(act, 1)
        count = torch.tensor([max(1, int(REPEAT_SECONDS / seconds))])
        dist.broadcast(count, 0)  # all must take as many
        counts[kind] = int(count)
    for _ in range(repeats):
        for kind, act in kinds.items():
            times[kind].append(_timed(act, counts[kind]))
    return times


def _timed(act: Callable[[], None], times: int) -> float:
    dist.barrier()
    start = time.perf_counter()
    for _ in range(times):
        act()
    return (time.perf_counter() - start) / times


def wrap(steps: Steps, hook: "_Hook") -> DistributedDataParallel:
    """The learner's module, with the hook for its buckets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        parallel = DistributedDataParallel(steps.learner.module, broadcast_buffers=False)
    parallel.register_comm_hook(None, hook.reduce)
    return parallel


class _Hook:
    """Reduces buckets as the cluster's driver does; or, while it is silent, hands them back as they are."""

    def __init__(self, world: int) -> None:
        self.world = world
        self.buffers: dict[int, Tensor] = {}
        """of the last step, by the bucket's number"""
        self._silent = False

    def reduce(self, _: object, bucket: GradBucket) -> torch.futures.Future[Tensor]:
        buffer = bucket.buffer()
        if self._silent:
            done: torch.futures.Future[Tensor] = torch.futures.Future()
            done.set_result(buffer)
            return done
        if bucket.index() == 0:
            self.buffers.clear()  # of the last step, or of a layout that was given up after the first one
        self.buffers[bucket.index()] = buffer
        work = dist.all_reduce(buffer.div_(self.world), async_op=True)
        assert work is not None
        future: torch.futures.Future[list[Tensor]] = work.get_future()
        return future.then(lambda reduced: reduced.value()[0])

    def silent(self, act: Callable[[], None]) -> None:
        """Do something with communication replaced by nothing."""
        self._silent = True
        act()
        self._silent = False

    def repeat(self) -> None:
        """The communication of one step without its computing."""
        works = [dist.all_reduce(buffer, async_op=True) for buffer in self.buffers.values()]
        for buffer, work in zip(self.buffers.values(), works, strict=True):
            assert work is not None
            work.wait()
            buffer.mul_(1 / self.world)
