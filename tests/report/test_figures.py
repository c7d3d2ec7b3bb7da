from pathlib import Path
from types import ModuleType

import pytest

from manyhands.errors import UserError
from manyhands.report.contents import Contents
from manyhands.report.figures import write_charts, write_figures


def test_figures_are_files_on_white(fake: ModuleType, tmp_path: Path) -> None:
    run = fake.write_run(tmp_path / "run", "gossip")
    files = write_figures(Contents.read([run]), tmp_path / "figures")
    names = {file.name for file in files}
    assert {"accuracy-by-epoch.svg", "time-shares.png", "partition-0.svg", "run-0-confusion.svg"} <= names
    assert all(file.read_bytes().startswith(b"<svg" if file.suffix == ".svg" else b"\x89PNG") for file in files)
    drawing = (tmp_path / "figures" / "accuracy-by-epoch.svg").read_text(encoding="utf-8")
    assert "Test accuracy by epoch" in drawing
    assert 'fill="white"' in drawing


def test_a_folder_that_cannot_be_written_is_told(fake: ModuleType, tmp_path: Path) -> None:
    contents = Contents.read([fake.write_run(tmp_path / "run", "single")])
    (tmp_path / "figures").write_text("a file")
    with pytest.raises(UserError, match="cannot write into"):
        write_charts(contents.figures[:1], tmp_path / "figures")
