"""One sample of some workers as a picture, to see how what they hold differs."""

import struct
import zlib
from base64 import b64encode
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from manyhands.tasks.partition.base import Indices

if TYPE_CHECKING:
    from torch import Tensor

MOST = 20
"""workers that are shown, from the first to the last"""


def portraits(inputs: "Tensor", targets: Indices, parts: Sequence[Indices]) -> list[dict[str, Any]]:
    """``{"worker": rank, "png": base64}`` of a sample of each of some workers; none if they are no images.

    It is the first of the class that most of them hold, so that all show the same thing if they can, else the first.
    ``inputs``: [n, C, H, W] with 1 or 3 channels, uint8, or numbers from 0 to 1; ``targets``: int64 [n].
    """
    if inputs.dim() != 4 or inputs.shape[1] not in (1, 3):
        return []
    count = min(MOST, len(parts))
    ranks = [round(place * (len(parts) - 1) / max(1, count - 1)) for place in range(count)]
    common = np.bincount(np.concatenate([np.unique(targets[parts[rank]]) for rank in ranks])).argmax()
    shown = []
    for rank in ranks:
        part = parts[rank]
        image = inputs[int(part[(targets[part] == common).argmax()])].cpu()
        if image.is_floating_point():
            image = (image.clamp(0, 1) * 255).round()
        pixels = image.permute(1, 2, 0).numpy().astype(np.uint8)
        shown.append({"worker": rank, "png": b64encode(png(pixels)).decode()})
    return shown


def png(pixels: NDArray[np.uint8]) -> bytes:
    """An image [H, W, C] with 1 channel (grey) or 3 (red, green, blue) as a file (https://www.w3.org/TR/png-3/)."""
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)  # 0: not filtered
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
