"""The site is built without a warning, can be searched, and needs nothing from other hosts. Built once: one test."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT


@pytest.mark.slow
def test_the_site(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-t", "without_pictures"]
    done = subprocess.run([*command, str(ROOT / "docs"), str(tmp_path)], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        assert_sources_are_here(page)
    for style in tmp_path.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", style.read_text()), style
    index = (tmp_path / "searchindex.js").read_text()
    assert "tutorials/student" in index
    assert "gossip" in index


def assert_sources_are_here(page: Path) -> None:
    tags = re.findall(r"<(?:script|img|iframe|source|link)\b[^>]*>", page.read_text())
    sources = [source for tag in tags for source in re.findall(r'(?:src|href)="([^"]*)"', tag)]
    assert sources
    assert not [source for source in sources if re.match(r"(https?:)?//", source)], page
