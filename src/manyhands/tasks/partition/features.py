"""Feature skew: what a worker holds looks other than what the others hold, training samples and test samples alike."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from manyhands.errors import UserError
from manyhands.tasks.partition.base import PARTITIONS, Iid, Indices, Partition

if TYPE_CHECKING:
    from torch import Tensor

_AT_ONCE = 1000
"""samples changed at once, to need little memory beside the data"""


@dataclass(frozen=True)
class FeatureSkew(Partition):
    """Base of those that change inputs: over equal random parts, unless joined with one that says who owns what."""

    owns: ClassVar[bool] = False

    @property
    def skews(self) -> "tuple[FeatureSkew, ...]":
        return (self,)

    def _owners(self, targets: Indices, workers: int, rng: np.random.Generator) -> Indices:
        return Iid()._owners(targets, workers, rng)

    def check(self, inputs: "Tensor") -> None:
        """Raise UserError if inputs of this type and shape, [n, …], cannot be changed."""
        import torch

        if not inputs.is_floating_point() and inputs.dtype != torch.uint8:
            raise UserError(f"partition '{self}' changes images and other numbers, not inputs of type {inputs.dtype}")

    def change(self, inputs: "Tensor", worker: int, workers: int, rng: np.random.Generator) -> "Tensor":
        """Inputs float32 [b, …] that a worker holds, changed; images are numbers from 0 to 1."""
        raise NotImplementedError


@PARTITIONS.register("noise")
@dataclass(frozen=True)
class Noise(FeatureSkew):
    """Worker i of N, from 0, has Gaussian noise of standard deviation sigma * i / (N - 1) in its inputs.

    The noise-based feature imbalance of NIID-Bench, Li et al. 2022 (https://arxiv.org/abs/2102.02079), as in the
    authors' code (https://github.com/Xtra-Computing/NIID-Bench), which the published numbers come from; the paper's
    text has a variance of sigma * i / N. The code draws anew whenever it reads an image, and keeps what is then below
    0 or above 1; here each input is changed once, and images of whole numbers are rounded and cut to 0 … 255.
    """

    sigma: float
    """Standard deviation of the last worker's noise; images are numbers from 0 to 1."""

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise UserError(f"sigma must be positive and finite, not {self.sigma:g}")

    def change(self, inputs: "Tensor", worker: int, workers: int, rng: np.random.Generator) -> "Tensor":
        import torch

        if worker == 0:
            return inputs
        level = self.sigma * worker / (workers - 1)
        noise = torch.from_numpy(rng.standard_normal(tuple(inputs.shape), dtype=np.float32))
        return inputs + level * noise.to(inputs.device)


@PARTITIONS.register("rotation")
@dataclass(frozen=True)
class Rotation(FeatureSkew):
    """The images of worker i, from 0, are turned counter-clockwise by i * degrees; or by (i mod groups) * degrees.

    ``rotation:90,groups=4`` makes the rotated MNIST and CIFAR-10 of Ghosh et al. 2020
    (https://arxiv.org/abs/2006.04088). About the centre, with bilinear interpolation; what comes from outside the
    image is 0.
    """

    degrees: float
    groups: int = 0
    """As many as there are angles; 0: an angle for each worker."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.degrees):
            raise UserError(f"degrees must be finite, not {self.degrees:g}")
        if self.groups < 0:
            raise UserError(f"groups must be zero or more, not {self.groups}")

    def check(self, inputs: "Tensor") -> None:
        super().check(inputs)
        if inputs.dim() != 4:
            raise UserError(
                f"partition '{self}' turns images [C, H, W], not inputs of shape {list(inputs.shape[1:])}: use noise"
            )

    def change(self, inputs: "Tensor", worker: int, workers: int, rng: np.random.Generator) -> "Tensor":
        import torch
        import torch.nn.functional as F

        turns = worker % self.groups if self.groups else worker
        angle = math.radians(turns * self.degrees % 360)
        if not angle:
            return inputs
        height, width = inputs.shape[-2:]
        cosine, sine = math.cos(angle), math.sin(angle)
        # From a place in the turned image to that in the original; places are from -1 to 1 in either direction.
        places = [[cosine, -sine * height / width, 0.0], [sine * width / height, cosine, 0.0]]
        theta = torch.tensor(places, device=inputs.device).expand(len(inputs), 2, 3)
        grid = F.affine_grid(theta, list(inputs.shape), align_corners=False)
        return F.grid_sample(inputs, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def skewed(
    partition: Partition,
    inputs: "Tensor",
    parts: Sequence[Indices],
    stream: Callable[[int], np.random.Generator],
) -> "Tensor":
    """The inputs [n, …] in which those of each worker, at the positions ``parts[worker]``, are changed.

    ``stream`` gives a worker's random numbers. Inputs of type uint8 are changed as numbers from 0 to 1, then rounded
    and cut, and are uint8 again. Where the partition changes nothing they are returned as they are.
    """
    if not partition.skews:
        return inputs

    import torch

    changed = inputs.clone()
    whole = inputs.dtype == torch.uint8
    for worker, part in enumerate(parts):
        rng = stream(worker)
        for start in range(0, len(part), _AT_ONCE):
            places = torch.from_numpy(part[start : start + _AT_ONCE]).to(inputs.device)
            own = inputs[places].float() / 255 if whole else inputs[places]
            for skew in partition.skews:
                own = skew.change(own, worker, len(parts), rng)
            changed[places] = (own * 255).round().clamp(0, 255).to(torch.uint8) if whole else own
    return changed
