import contextlib
import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from manyhands.errors import UserError
from manyhands.tasks.datasets.idx import read_idx, write_idx

ARRAYS = arrays(np.uint8, array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6))
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 4, 5), np.uint8)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("idx") / "images.gz"


@given(array=ARRAYS)
@settings(deadline=None)
def test_round_trip(path: Path, array: np.ndarray) -> None:
    write_idx(path, array)
    back = read_idx(path, array.ndim)
    assert back.dtype == np.uint8
    assert back.flags.writeable
    assert back.shape == array.shape
    assert (back == array).all()


def test_the_same_array_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.gz", "two.gz"):
        write_idx(tmp_path / name, IMAGES)
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()


@given(cut=st.floats(0, 1, exclude_max=True))
@settings(deadline=None)
def test_a_truncated_file_is_refused(path: Path, cut: float) -> None:
    write_idx(path, IMAGES)
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    with pytest.raises(UserError, match=r"images\.gz (is not a whole gzip file|holds 0 bytes)"):
        read_idx(path, 3)


@given(position=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(deadline=None)
def test_a_changed_byte_is_refused_or_harmless(path: Path, position: float, flip: int) -> None:
    write_idx(path, IMAGES)
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= flip
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        assert (read_idx(path, 3) == IMAGES).all()  # e.g. the time stamp in the gzip header


def test_labels_are_not_images(path: Path) -> None:
    write_idx(path, np.zeros(50, np.uint8))
    with pytest.raises(UserError, match=r"images\.gz has the magic number 2049, not 2051"):
        read_idx(path, 3)


def test_a_file_shorter_than_its_header(path: Path) -> None:
    write_idx(path, np.zeros(0, np.uint8))
    with pytest.raises(UserError, match="holds 8 bytes, fewer than the 16 of an IDX header"):
        read_idx(path, 3)


@pytest.mark.parametrize("size", [59, 61])
def test_a_wrong_length(path: Path, size: int) -> None:
    write_idx(path, IMAGES)
    content = gzip.decompress(path.read_bytes()) + b"x"
    path.write_bytes(gzip.compress(content[: 16 + size]))
    with pytest.raises(UserError, match=f"holds {size} bytes of data where its header says 3 x 4 x 5"):
        read_idx(path, 3)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*none\.gz: No such file"):
        read_idx(tmp_path / "none.gz", 3)
    with pytest.raises(UserError, match="cannot read"):
        read_idx(tmp_path, 3)
