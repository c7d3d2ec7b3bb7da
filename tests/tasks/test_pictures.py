import zlib
from base64 import b64decode

import pytest
import torch

from manyhands.tasks.pictures import MOST_PIXELS, are_images, picture


def pixels(image: torch.Tensor) -> list[int]:
    """Of a picture, one after another, as they lie in its file: each row behind a byte that says: not filtered."""
    file = b64decode(picture(image))
    assert file.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(file[place : place + 4]) for place in (16, 20))
    assert file[24] == 8
    start = file.index(b"IDAT") + 4
    rows = zlib.decompressobj().decompress(file[start:])
    across = width * {0: 1, 2: 3}[file[25]] + 1
    assert len(rows) == across * height
    assert set(rows[::across]) == {0}
    return [value for place, value in enumerate(rows) if place % across]


def test_a_picture_has_the_images_pixels() -> None:
    grey = torch.arange(12, dtype=torch.uint8).view(1, 3, 4)
    assert pixels(grey) == list(range(12))
    colour = torch.arange(24, dtype=torch.uint8).view(3, 2, 4)
    assert pixels(colour) == colour.permute(1, 2, 0).flatten().tolist()
    assert pixels(grey / 255) == list(range(12))


def test_numbers_beyond_zero_and_one_are_stretched_between_black_and_white() -> None:
    assert pixels(torch.tensor([[[-2.0, 0.0, 2.0]]])) == [0, 128, 255]
    assert pixels(torch.full((1, 1, 2), 7.0)) == [0, 0]


def test_large_images_are_thinned() -> None:
    image = torch.zeros(3, 3 * MOST_PIXELS, 10)
    assert len(pixels(image)) == 3 * MOST_PIXELS * 4


@pytest.mark.parametrize(("shape", "images"), [((5, 1, 8, 8), True), ((5, 3, 8, 8), True), ((5, 2, 8, 8), False)])
def test_images_have_one_channel_or_three(shape: tuple[int, ...], images: bool) -> None:
    assert are_images(torch.zeros(shape)) == images
    assert not are_images(torch.zeros(5, 64))
