"""The pages of the documentation tell the truth: their commands run, and print what the pages say that they print."""

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import ROOT, agree, blocks, commands, run

from manyhands.cli.arguments import parse_specification
from manyhands.strategies import STRATEGIES
from manyhands.tasks.partition import PARTITIONS

PAGES = sorted((ROOT / "docs").rglob("*.md"))
RUN = [page for page in PAGES if any(block.language == "output" for block in blocks(page))]
LONG = ("tutorials/student", "tutorials/researcher", "tutorials/engineer")


def name(page: Path) -> str:
    return page.relative_to(ROOT / "docs").with_suffix("").as_posix()


@pytest.fixture(autouse=True)
def as_a_reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A terminal of the usual width, no data sets but the embedded one, and nothing left behind in the registers."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("MANYHANDS_DATA", raising=False)
    registers = (STRATEGIES, PARTITIONS.members)
    before = [copy.copy(register) for register in registers]
    yield
    for register, content in zip(registers, before, strict=True):
        register.clear()
        register.update(content)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow if name(page) in LONG else (), id=name(page)) for page in RUN],
)
def test_what_a_page_tells_to_run_prints_what_it_says(page: Path, tmp_path: Path) -> None:
    for one in run(page, tmp_path):
        said = f"{page} says below\n{one.command}\n{one.block.content}\nbut printed was\n{one.text}"
        assert agree(one.block.content, one.text), said


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda page: page.stem)
def test_trainings_that_are_only_shown_can_be_parsed(page: Path) -> None:
    shown = [words for block in blocks(page) if block.language in ("bash", "shell") for words in commands(block)]
    for words in shown:
        if words[:2] == ["manyhands", "train"] and not {"--from", "--resume", "--replay"} & {*words}:
            parse_specification(words[2:], "manyhands train", "")


def test_the_pages_that_are_run_are_those_that_shall_be() -> None:
    assert {*map(name, RUN)} >= {*LONG, "write-a-task", "write-a-partition", "command-line", "many-hosts"}


def test_what_is_not_so_would_be_seen() -> None:
    said = "gossip 86.90 % ± 1.2 in 1.55 s"
    assert agree(said, "gossip  86.80 % ± 3.4 in 1.56 s\n")
    assert not agree(said, "gossip 80.10 % ± 1.2 in 1.55 s")
    assert not agree(said, "gossip 86.90 % ± 1.2 in 2.55 s")
    assert not agree(said, "fedavg 86.90 % ± 1.2 in 1.55 s")
