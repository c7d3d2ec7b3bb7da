"""Fake runs for every test of the report; and a cache of its own for the page's scripts."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from manyhands.report.series import Series
from manyhands.report.tables import Row, summary_rows
from manyhands.runs.reading import RunView, find_runs


@pytest.fixture(scope="session")
def fake() -> ModuleType:
    """The functions of fake.py: tests are not a package that could be imported from."""
    spec = importlib.util.spec_from_file_location("fake", Path(__file__).with_name("fake.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def study(fake: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six strategies, two seeds, both clocks; only to be read."""
    folder: Path = fake.six_strategies(tmp_path_factory.mktemp("study") / "six")
    return folder


@pytest.fixture(scope="session")
def rows_of() -> Callable[[Path], list[Row]]:
    def read(path: Path) -> list[Row]:
        return summary_rows([RunView.read(folder) for folder in find_runs(path)])

    return read


@pytest.fixture
def rows(study: Path, rows_of: Callable[[Path], list[Row]]) -> list[Row]:
    return rows_of(study)


@pytest.fixture
def series(rows: list[Row]) -> list[Series]:
    return [row.series for row in rows]
