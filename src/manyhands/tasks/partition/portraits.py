"""One sample of some workers as a picture, to see how what they hold differs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from manyhands.tasks.partition.base import Indices
from manyhands.tasks.pictures import are_images, picture

if TYPE_CHECKING:
    from torch import Tensor

MOST = 20
"""workers that are shown, from the first to the last"""


def portraits(inputs: "Tensor", targets: Indices, parts: Sequence[Indices]) -> list[dict[str, Any]]:
    """``{"worker": rank, "png": base64}`` of a sample of each of some workers; none if they are no images.

    It is the first of the class that most of them hold, so that all show the same thing if they can, else the first.
    ``inputs``: [n, C, H, W] with 1 or 3 channels, uint8, or numbers from 0 to 1; ``targets``: int64 [n].
    """
    if not are_images(inputs):
        return []
    count = min(MOST, len(parts))
    ranks = [round(place * (len(parts) - 1) / max(1, count - 1)) for place in range(count)]
    common = np.bincount(np.concatenate([np.unique(targets[parts[rank]]) for rank in ranks])).argmax()
    shown = []
    for rank in ranks:
        part = parts[rank]
        image = inputs[int(part[(targets[part] == common).argmax()])]
        shown.append({"worker": rank, "png": picture(image.clamp(0, 1) if image.is_floating_point() else image)})
    return shown
