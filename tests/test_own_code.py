"""Files of the user's own, as modules; what is wrong with them is told in `test_study_file`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from manyhands.errors import UserError
from manyhands.own_code import run_file


@pytest.fixture(autouse=True)
def imports_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    yield
    for name in ("mine_too", "mine_as_well"):
        sys.modules.pop(name, None)


def test_a_file_is_run_once_until_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "mine_too.py"
    path.write_text("value = 1\n")
    first = run_file(path, "")
    assert run_file(path, "") is first
    path.write_text("value = 22\n")
    assert run_file(path, "").value == 22
    assert sys.modules["mine_too"].value == 22


def test_files_of_one_name_in_two_folders(tmp_path: Path) -> None:
    values = []
    for number in (1, 2, 1):
        path = tmp_path / str(number) / "mine_too.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"value = {number}\n")
        values.append(run_file(path, "").value)
    assert values == [1, 2, 1]


def test_what_is_imported_already_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine_as_well.py").write_text("value = []\n")
    import mine_as_well

    assert run_file(tmp_path / "mine_as_well.py", "") is mine_as_well


def test_a_file_that_fails_leaves_no_module(tmp_path: Path) -> None:
    path = tmp_path / "mine_too.py"
    path.write_text("1 / 0\n")
    with pytest.raises(UserError, match="line 1: ZeroDivisionError"):
        run_file(path, "")
    assert "mine_too" not in sys.modules


@pytest.mark.parametrize("name", ["statistics", "cgitb", "manyhands", "torch"])
def test_a_file_hides_no_module(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.py"
    path.write_text("")
    with pytest.raises(UserError, match=f"there is a module called {name} already: give the file another name"):
        run_file(path, "")
