"""What is measured on live processes: steps, messages, all-reduce, and computing while gradients travel.

Each function runs on all processes of a fleet at once, inside their process group, and returns what its own node saw.
Times of messages are paced, with pauses between them, so that a node's quota of its core is whole when one begins.
"""

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import log
from statistics import median, stdev
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from manyhands.clusters.experiment import Experiment
from manyhands.clusters.node import Node
from manyhands.clusters.processes.member import Place
from manyhands.clusters.processes.wire import Kind, Wire
from manyhands.training.learner import Learner
from manyhands.training.sampler import Batch

PARTS = ("step", "forward", "backward", "optimizer", "jitter")
BLOCK = 0.25
"""seconds of work that are timed at once, unless the launcher says otherwise: many periods of a quota"""
PAUSE = 0.015
"""seconds between two messages: more than the period of a quota"""


def time_steps(
    place: Place, experiment: Experiment, sizes: Sequence[int], blocks: int, block: float
) -> list[dict[str, Any]]:
    """Training steps of a node for itself, for each batch size: ``step``, wall-clock seconds of a mean step in each
    block, of ``block`` seconds; ``forward``, ``backward`` and ``optimizer``, processor seconds of each, apart;
    ``jitter``, the standard deviation of the logarithm of a step's processor seconds within a block.

    The sizes take turns, so that what changes with time does not look like what changes with size.
    """
    learner, node = _node_of(place, experiment)
    results: list[dict[str, Any]] = [{"batch": size} | {part: [] for part in PARTS} for size in sizes]
    for round_ in range(-1, blocks):  # the first is to warm up
        for size, result in zip(sizes, results, strict=True):
            dist.barrier()
            measured = _block(learner, node, _batches(node, size), block)
            if round_ >= 0:
                for name, seconds in measured.items():
                    result[name].append(seconds)
    return results


def time_one_size(place: Place, experiment: Experiment, size: int, block: float) -> float:
    """Wall-clock seconds of a training step of a node for itself, over ``block`` seconds, after one to warm up."""
    learner, node = _node_of(place, experiment)
    draw = _batches(node, size)
    learner.gradient(node.weights, draw(), node.rank)
    dist.barrier()
    return _steps(learner, node, draw, block)[0]


def _node_of(place: Place, experiment: Experiment) -> tuple[Learner, Node]:
    learner = experiment.make_learner()
    return learner, experiment.make_nodes(learner)(place.rank)


def _batches(node: Node, size: int) -> Callable[[], Batch]:
    assert node.sampler is not None
    node.sampler.batch_size = min(size, len(node.sampler.samples))
    return node.next_batch


def _steps(learner: Learner, node: Node, draw: Callable[[], Batch], block: float) -> tuple[float, list[float]]:
    """A block of steps: wall-clock seconds of one in the mean, and processor seconds of each."""
    start, marks = time.perf_counter(), [time.process_time()]
    while time.perf_counter() < start + block or len(marks) < 4:
        gradient, _ = learner.gradient(node.weights, draw(), node.rank)
        node.step(gradient)
        marks.append(time.process_time())
    return (time.perf_counter() - start) / (len(marks) - 1), [after - before for before, after in pairwise(marks)]


def _block(learner: Learner, node: Node, draw: Callable[[], Batch], block: float) -> dict[str, float]:
    step, each = _steps(learner, node, draw, block)
    marks = [time.process_time()]
    for _ in range(max(2, len(each) // 4)):
        gradient = torch.zeros_like(node.parameters)
        learner.collect(gradient)
        loss = learner.batch_loss(draw(), node.rank)
        marks.append(time.process_time())
        loss.backward()  # type: ignore[no-untyped-call]
        marks.append(time.process_time())
        node.step(gradient)
        marks.append(time.process_time())
    spans = [after - before for before, after in pairwise(marks)]
    return {
        "step": step,
        "forward": median(spans[0::3]),
        "backward": median(spans[1::3]),
        "optimizer": median(spans[2::3]),
        "jitter": stdev(map(log, each)),
    }


def time_messages(place: Place, sizes: Sequence[int], repeats: int) -> list[dict[str, Any]]:
    """There and back between nodes 0 and 1, for each size (bytes): ``one_way``, seconds of half the way each time;
    ``send``, seconds until the sender may go on; ``cpu``, processor seconds of this node for one message each way."""
    wire = Wire(place.rank, torch.device("cpu"))
    results: list[dict[str, Any]] = [{"bytes": size, "one_way": [], "send": [], "cpu": []} for size in sizes]
    for round_ in range(-2, repeats):
        for size, result in zip(sizes, results, strict=True):
            tensor = torch.zeros(max(1, size // 4))
            if place.rank == 0:
                time.sleep(PAUSE)
            used, start = time.process_time(), time.perf_counter()
            if place.rank == 0:
                wire.send(1, Kind.DATA, tensor)
                sent = time.perf_counter()
                wire.receive_tensors(wire.receive_header(1))
            else:
                wire.receive_tensors(wire.receive_header(0))
                wire.send(0, Kind.DATA, tensor)
                sent = start
            wire.flush()
            if round_ >= 0:
                result["one_way"].append((time.perf_counter() - start) / 2)
                result["send"].append(sent - start)
                result["cpu"].append(time.process_time() - used)
    return results


def time_all_reduce(place: Place, sizes: Sequence[int], repeats: int) -> list[dict[str, Any]]:
    """The backend's own all-reduce for each size (bytes): ``spans``, when this node began and ended each time, by the
    clock that the processes of a machine share (seconds); ``cpu``, processor seconds of this node."""
    results: list[dict[str, Any]] = [{"bytes": size, "spans": [], "cpu": []} for size in sizes]
    for round_ in range(-2, repeats):
        for size, result in zip(sizes, results, strict=True):
            tensor = torch.zeros(max(1, size // 4))
            dist.barrier()
            time.sleep(PAUSE)
            used, start = time.process_time(), time.perf_counter()
            dist.all_reduce(tensor)
            if round_ >= 0:
                result["spans"].append((start, time.perf_counter()))
                result["cpu"].append(time.process_time() - used)
    return results


def time_overlap(
    place: Place, experiment: Experiment, batch: int, size: int, blocks: int, block: float
) -> dict[str, list[float]]:
    """Seconds of a gradient ``alone``, and ``behind`` which all-reduces of ``size`` bytes never cease; and of one of
    these with nothing else to do, ``reduce_alone``, and while gradients are computed, ``reduce_behind``."""
    learner, node = _node_of(place, experiment)
    draw = _batches(node, batch)
    result: dict[str, list[float]] = {"alone": [], "behind": [], "reduce_alone": [], "reduce_behind": []}

    def compute(until: Callable[[], bool]) -> float:
        start, steps = time.perf_counter(), 0
        while not until() or steps < 2:
            learner.gradient(node.weights, draw(), node.rank)
            steps += 1
        return (time.perf_counter() - start) / steps

    def for_a_block() -> Callable[[], bool]:
        end = time.perf_counter() + block
        return lambda: time.perf_counter() > end

    tensor = torch.zeros(size // 4)
    dist.barrier()
    start = time.perf_counter()
    dist.all_reduce(tensor)
    alone = torch.tensor([time.perf_counter() - start])
    dist.all_reduce(alone)
    count = max(2, int(2 * block / (float(alone) / place.world)))  # the same at all nodes
    for round_ in range(-1, blocks):
        dist.barrier()
        quiet = compute(for_a_block())
        dist.barrier()
        tensors = [tensor.clone() for _ in range(count)]
        start = time.perf_counter()
        works: list[dist.Work] = [_started(each) for each in tensors]
        busy = compute(works[-1].is_completed)
        behind = (time.perf_counter() - start) / count
        for work in works:
            work.wait()
        dist.barrier()
        start = time.perf_counter()
        for work in [_started(each) for each in tensors]:
            work.wait()
        if round_ >= 0:
            result["alone"].append(quiet)
            result["behind"].append(busy)
            result["reduce_behind"].append(behind)
            result["reduce_alone"].append((time.perf_counter() - start) / count)
    return result


def _started(tensor: Tensor) -> dist.Work:
    work: dist.Work | None = dist.all_reduce(tensor, async_op=True)
    assert work is not None
    return work
