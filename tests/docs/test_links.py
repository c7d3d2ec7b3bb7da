"""Every link and picture of a page leads to a file, and to a heading that is there."""

import re
from pathlib import Path

import pytest
from pages import ROOT

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("benchmarks/*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
DRAWN = ROOT / "docs" / "strategies" / "pictures"
"""made when the site is built; test_strategy_pages.py knows which they are"""
CODE = re.compile(r"^(`{3,}).*?^\1|`[^`\n]*`", flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as links write them."""
    headings = re.findall(r"^#+ (.*)", CODE.sub(lambda found: found[0].strip("`"), page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(CODE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists() or file.parent == DRAWN, f"{target}: no such file"
        assert file.is_relative_to(ROOT), f"{target} leads out of the project"
        assert not heading or heading in anchors(file), f"{target}: no such heading"


def test_a_broken_link_would_be_seen(tmp_path: Path) -> None:
    assert LINK.findall("[a](b.md#c) ![d](e.png)") == ["b.md#c", "e.png"]
    (tmp_path / "page.md").write_text("# How a `strategy` gets in?\n")
    assert anchors(tmp_path / "page.md") == {"how-a-strategy-gets-in"}
