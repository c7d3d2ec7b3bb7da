"""What a model costs to compute: floating-point operations, and when in the backward pass gradients are ready."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Cost:
    forward_flops: int
    """floating-point operations of the forward pass for one sample, a multiply-add counted as two"""
    ready: tuple[tuple[int, float], ...]
    """for each parameter tensor in backward order: its numbers, and the share of backward done when it is ready"""


def measure_cost(module: nn.Module, example: Tensor) -> Cost:
    """Count on one sample. ``example`` is float32 [1, …]; the module's state is left as it was.

    The backward pass is taken to spend its time on modules in proportion to their forward operations, from the
    last parameter to the first.
    """
    training = module.training
    module.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(example)
    module.train(training)
    total = counter.get_total_flops()
    by_module = {
        name.partition(".")[2]: sum(flops.values()) for name, flops in counter.get_flop_counts().items() if "." in name
    }
    ready, done, counted = [], 0, set()
    for name, parameter in reversed(list(module.named_parameters())):
        owner = name.rpartition(".")[0]
        if owner not in counted:
            done += by_module.get(owner, 0)
            counted.add(owner)
        if parameter.requires_grad:
            ready.append((parameter.numel(), done / total if total else 1.0))
    return Cost(forward_flops=total, ready=tuple(ready))


def buckets(
    ready: tuple[tuple[int, float], ...], first: int = 2**20, size: int = 25 * 2**20
) -> list[tuple[int, float]]:
    """Gradients in the order in which backward produces them, packed into buckets: (bytes, share of backward done).

    A bucket is closed as soon as it holds its size: 1 MiB for the first, 25 MiB for the others, as in
    DistributedDataParallel (Li et al. 2020, https://arxiv.org/abs/2006.15704).
    """
    packed: list[tuple[int, float]] = []
    held, share = 0, 0.0
    for numbers, share in ready:
        held += 4 * numbers
        if held >= (size if packed else first):
            packed.append((held, share))
            held = 0
    if held:
        packed.append((held, share))
    return packed
