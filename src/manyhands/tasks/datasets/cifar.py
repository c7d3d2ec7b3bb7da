"""The binary version of CIFAR-10 and CIFAR-100 (https://www.cs.toronto.edu/~kriz/cifar.html).

A file is a row of records: one label byte (CIFAR-100: coarse, then fine), then 3,072 pixels, red plane first.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from manyhands.errors import UserError

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32


def read_records(path: Path, label_bytes: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images [n, 3, 32, 32] and labels [n], the last of each record's label bytes (views of one array).

    Raises UserError where the file is not a whole number of records.
    """
    record = label_bytes + _PIXELS
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    if len(data) == 0 or len(data) % record:
        raise UserError(f"{path} holds {len(data):,} bytes, not a whole number of records of {record:,} bytes")
    records = data.reshape(-1, record)
    return records[:, label_bytes:].reshape(-1, *_SHAPE), records[:, label_bytes - 1]
