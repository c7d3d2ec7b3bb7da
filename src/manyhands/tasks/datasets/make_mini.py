"""Make the embedded mnist-mini anew: ``python -m manyhands.tasks.datasets.make_mini FOLDER_OF_MNIST``.

Then put the printed sizes and checksums into catalogue.py and mnist-mini/CARD.md.
"""

import hashlib
import sys
from pathlib import Path

from manyhands.tasks.datasets.catalogue import MNIST, MNIST_MINI
from manyhands.tasks.datasets.idx import read_idx, write_idx
from manyhands.tasks.datasets.registry import EMBEDDED


def make(mnist: Path, destination: Path) -> list[Path]:
    """Write the first images and labels of the MNIST in `mnist` to `destination`; returns the paths."""
    destination.mkdir(parents=True, exist_ok=True)
    paths = []
    for files, size in ((MNIST.train_files, MNIST_MINI.train_size), (MNIST.test_files, MNIST_MINI.test_size)):
        for file, dimensions in zip(files, (3, 1), strict=True):
            paths.append(destination / file.name)
            write_idx(paths[-1], read_idx(mnist / file.name, dimensions)[:size])
    return paths


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for path in make(Path(sys.argv[1]), EMBEDDED / MNIST_MINI.name):
        print(path.name, path.stat().st_size, hashlib.md5(path.read_bytes()).hexdigest())
