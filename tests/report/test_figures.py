from pathlib import Path
from types import ModuleType

import pytest

from manyhands.errors import UserError
from manyhands.report.figures import write_figures


def test_figures_are_files(fake: ModuleType, tmp_path: Path) -> None:
    run = fake.write_run(tmp_path / "run", "gossip")
    files = write_figures([run], tmp_path / "figures", ["svg"])
    names = {file.name for file in files}
    assert {"accuracy-by-epoch.svg", "time-shares.svg", "partition-0.svg", "run-0-confusion.svg"} <= names
    assert all(file.read_text(encoding="utf-8").startswith("<svg") for file in files)
    assert "Test accuracy by epoch" in (tmp_path / "figures" / "accuracy-by-epoch.svg").read_text()


def test_a_figure_can_be_a_png(fake: ModuleType, tmp_path: Path) -> None:
    run = fake.write_run(tmp_path / "run", "single")
    files = write_figures([run], tmp_path / "figures", ["png"])
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)


def test_an_unknown_format_is_told(fake: ModuleType, tmp_path: Path) -> None:
    run = fake.write_run(tmp_path / "run", "single")
    with pytest.raises(UserError, match="unknown figure format 'gif': choose from svg, png"):
        write_figures([run], tmp_path / "figures", ["gif"])
    (tmp_path / "figures").write_text("a file")
    with pytest.raises(UserError, match="cannot write into"):
        write_figures([run], tmp_path / "figures")
