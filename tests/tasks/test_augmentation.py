import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from manyhands.errors import UserError
from manyhands.tasks.augmentation import Augmentation


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def distinct(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Images with no two equal pixels (in uint8: no two near ones), and none of the padding's zero."""
    pixels = torch.arange(1, int(np.prod(shape)) + 1)
    return (pixels % 255 + 1 if dtype == torch.uint8 else pixels).to(dtype).view(shape)


def crops(image: Tensor, padding: int, flip: bool) -> list[Tensor]:
    """All that may become of one image [C, H, W]."""
    _, height, width = image.shape
    padded = torch.zeros(len(image), height + 2 * padding, width + 2 * padding, dtype=image.dtype)
    padded[:, padding : padding + height, padding : padding + width] = image
    places = range(2 * padding + 1)
    found = [padded[:, top : top + height, left : left + width] for top in places for left in places]
    return found + [crop.flip(2) for crop in found] if flip else found


@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)),
    padding=st.integers(0, 3),
    flip=st.booleans(),
    dtype=st.sampled_from([torch.uint8, torch.float32, torch.float64]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_each_image_becomes_a_crop_of_its_own_padded_self(
    shape: tuple[int, int, int, int], padding: int, flip: bool, dtype: torch.dtype, seed: int
) -> None:
    images = distinct(*shape, dtype=dtype)
    before = images.clone()
    result = Augmentation(padding, flip)(images, generator(seed))
    assert result.shape == images.shape
    assert result.dtype == images.dtype
    assert torch.equal(images, before)
    for image, changed in zip(images, result, strict=True):
        assert any(torch.equal(changed, crop) for crop in crops(image, padding, flip))


def test_every_crop_occurs_and_equally_often() -> None:
    """18 outcomes of 9,000 draws: each within 5 standard deviations (22) of its 500."""
    image = distinct(1, 3, 3)
    result = Augmentation(padding=1)(image.expand(9_000, 1, 3, 3), generator())
    counts = torch.unique(result.flatten(1), dim=0, return_counts=True)[1]
    assert len(counts) == len(crops(image, 1, True)) == 18
    assert (counts - 500).abs().max() < 110


def test_draws_differ_between_images_and_repeat_with_the_seed() -> None:
    images = distinct(1, 3, 8, 8).expand(64, 3, 8, 8)
    augmentation = Augmentation()
    first, again, other = (augmentation(images, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(torch.unique(first.flatten(1), dim=0)) > 32


def test_draws_are_those_of_the_generator_alone() -> None:
    images, draws = distinct(8, 1, 4, 4), generator()
    torch.manual_seed(0)
    first = Augmentation()(images, draws)
    torch.manual_seed(0)
    assert not torch.equal(first, Augmentation()(images, draws))  # the generator went on, torch's own did not matter


def test_nothing_asked_for_changes_nothing() -> None:
    images = distinct(4, 3, 5, 5)
    assert torch.equal(Augmentation(padding=0, flip=False)(images, generator()), images)


def test_uint8_and_float_are_treated_alike() -> None:
    images = distinct(16, 3, 8, 8, dtype=torch.uint8)
    assert torch.equal(Augmentation()(images, generator()).float(), Augmentation()(images.float(), generator()))


def test_negative_padding_is_refused() -> None:
    with pytest.raises(UserError, match="padding must be at least 0 pixels, not -1"):
        Augmentation(padding=-1)
