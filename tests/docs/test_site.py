"""The site is built without a warning, and needs nothing from other hosts."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-t", "without_pictures"]
    command += [str(ROOT / "docs"), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.slow
def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        text = page.read_text()
        tags = re.findall(r"<(?:script|img|iframe|source|link)\b[^>]*>", text)
        sources = [source for tag in tags for source in re.findall(r'(?:src|href)="([^"]*)"', tag)]
        assert sources
        assert not [source for source in sources if re.match(r"(https?:)?//", source)], page
    for style in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", style.read_text()), style


@pytest.mark.slow
def test_the_search_knows_the_pages(site: Path) -> None:
    index = (site / "searchindex.js").read_text()
    assert "tutorials/student" in index
    assert "gossip" in index
