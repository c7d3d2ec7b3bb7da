"""Every strategy has a page, whole and true: what it says of the code is what the code says."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from manyhands.strategies import STRATEGIES, Strategy

DOCS = Path(__file__).parents[2] / "docs"
PAGES = DOCS / "strategies"
sys.path.insert(0, str(DOCS))

import draw  # noqa: E402
import tables  # noqa: E402

PARTS = [
    "The idea",
    "Algorithm",
    "Who talks to whom",
    "What it costs",
    "In a run",
    "When to take it",
    "Options",
    "Read on",
]


def text(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def test_there_is_a_page_for_each_and_none_for_others() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == {*STRATEGIES, "index"}


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_page_has_all_its_parts(name: str) -> None:
    page = text(name)
    assert page.startswith(f"# `{name}`: ")
    assert re.findall(r"^## (.*)$", page, flags=re.MULTILINE) == PARTS
    assert "```text\n" in page
    assert 50 <= len(page.splitlines()) <= 150
    for block in ("facts", "cost", "options"):
        assert page.count(f"<!-- {block} -->\n") == 1
    assert STRATEGIES[name]().sends.partition(";")[0] in page


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_what_follows_from_the_code_is_up_to_date(page: Path) -> None:
    assert tables.updated(page) == page.read_text(encoding="utf-8"), "run python docs/tables.py"


@pytest.mark.parametrize("name", STRATEGIES)
def test_pictures_come_from_runs_of_the_strategy(name: str) -> None:
    """Each has a command, words for those who do not see it, and words below it."""
    page, pictures = text(name), list(draw.pictures(PAGES / f"{name}.md"))
    keys = [picture.key for picture in pictures]
    assert len(keys) == len(set(keys)) >= 2 - (name == "single")
    assert ("topology-0" in keys) == (name != "single")
    for picture in pictures:
        assert picture.name == f"{name}-{picture.key}"
        assert re.search(rf"^!\[.{{20,}}\]\(pictures/{picture.name}\.svg\)\n\n\*.", page, flags=re.MULTILINE)
        runs = [run for command in picture.commands for run in draw.specifications(command)]
        assert any(run.strategy.name == name for run in runs)
        if picture.key == "topology-0":
            assert [run.strategy for run in runs] == [STRATEGIES[name]()]


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_options_and_links_exist(page: Path) -> None:
    content = page.read_text(encoding="utf-8")
    options = {option for strategy in STRATEGIES.values() for option in strategy.__dataclass_fields__}
    for option in re.findall(r"--strategy\.([\w-]+)", content):
        assert option.replace("-", "_") in options, option
    for target in re.findall(r"\]\(((?!https?://|#|pictures/)[^)#]*)[^)]*\)", content):
        assert (page.parent / target).exists(), target
    for line in re.findall(r"^(?:- )?`(manyhands [^`]*)`", content, flags=re.MULTILINE):
        assert shlex.split(line)


def test_the_index_has_all_with_their_formulas() -> None:
    rows = re.findall(r"^\| \[`([\w-]+)`\]\(([\w-]+)\.md\) \| .* \| `(.*)` \|$", text("index"), flags=re.MULTILINE)
    assert sorted(name for name, _, _ in rows) == sorted(STRATEGIES)
    for name, page, sends in rows:
        assert (page, sends) == (name, STRATEGIES[name]().sends)


def test_a_picture_is_drawn_once(tmp_path: Path) -> None:
    page = tmp_path / "gossip.md"
    page.write_text(
        "```bash\nmanyhands train --task mnist-mini/logistic --samples 64 --strategy gossip --workers 4 \\\n"
        "    --epochs 1 --batch-size 8\n```\n\n![Four workers](pictures/gossip-topology-0.svg)\n"
    )
    (file,) = draw.draw([page], tmp_path)
    assert file == tmp_path / "gossip-topology-0.svg"
    assert file.read_text(encoding="utf-8").startswith("<svg")
    assert draw.draw([page], tmp_path) == []


def test_a_strategy_without_options_of_its_own_says_where_they_are() -> None:
    assert "fedavg.md#options" in tables.options(STRATEGIES["feddyn"]())
    assert tables.options(Strategy()).count("\n") == 2  # compression alone
