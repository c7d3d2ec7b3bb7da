"""The models by name. Listing them needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manyhands.errors import UserError

if TYPE_CHECKING:
    from torch import nn

SIMPLE = ("logistic", "mlp", "cnn", "lenet5", "niid-cnn", "pfl-cnn")
RESNETS: dict[str, tuple[str, tuple[int, ...]]] = {  # block and depths, He et al. 2016, table 1
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
    "resnet152": ("bottleneck", (3, 8, 36, 3)),
}
RESNET_OPTIONS = ("block", "depths", "width", "norm")
MODEL_NAMES: tuple[str, ...] = (*SIMPLE, *RESNETS)


def build(name: str, input_shape: tuple[int, ...], classes: int, **options: str | int) -> nn.Module:
    """A new, randomly initialised model from inputs [b, *input_shape] to logits [b, classes].

    Options are those of ``resnet.ResNet`` and may be given as text: ``depths="2-2-2-2"``, ``width="32"``.
    Simple models take none. The initial weights come from torch's global generator.

    Raises UserError for a name, an option, a value or an input shape that the model does not take.
    """
    if name not in MODEL_NAMES:
        raise UserError(f"unknown model '{name}': choose from {', '.join(MODEL_NAMES)}")
    takes = RESNET_OPTIONS if name in RESNETS else ()
    for option in options:
        if option not in takes:
            raise UserError(f"model '{name}' has no option '{option}'; it takes {', '.join(takes) or 'none'}")
    try:
        if name in RESNETS:
            from manyhands.tasks.models import resnet

            block, depths = RESNETS[name]
            return resnet.from_options(input_shape, classes, {"block": block, "depths": depths, **options})
        from manyhands.tasks.models import simple

        return simple.BUILDERS[name](input_shape, classes)
    except UserError as error:
        raise UserError(f"model '{name}': {error}") from None
