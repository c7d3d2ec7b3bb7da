"""Random crops and flips of a batch of images, drawn for each image."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from manyhands.errors import UserError


@dataclass(frozen=True)
class Augmentation:
    """Pad with zeros, crop to the old size, and mirror every other image (He et al. 2016, section 4.2).

    ``padding`` pixels are added on each side; ``flip`` mirrors left and right with probability one half.
    Raises UserError for a negative padding.
    """

    padding: int = 4
    flip: bool = True

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise UserError(f"padding must be at least 0 pixels, not {self.padding}")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """New images of the same shape [b, C, H, W], dtype and device.

        ``generator`` is a CPU generator whatever the images' device, so that every device sees the same
        draws.
        """
        batch, _, height, width = images.shape
        if self.padding:
            offsets = torch.randint(2 * self.padding + 1, (2, batch), generator=generator)
            top, left = offsets.to(images.device)
            padded = F.pad(images, (self.padding,) * 4)
            windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # [b, C, 2p + 1, 2p + 1, H, W], a view
            images = windows[torch.arange(batch, device=images.device), :, top, left]
        if self.flip:
            mirrored = torch.randint(2, (batch, 1, 1, 1), generator=generator, dtype=torch.bool)
            images = torch.where(mirrored.to(images.device), images.flip(3), images)
        return images
