"""Residual networks (He et al. 2016, https://arxiv.org/abs/1512.03385) with the stem for small images.

The stem is one 3 × 3 convolution without pooling, as is usual for CIFAR; the rest is the ImageNet
architecture.
"""

from collections.abc import Mapping, Sequence
from math import gcd

import torch.nn.functional as F
from torch import Tensor, nn

from manyhands.errors import UserError
from manyhands.tasks.models.simple import image_shape


class Basic(nn.Module):
    """Two 3 × 3 convolutions."""

    expansion = 1

    def __init__(self, inputs: int, channels: int, stride: int, norm: str) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, channels, 3, stride)
        self.norm1 = normalisation(norm, channels)
        self.conv2 = convolution(channels, channels, 3)
        self.norm2 = normalisation(norm, channels)
        self.shortcut = projection(inputs, channels, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        out = self.norm2(self.conv2(out))
        return F.relu(out + self.shortcut(x), inplace=True)


class Bottleneck(nn.Module):
    """A 1 × 1 reduction, a 3 × 3 convolution that carries the stride, and a 1 × 1 expansion."""

    expansion = 4

    def __init__(self, inputs: int, channels: int, stride: int, norm: str) -> None:
        super().__init__()
        outputs = channels * self.expansion
        self.conv1 = convolution(inputs, channels, 1)
        self.norm1 = normalisation(norm, channels)
        self.conv2 = convolution(channels, channels, 3, stride)
        self.norm2 = normalisation(norm, channels)
        self.conv3 = convolution(channels, outputs, 1)
        self.norm3 = normalisation(norm, outputs)
        self.shortcut = projection(inputs, outputs, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        out = F.relu(self.norm2(self.conv2(out)), inplace=True)
        out = self.norm3(self.conv3(out))
        return F.relu(out + self.shortcut(x), inplace=True)


BLOCKS: dict[str, type[Basic] | type[Bottleneck]] = {"basic": Basic, "bottleneck": Bottleneck}
NORMS = ("batch", "group")


class ResNet(nn.Module):
    """Stages of residual blocks; each stage after the first halves the image and doubles the channels.

    ``block`` is basic or bottleneck, ``depths`` the blocks of each stage, ``width`` the channels of the first
    stage and ``norm`` batch or group. Images [b, *input_shape] to logits [b, classes].
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        classes: int,
        *,
        block: str,
        depths: Sequence[int],
        width: int = 64,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        make = BLOCKS[block]
        inputs, _, _ = image_shape(input_shape)
        self.conv = convolution(inputs, width, 3)
        self.norm = normalisation(norm, width)
        blocks: list[nn.Module] = []
        inputs = width
        for stage, depth in enumerate(depths):
            channels = width * 2**stage
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(make(inputs, channels, stride, norm))
                inputs = channels * make.expansion
        self.blocks = nn.Sequential(*blocks)
        self.output = nn.Linear(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv(images)), inplace=True)
        x = self.blocks(x).mean(dim=(2, 3))
        return self.output(x)  # type: ignore[no-any-return]


def from_options(input_shape: tuple[int, ...], classes: int, options: Mapping[str, object]) -> ResNet:
    """A ResNet from option values or their texts; raises UserError that names a wrong value."""
    return ResNet(
        input_shape,
        classes,
        block=_one_of("block", tuple(BLOCKS), options["block"]),
        depths=_depths(options["depths"]),
        width=_positive("width", options.get("width", 64)),
        norm=_one_of("norm", NORMS, options.get("norm", "batch")),
    )


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Keeps the size at stride 1; without bias, as a norm follows; initialised as by He et al. 2015."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


def normalisation(norm: str, channels: int) -> nn.Module:
    """Batch norm, or group norm with 32 groups (Wu & He 2018, https://arxiv.org/abs/1803.08494).

    Where 32 does not divide the channels, the groups are as many as divide both.
    """
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(gcd(32, channels), channels)


def projection(inputs: int, outputs: int, stride: int, norm: str) -> nn.Module:
    """The shortcut: the identity where the shape stays, else a strided 1 × 1 convolution (option B)."""
    if inputs == outputs and stride == 1:
        return nn.Identity()
    return nn.Sequential(convolution(inputs, outputs, 1, stride), normalisation(norm, outputs))


def _one_of(option: str, choices: tuple[str, ...], value: object) -> str:
    if value not in choices:
        raise UserError(f"{option} must be {' or '.join(choices)}, not '{value}'")
    return str(value)


def _positive(option: str, value: object) -> int:
    text = str(value)
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"{option} must be a whole number of at least 1, not '{value}'")
    return int(text)


def _depths(value: object) -> tuple[int, ...]:
    parts = value.split("-") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts:
        raise UserError(f"depths must be blocks per stage such as 2-2-2-2, not '{value}'")
    return tuple(_positive("each of depths", part) for part in parts)
