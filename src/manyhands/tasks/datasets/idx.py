"""The IDX format of MNIST and its descendants, gzipped (http://yann.lecun.com/exdb/mnist/).

Big-endian: two zero bytes, a byte of element type (8: unsigned byte), a byte d of dimensions, d lengths of 32
bits, then the elements, the last index running fastest.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from manyhands.errors import UserError

_UNSIGNED_BYTE = 0x0800


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The unsigned bytes in a gzipped IDX file; raises UserError unless it is whole and of `dimensions`."""
    try:
        with gzip.open(path) as file:
            data = file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is not a whole gzip file ({error})") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    header = 4 + 4 * dimensions
    if len(data) < header:
        raise UserError(f"{path} holds {len(data)} bytes, fewer than the {header} of an IDX header")
    magic, *shape = struct.unpack_from(f">{1 + dimensions}I", data)
    if magic != _UNSIGNED_BYTE + dimensions:
        raise UserError(f"{path} has the magic number {magic}, not {_UNSIGNED_BYTE + dimensions} as IDX of its kind")
    if len(data) - header != math.prod(shape):
        said = " x ".join(map(str, shape))
        raise UserError(f"{path} holds {len(data) - header:,} bytes of data where its header says {said}")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape).copy()  # a copy can be written to


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """Write what `read_idx` reads; the same array gives the same bytes (no time in the gzip header)."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=9, fileobj=raw, mtime=0) as file:
        file.write(struct.pack(f">{1 + array.ndim}I", _UNSIGNED_BYTE + array.ndim, *array.shape))
        file.write(array.tobytes())
