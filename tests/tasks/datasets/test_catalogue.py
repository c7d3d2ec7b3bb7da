import gzip
import os
from pathlib import Path

import pytest

from manyhands.tasks.datasets.catalogue import CARDS
from manyhands.tasks.datasets.inspection import check
from manyhands.tasks.datasets.make_mini import make
from manyhands.tasks.datasets.registry import EMBEDDED


@pytest.mark.parametrize("name", CARDS)
def test_cards_are_coherent(name: str) -> None:
    card = CARDS[name]
    assert card.name == name
    assert len(set(card.classes)) == len(card.classes) in (10, 100)
    assert len(card.mean) == len(card.std) == card.input_shape[0]
    assert all(0 < number < 1 for number in card.mean + card.std)
    assert all(text for text in (card.title, card.source, card.licence, card.citation))
    for file in card.files if card.archive is None else (card.archive,):
        assert file.size > 0
        assert file.md5 is not None
        assert len(file.md5) == 32
    assert card.embedded or all(mirror.endswith("/") for mirror in card.mirrors)


def test_the_embedded_set_has_its_checksums() -> None:
    assert not any(verdict.fault for verdict in check("mnist-mini"))


def test_the_embedded_sets_data_card_agrees() -> None:
    text = (EMBEDDED / "mnist-mini" / "CARD.md").read_text(encoding="utf-8")
    assert "CC BY-SA 3.0" in text
    for file in CARDS["mnist-mini"].files:
        assert f"| `{file.name}` | {file.size:,} | {file.md5} |" in text


@pytest.mark.real_data("mnist")
def test_the_embedded_set_can_be_made_anew(tmp_path: Path) -> None:
    for path in make(Path(os.environ["MANYHANDS_DATA"]) / "mnist", tmp_path):
        embedded = EMBEDDED / "mnist-mini" / path.name  # zlib may differ in compression, not in content
        assert gzip.decompress(path.read_bytes()) == gzip.decompress(embedded.read_bytes())
