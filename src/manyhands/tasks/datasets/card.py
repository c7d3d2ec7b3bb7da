"""What is known about a data set before a byte of it is read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class File:
    """One published file; ``md5`` is None where its publisher states none."""

    path: str
    """Relative to the data folder, e.g. ``mnist/train-images-idx3-ubyte.gz``."""
    size: int
    """Bytes on disk."""
    md5: str | None

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class Card:
    """A data set of labelled images: what it holds, where it comes from, under which terms."""

    name: str
    title: str
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    """(channels, height, width) of an image; pixels are uint8."""
    train_size: int
    test_size: int
    mean: tuple[float, ...]
    """Per channel, of the training pixels scaled to 0..1."""
    std: tuple[float, ...]
    crop_padding: int
    """Pixels of zeros around an image before the random crop of the usual augmentation."""
    flip: bool
    """Whether an image mirrored left to right stays in its class."""
    source: str
    licence: str
    citation: str
    train_files: tuple[File, ...]
    """IDX: images, labels. CIFAR: files of records, in order."""
    test_files: tuple[File, ...]
    label_bytes: int = 0
    """CIFAR binary version: label bytes before an image's pixels, of which the last counts. 0: IDX files."""
    mirrors: tuple[str, ...] = ()
    """Official addresses to fetch from, tried in order. Empty: the files are embedded in this package."""
    archive: File | None = None
    """The tar file that holds the files, where they are not published one by one."""

    @property
    def files(self) -> tuple[File, ...]:
        return self.train_files + self.test_files

    @property
    def embedded(self) -> bool:
        return not self.mirrors
