import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from manyhands.errors import UserError
from manyhands.tasks.datasets.card import Card
from manyhands.tasks.datasets.catalogue import CARDS
from manyhands.tasks.datasets.idx import write_idx
from manyhands.tasks.datasets.registry import data_folder, fetch, find_card, load

REAL = [name for name, card in CARDS.items() if not card.embedded]


def test_an_idx_set(tiny_idx: Card, tmp_path: Path) -> None:
    train, test = load("tiny-idx", tmp_path / "data")
    assert train.images.shape == (6, 1, 5, 4)
    assert test.images.shape == (4, 1, 5, 4)
    assert train.images.dtype == np.uint8
    assert train.images[1, 0, 0].tolist() == [20, 21, 22, 23]
    assert train.labels.dtype == np.int64
    assert train.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_a_cifar_set(tiny_cifar: Card, tmp_path: Path) -> None:
    train, test = load("tiny-cifar", tmp_path / "data")
    assert train.images.shape == (6, 3, 32, 32)
    assert test.images.shape == (2, 3, 32, 32)
    assert train.images.flags.c_contiguous
    assert train.labels.tolist() == [0, 1, 2, 0, 1, 2]  # fine labels, files in order


def test_an_unknown_name() -> None:
    with pytest.raises(UserError, match="unknown data set 'mnits': choose from mnist-mini, mnist, fashion-mnist"):
        find_card("mnits")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def drop_an_image(path: Path) -> None:
    write_idx(path, np.zeros((5, 5, 4), np.uint8))


def turn(path: Path) -> None:
    write_idx(path, np.zeros((6, 4, 5), np.uint8))


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(3074))


def not_gzip(path: Path) -> None:
    path.write_bytes(gzip.decompress(path.read_bytes()))


def no_such_class(path: Path) -> None:
    write_idx(path, np.array([0, 1, 2, 3, 0, 1], np.uint8))


@pytest.mark.parametrize(
    ("damage", "file", "message"),
    [
        (truncate, "tiny-idx/train-images.gz", "is not a whole gzip file"),
        (spoil, "tiny-idx/test-images.gz", "is not a whole gzip file"),
        (empty, "tiny-idx/test-labels.gz", "holds 0 bytes"),
        (not_gzip, "tiny-idx/test-labels.gz", "is not a whole gzip file"),
        (drop_an_image, "tiny-idx/train-images.gz", "holds 5 images .*, not the 6 of shape"),
        (turn, "tiny-idx/train-images.gz", r"of shape \(1, 4, 5\), not .* of shape \(1, 5, 4\)"),
        (no_such_class, "tiny-idx/train-labels.gz", "has a label 3, and tiny-idx ends at 2"),
        (no_such_class, "tiny-idx/test-labels.gz", "holds 6 labels, not the 4 of tiny-idx"),
        (truncate, "tiny-cifar/two.bin", "has 9,217 bytes, not 9,222"),
        (spoil, "tiny-cifar/one.bin", "has the MD5 checksum"),
        (grow, "tiny-cifar/test.bin", "has 9,222 bytes, not 6,148"),
        (empty, "tiny-cifar/test.bin", "has 0 bytes, not 6,148"),
    ],
)
@pytest.mark.usefixtures("tiny_idx", "tiny_cifar")
def test_a_damaged_file(tmp_path: Path, damage: Callable[[Path], None], file: str, message: str) -> None:
    name = file.partition("/")[0]
    damage(tmp_path / "data" / file)
    with pytest.raises(UserError, match=message) as caught:
        load(name, tmp_path / "data")
    text = str(caught.value)
    assert str(tmp_path / "data" / file) in text
    assert text.endswith(f": run `manyhands data fetch {name}` to replace it")
    assert "\n" not in text


@pytest.mark.usefixtures("tiny_idx")
def test_no_data_and_no_network_names_both_ways_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no whole tiny-idx .*127\.0\.0\.1: no connection") as caught:
        load("tiny-idx", tmp_path / "elsewhere")
    text = str(caught.value)
    assert "`manyhands data fetch tiny-idx`" in text
    assert "--data-dir or MANYHANDS_DATA" in text
    assert "\n" not in text
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_where_data_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANYHANDS_DATA", str(tmp_path / "named"))
    assert data_folder(tmp_path / "given") == tmp_path / "given"
    assert data_folder() == tmp_path / "named"
    monkeypatch.delenv("MANYHANDS_DATA")
    assert data_folder().name == "manyhands"


def test_the_embedded_set_is_nowhere_else(tmp_path: Path) -> None:
    train, test = load("mnist-mini", tmp_path)
    assert len(train.labels) == 6_000
    assert np.bincount(test.labels).tolist() == [85, 126, 116, 107, 110, 87, 87, 99, 89, 94]
    assert (fetch("mnist-mini", tmp_path) / CARDS["mnist-mini"].files[0].path).exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.real_data(name)) for name in REAL])
def test_the_real_sets(name: str) -> None:
    card = CARDS[name]
    train, test = load(name)
    assert train.images.shape == (card.train_size, *card.input_shape)
    assert test.images.shape == (card.test_size, *card.input_shape)
    for labels in (train.labels, test.labels):
        counts = np.bincount(labels)
        assert len(counts) == len(card.classes)
        if name != "mnist":  # the only one that is not balanced
            assert len(set(counts)) == 1
    for channel, (mean, std) in enumerate(zip(card.mean, card.std, strict=True)):
        pixels = train.images[:, channel] / np.float32(255)
        assert pixels.mean(dtype=np.float64) == pytest.approx(mean, abs=6e-4)
        assert pixels.std(dtype=np.float64) == pytest.approx(std, abs=6e-4)


@pytest.mark.real_data("mnist")
def test_class_counts_of_mnist() -> None:
    train, test = load("mnist")
    assert np.bincount(train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.real_data("mnist")
def test_mnist_mini_is_the_first_of_mnist() -> None:
    for mini, whole in zip(load("mnist-mini"), load("mnist"), strict=True):
        assert (mini.images == whole.images[: len(mini.images)]).all()
        assert (mini.labels == whole.labels[: len(mini.labels)]).all()
