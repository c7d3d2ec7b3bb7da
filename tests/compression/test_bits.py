from math import ceil

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.compression.bits import as_bytes, as_floats, pack, padded, unpack

everywhere_the_same = settings(derandomize=True, deadline=None)


@everywhere_the_same
@given(st.data(), st.integers(1, 16))
def test_packed_numbers_come_back_in_so_many_bits(data: st.DataObject, width: int) -> None:
    numbers = torch.tensor(data.draw(st.lists(st.integers(0, 2**width - 1), max_size=40)), dtype=torch.int32)
    packed = pack(numbers, width)
    assert (packed.dtype, packed.shape) == (torch.uint8, (width * ceil(len(numbers) / 8),))
    assert unpack(packed, len(numbers), width).tolist() == numbers.tolist()


def test_bits_of_a_byte_are_an_eighth_of_the_numbers_apart() -> None:
    """The lowest bits of the numbers 0 to 15 come first: of 0, 2, 4, …, then of 1, 3, 5, …; then the second bits."""
    assert pack(torch.tensor([0, 1] * 8), 1).tolist() == [0b00000000, 0b11111111]
    assert pack(torch.tensor([2] + [0] * 15), 2).tolist() == [0, 0, 1, 0]


@everywhere_the_same
@given(st.lists(st.floats(width=32, allow_nan=False), max_size=9), st.integers(0, 9))
def test_floats_are_read_from_any_place(numbers: list[float], before: int) -> None:
    """Also where the bytes do not begin at a multiple of four."""
    payload = as_bytes(torch.zeros(before, dtype=torch.int8), torch.tensor(numbers))
    assert len(payload) == before + 4 * len(numbers)
    assert as_floats(payload[before:]).tolist() == numbers


@everywhere_the_same
@given(st.integers(0, 30), st.integers(1, 12))
def test_padding_reaches_the_next_multiple(size: int, multiple: int) -> None:
    vector = padded(torch.ones(size), multiple)
    assert len(vector) == ceil(size / multiple) * multiple
    assert vector.tolist() == [1.0] * size + [0.0] * (len(vector) - size)
