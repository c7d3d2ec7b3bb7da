from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manyhands.errors import UserError
from manyhands.tasks.datasets.card import Card
from manyhands.tasks.datasets.catalogue import CARDS
from manyhands.tasks.datasets.inspection import check, inventory, show, sketch


def test_inventory(tiny_idx: Card, tmp_path: Path) -> None:
    (tmp_path / "data" / "tiny-idx" / "test-labels.gz").unlink()
    presences = {presence.card.name: presence for presence in inventory(tmp_path / "data")}
    assert presences["tiny-idx"].missing == ("tiny-idx/test-labels.gz",)
    assert presences["tiny-idx"].folder == tmp_path / "data"
    assert presences["mnist-mini"].missing == ()
    assert len(presences["cifar10"].missing) == 6


@pytest.mark.usefixtures("tiny_cifar")
def test_check(tmp_path: Path) -> None:
    assert [verdict.fault for verdict in check("tiny-cifar", tmp_path / "data")] == [None] * 3
    (tmp_path / "data" / "tiny-cifar" / "two.bin").unlink()
    (tmp_path / "data" / "tiny-cifar" / "test.bin").write_bytes(b"short")
    faults = {verdict.path.name: verdict.fault for verdict in check("tiny-cifar", tmp_path / "data")}
    assert faults == {"one.bin": None, "two.bin": "is missing", "test.bin": "has 5 bytes, not 6,148"}


def test_check_reads_what_has_no_checksum(tiny_cifar: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test = replace(tiny_cifar.test_files[0], md5=None)
    monkeypatch.setitem(CARDS, "tiny-cifar", replace(tiny_cifar, test_files=(test,)))
    path = tmp_path / "data" / test.path
    path.write_bytes(b"\xff" * test.size)
    with pytest.raises(UserError, match=r"test\.bin has a label 255, and tiny-cifar ends at 2"):
        check("tiny-cifar", tmp_path / "data")


@pytest.mark.usefixtures("tiny_idx")
def test_show(tmp_path: Path) -> None:
    summary = show("tiny-idx", tmp_path / "data", columns=15)
    assert summary.train_counts == (2, 2, 2)
    assert summary.test_counts == (2, 1, 1)
    assert [len(line) for line in summary.picture.splitlines()] == [
        14,
        14,
    ]  # three images, 4 wide, 5 // 2 high


def test_sketch() -> None:
    image = np.zeros((1, 1, 4, 3), np.uint8)
    image[0, 0, :2] = [0, 128, 255]
    image[0, 0, 2:, 2] = [0, 255]
    assert sketch(image) == " ▒█\n  ▒"


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.real_data(name)) for name, card in CARDS.items() if card.mirrors],
)
def test_the_real_sets_are_whole(name: str) -> None:
    assert not any(verdict.fault for verdict in check(name))
