"""What a model costs to compute: floating-point operations, and when in the backward pass gradients are ready."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from manyhands.training.evaluation import evaluation_mode


@dataclass(frozen=True)
class Cost:
    forward_flops: int
    """floating-point operations of the forward pass for one sample, a multiply-add counted as two"""
    ready: tuple[tuple[int, float], ...]
    """for each parameter tensor in backward order: its numbers, and the share of backward done when it is ready"""


def measure_cost(module: nn.Module, example: Tensor) -> Cost:
    """Count on one sample. ``example`` is float32 [1, …]; the module's state is left as it was.

    A weight is taken to be multiplied and added once for each position of its layer's output, which is exact for
    dense and convolutional layers and leaves out what has no weights (activations, pooling, attention scores). The
    backward pass is taken to spend its time on layers in proportion, from the last to the first. (torch's own
    FlopCounterMode counts the same for the models here, but takes a second to start: it imports the compiler.)
    """
    flops: dict[nn.Module, int] = {}

    def count(layer: nn.Module, _: object, output: Tensor | tuple[Tensor, ...]) -> None:
        numbers = (output[0] if isinstance(output, tuple) else output).numel()  # a tuple as recurrent layers give it
        weights = [p for p in layer.parameters(recurse=False) if p.dim() > 1]
        flops[layer] = flops.get(layer, 0) + sum(2 * p.numel() * (numbers // p.shape[0]) for p in weights)

    layers = [layer for layer in module.modules() if any(True for _ in layer.parameters(recurse=False))]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad(), evaluation_mode(module):
        module(example)
    for hook in hooks:
        hook.remove()
    total = sum(flops.values())
    ready, done = [], 0
    for layer in reversed(layers):
        done += flops.get(layer, 0)
        own = [p.numel() for p in layer.parameters(recurse=False) if p.requires_grad]
        ready += [(numbers, done / total if total else 1.0) for numbers in reversed(own)]
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
