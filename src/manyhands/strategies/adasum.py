"""A way to combine gradients that asks how much they agree."""

from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from manyhands.clusters.node import Node


async def adasum(node: "Node", vector: "Tensor") -> "Tensor":
    """The Adasum over all workers of a vector over the parameters, float32 [T]: the same bits for all of them.

    Of two gradients, for each layer apart: a, b → (1 - a·b / 2‖a‖²) a + (1 - a·b / 2‖b‖²) b. Orthogonal ones are
    added, parallel ones averaged. Workers join in pairs, then pairs of pairs, …: recursive doubling, so that their
    number must be a power of two, and each sends log N whole vectors.

    Maleki et al. 2020, Scaling Distributed Training with Adaptive Summation, https://arxiv.org/abs/2006.02924
    """
    workers = len(node.workers)
    assert workers & (workers - 1) == 0, f"{workers} workers are no power of two"
    sizes = [prod(shape) for shape in node.layout.shapes] or [len(vector)]
    for power in range(workers.bit_length() - 1):
        partner = node.rank ^ 1 << power
        await node.send(partner, vector)
        (other,) = await node.receive(partner)
        vector = vector.clone()
        for a, b in zip(vector.split_with_sizes(sizes), other.split_with_sizes(sizes), strict=True):
            combine(a, b)  # both partners get the same bits, as it does not matter which of two terms comes first
        node.vector_bytes += 5 * vector.nbytes
    return vector


def combine(a: "Tensor", b: "Tensor") -> None:
    """Put the Adasum of two vectors of one length in place of the first. What is zero adds nothing to the other."""
    exact_a, exact_b = a.double(), b.double()
    dot, least = exact_a.dot(exact_b), 1e-300  # of norms, so that 0/0 is 0
    share_a = 1 - dot / (2 * exact_a.dot(exact_a)).clamp(min=least)
    share_b = 1 - dot / (2 * exact_b.dot(exact_b)).clamp(min=least)
    a.mul_(share_a).add_(b * share_b)
