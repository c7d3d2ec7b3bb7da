"""The notebooks run from end to end, as scripts, and are what marimo opens."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))


def test_there_are_five() -> None:
    assert [notebook.name[:2] for notebook in NOTEBOOKS] == ["01", "02", "03", "04", "05"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_it_opens_as_a_notebook(notebook: Path) -> None:
    from marimo._ast.load import get_notebook_status

    assert get_notebook_status(str(notebook)).status == "valid"
    text = notebook.read_text()
    assert "## Questions" in text


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_it_runs(notebook: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    environment.pop("MANYHANDS_DATA", None)
    done = subprocess.run(
        [sys.executable, str(notebook)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
