"""Samples as small pictures, for pages."""

import struct
import zlib
from base64 import b64encode
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

MOST_PIXELS = 64
"""across a picture: of larger images every second pixel is left out, or more"""


def are_images(inputs: "Tensor") -> bool:
    """Whether inputs are [n, C, H, W] with 1 channel (grey) or 3 (red, green, blue)."""
    return inputs.dim() == 4 and inputs.shape[1] in (1, 3)


def picture(image: "Tensor") -> str:
    """An image [C, H, W] as a PNG file in base64.

    It is uint8, or numbers from 0 to 1; if any is outside, its least is drawn black and its largest white.
    """
    step = ceil(max(image.shape[1:]) / MOST_PIXELS)
    image = image[:, ::step, ::step].cpu()
    if image.is_floating_point():
        low, high = float(image.min()), float(image.max())
        if low < 0 or high > 1:
            image = (image - low) / ((high - low) or 1.0)
        image = (image * 255).round()
    return b64encode(png(image.permute(1, 2, 0).numpy().astype(np.uint8))).decode()


def png(pixels: NDArray[np.uint8]) -> bytes:
    """An image [H, W, C] with 1 channel (grey) or 3 (red, green, blue) as a file (https://www.w3.org/TR/png-3/)."""
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)  # 0: not filtered
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
