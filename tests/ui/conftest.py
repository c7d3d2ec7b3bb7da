"""Folders of fake runs, and the application over one of them."""

import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from starlette.testclient import TestClient

from manyhands.cli.ui import forms
from manyhands.ui.server import Application

TOKEN, PORT = "a-token-of-tests", 8765


@pytest.fixture(scope="session")
def fake() -> ModuleType:
    """The functions that make fake runs for the tests of the report."""
    place = Path(__file__).parent.parent / "report" / "fake.py"
    spec = importlib.util.spec_from_file_location("fake", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(fake: ModuleType, tmp_path: Path) -> Path:
    """A study, runs of every condition, a damaged one, one with a wicked name, and links that lead out."""
    folder = tmp_path / "runs"
    fake.six_strategies(folder / "six", seeds=1)
    fake.write_run(folder / "done", "gossip", seed=3)
    fake.write_run(folder / "going", "local-sgd", seed=1, status="running")
    fake.write_run(folder / "deep" / "er" / "<script>alert(1)<", "all-reduce", seed=5)
    (folder / "damaged").mkdir()
    (folder / "damaged" / "run.json").write_text('{"format": 1, "na')
    outside = fake.write_run(tmp_path / "outside", "fedavg")
    (folder / "link").symlink_to(outside)
    shutil.copytree(folder / "done", folder / "leaky")
    (folder / "leaky" / "history.jsonl").unlink()
    (folder / "leaky" / "history.jsonl").symlink_to(outside / "history.jsonl")
    return folder


@pytest.fixture
def application(root: Path) -> Application:
    return Application(root, forms(), allow_launch=True)


@pytest.fixture
def client(application: Application) -> Iterator[TestClient]:
    """A browser that was given the token."""
    with TestClient(application.guarded(TOKEN, PORT), base_url=f"http://127.0.0.1:{PORT}") as one:
        assert one.get(f"/?token={TOKEN}").status_code == 200
        one.headers["origin"] = f"http://127.0.0.1:{PORT}"
        yield one


def append(run: Path, **changes: Any) -> None:
    """Add a row to a run's history: the last one, changed."""
    row = json.loads((run / "history.jsonl").read_text().splitlines()[-1]) | changes
    with (run / "history.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
