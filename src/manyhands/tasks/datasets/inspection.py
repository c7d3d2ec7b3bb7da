"""What ``manyhands data`` shows: which data sets are here, whether they are whole, what they look like."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from manyhands.tasks.datasets.card import Card
from manyhands.tasks.datasets.catalogue import CARDS
from manyhands.tasks.datasets.fetch import fault
from manyhands.tasks.datasets.registry import find_card, home, load

_SHADES = np.array(list(" ░▒▓█"))


@dataclass(frozen=True, kw_only=True)
class Presence:
    """Whether a data set's files are there; their contents are not looked at."""

    card: Card
    folder: Path
    missing: tuple[str, ...]
    """Paths in the folder that should exist."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One file compared with what was published."""

    path: Path
    fault: str | None
    """E.g. "is missing"; None where all is well."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A data set at a glance."""

    card: Card
    train_counts: tuple[int, ...]
    """Training images of each class."""
    test_counts: tuple[int, ...]
    picture: str
    """A few training images, in lines of text."""


def inventory(data_dir: Path | None = None) -> list[Presence]:
    """Every known data set and which of its files are missing."""
    return [_presence(card, home(card, data_dir)) for card in CARDS.values()]


def _presence(card: Card, folder: Path) -> Presence:
    missing = tuple(file.path for file in card.files if not (folder / file.path).is_file())
    return Presence(card=card, folder=folder, missing=missing)


def check(name: str, data_dir: Path | None = None) -> list[Verdict]:
    """Compare size and checksum of each file with the published ones, then read the whole set.

    Raises UserError where the name is unknown or files of the right size hold what they should not.
    """
    card = find_card(name)
    folder = home(card, data_dir)
    paths = [(folder / file.path, file) for file in card.files]
    verdicts = [Verdict(path=path, fault=fault(path, file)) for path, file in paths]
    if not any(verdict.fault for verdict in verdicts):
        load(name, data_dir)
    return verdicts


def show(name: str, data_dir: Path | None = None, columns: int = 80) -> Summary:
    """Card, class counts and a few images for a terminal `columns` wide; raises UserError as `load` does."""
    card = find_card(name)
    train, test = load(name, data_dir)
    across = max(1, columns // (card.input_shape[2] + 1))
    return Summary(
        card=card,
        train_counts=_counts(train.labels, card),
        test_counts=_counts(test.labels, card),
        picture=sketch(train.images[:across]),
    )


def _counts(labels: NDArray[np.int64], card: Card) -> tuple[int, ...]:
    return tuple(np.bincount(labels, minlength=len(card.classes)).tolist())


def sketch(images: NDArray[np.uint8]) -> str:
    """Images uint8 [n, C, H, W] side by side in shades of grey; a character is two pixels high."""
    grey = images.mean(axis=1)
    even = grey[:, : grey.shape[1] // 2 * 2]
    halved = (even[:, ::2] + even[:, 1::2]) / 2
    shades = _SHADES[(halved * len(_SHADES) / 256).astype(int)]
    return "\n".join(" ".join("".join(row) for row in line) for line in shades.swapaxes(0, 1))
