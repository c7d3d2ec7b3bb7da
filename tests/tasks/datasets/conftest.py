"""Two data sets of a few images, published nowhere: one of IDX files, one of CIFAR records in an archive."""

import hashlib
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manyhands.tasks.datasets.card import Card, File
from manyhands.tasks.datasets.catalogue import CARDS, CIFAR10, MNIST
from manyhands.tasks.datasets.idx import write_idx

NOWHERE = "http://127.0.0.1:9/"  # the discard port: nobody listens


def published(path: Path, root: Path) -> File:
    content = path.read_bytes()
    return File(path.relative_to(root).as_posix(), len(content), hashlib.md5(content).hexdigest())


@pytest.fixture
def tiny_idx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Card:
    """Data set ``tiny-idx`` of 6 + 4 images of 5 × 4 pixels in 3 classes; its files lie in tmp_path/data."""
    root = tmp_path / "data"
    folder = root / "tiny-idx"
    folder.mkdir(parents=True)
    files = []
    for part, size in (("train", 6), ("test", 4)):
        images, labels = folder / f"{part}-images.gz", folder / f"{part}-labels.gz"
        write_idx(images, np.arange(size * 20, dtype=np.uint8).reshape(size, 5, 4))
        write_idx(labels, (np.arange(size) % 3).astype(np.uint8))
        files.append((published(images, root), published(labels, root)))
    card = replace(
        MNIST,
        name="tiny-idx",
        classes=("a", "b", "c"),
        input_shape=(1, 5, 4),
        train_size=6,
        test_size=4,
        train_files=files[0],
        test_files=files[1],
        mirrors=(NOWHERE,),
    )
    monkeypatch.setitem(CARDS, card.name, card)
    return card


@pytest.fixture
def tiny_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Card:
    """Data set ``tiny-cifar`` of 2 × 3 + 2 images in tmp_path/data, its archive in tmp_path."""
    root = tmp_path / "data"
    folder = root / "tiny-cifar"
    folder.mkdir(parents=True)
    files = []
    for name, size in (("one.bin", 3), ("two.bin", 3), ("test.bin", 2)):
        records = np.random.default_rng(size).integers(0, 256, (size, 2 + 3072), np.uint8)
        records[:, 0] = 200  # the coarse label, which is not ours
        records[:, 1] = np.arange(size) % 3
        (folder / name).write_bytes(records.tobytes())
        files.append(published(folder / name, root))
    archive = tmp_path / "tiny.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    card = replace(
        CIFAR10,
        name="tiny-cifar",
        classes=("a", "b", "c"),
        train_size=6,
        test_size=2,
        train_files=tuple(files[:2]),
        test_files=tuple(files[2:]),
        label_bytes=2,
        mirrors=(NOWHERE,),
        archive=published(archive, tmp_path),
    )
    monkeypatch.setitem(CARDS, card.name, card)
    return card
