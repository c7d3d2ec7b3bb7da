"""Data sets by name: where they lie, and their images and labels in memory."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands.errors import UserError
from manyhands.tasks.datasets.card import Card, File
from manyhands.tasks.datasets.catalogue import CARDS
from manyhands.tasks.datasets.cifar import read_records
from manyhands.tasks.datasets.fetch import fault, fetch_files
from manyhands.tasks.datasets.idx import read_idx

EMBEDDED = Path(__file__).parent
"""The folder of the data sets that come with the package."""


class Split(NamedTuple):
    """Images uint8 [n, C, H, W] and their labels int64 [n]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def find_card(name: str) -> Card:
    """The card of a data set; raises UserError listing those that exist."""
    if name not in CARDS:
        raise UserError(f"unknown data set '{name}': choose from {', '.join(CARDS)}")
    return CARDS[name]


def data_folder(data_dir: Path | None = None) -> Path:
    """Where data lie: `data_dir`, else the environment's MANYHANDS_DATA, else the user's cache folder."""
    if data_dir is not None:
        return data_dir
    if named := os.environ.get("MANYHANDS_DATA"):
        return Path(named)
    import pooch  # slow to import, and seldom needed

    return Path(pooch.os_cache("manyhands"))


def home(card: Card, data_dir: Path | None = None) -> Path:
    """The folder that the card's paths are relative to."""
    return EMBEDDED if card.embedded else data_folder(data_dir)


def fetch(name: str, data_dir: Path | None = None) -> Path:
    """Fetch what is missing or damaged of a data set; returns the folder that holds it.

    Raises UserError where the name is unknown, the network is out of reach or the folder cannot be written.
    """
    card = find_card(name)
    folder = home(card, data_dir)
    if not card.embedded:
        fetch_files(card, folder)
    return folder


def load(name: str, data_dir: Path | None = None) -> tuple[Split, Split]:
    """The training and the test split of a data set, fetched first where a file of it is missing.

    Raises UserError: naming the file where one is damaged, both ways out where there is none and no network.
    """
    card = find_card(name)
    folder = home(card, data_dir)
    if not card.embedded and not all((folder / file.path).exists() for file in card.files):
        fetch_files(card, folder)
    try:
        return (
            _read(card, folder, card.train_files, card.train_size),
            _read(card, folder, card.test_files, card.test_size),
        )
    except UserError as error:
        remedy = "install manyhands" if card.embedded else f"run `manyhands data fetch {name}`"
        raise UserError(f"{error}: {remedy} to replace it") from None


def _read(card: Card, folder: Path, files: tuple[File, ...], size: int) -> Split:
    read = _read_cifar if card.label_bytes else _read_idx
    images, labels = read(card, folder, files)
    first, last = folder / files[0].path, folder / files[-1].path  # IDX: images and labels
    if images.shape != (size, *card.input_shape):
        raise UserError(
            f"{first} holds {len(images):,} images of shape {images.shape[1:]}, "
            f"not the {size:,} of shape {card.input_shape} of {card.name}"
        )
    if len(labels) != size:
        raise UserError(f"{last} holds {len(labels):,} labels, not the {size:,} of {card.name}")
    if labels.max() >= len(card.classes):
        raise UserError(f"{last} has a label {labels.max()}, and {card.name} ends at {len(card.classes) - 1}")
    return Split(images, labels.astype(np.int64))


def _read_idx(card: Card, folder: Path, files: tuple[File, ...]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images, labels = (folder / file.path for file in files)
    return read_idx(images, 3)[:, None], read_idx(labels, 1)  # gzip has its own checksum


def _read_cifar(card: Card, folder: Path, files: tuple[File, ...]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    for file in files:
        if wrong := fault(folder / file.path, file):
            raise UserError(f"{folder / file.path} {wrong}")
    parts = [read_records(folder / file.path, card.label_bytes) for file in files]
    return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])
