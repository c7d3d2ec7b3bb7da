import functools
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from manyhands import terminal
from manyhands.errors import UserError
from manyhands.tasks.datasets.card import Card, File
from manyhands.tasks.datasets.fetch import fault, fetch_files
from manyhands.terminal import Bar

pytestmark = pytest.mark.filterwarnings("error")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server of tmp_path."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_one_by_one(tiny_idx: Card, web: str, tmp_path: Path) -> None:
    card = replace(tiny_idx, mirrors=(web + "data/tiny-idx/",))
    fetch_files(card, tmp_path / "new" / "folder")
    assert contents(tmp_path / "new" / "folder") == contents(tmp_path / "data")


def test_an_archive(tiny_cifar: Card, web: str, tmp_path: Path) -> None:
    card = replace(tiny_cifar, mirrors=(web,))
    (tmp_path / "data" / "tiny-cifar" / "one.bin").rename(tmp_path / "data" / "kept.bin")
    fetch_files(card, tmp_path / "new")
    assert set(contents(tmp_path / "new")) == {file.path for file in card.files}
    assert not any(fault(tmp_path / "new" / file.path, file) for file in card.files)


def test_only_the_missing_and_damaged_are_replaced(tiny_idx: Card, web: str, tmp_path: Path) -> None:
    fetch_files(replace(tiny_idx, mirrors=(web + "data/tiny-idx/",)), tmp_path / "new")
    good, damaged, lost, _ = (tmp_path / "new" / file.path for file in tiny_idx.files)
    before = good.stat()
    damaged.write_bytes(b"not labels")
    lost.unlink()
    fetch_files(replace(tiny_idx, mirrors=(web + "data/tiny-idx/",)), tmp_path / "new")
    assert contents(tmp_path / "new") == contents(tmp_path / "data")
    assert good.stat().st_ino == before.st_ino


def test_nothing_is_asked_of_the_network_for_a_whole_set(tiny_idx: Card, tmp_path: Path) -> None:
    fetch_files(tiny_idx, tmp_path / "data")  # its only mirror is nowhere


def test_the_next_mirror_is_tried(tiny_idx: Card, web: str, tmp_path: Path) -> None:
    card = replace(tiny_idx, mirrors=(*tiny_idx.mirrors, web + "nothing/", web + "data/tiny-idx/"))
    fetch_files(card, tmp_path / "new")
    assert contents(tmp_path / "new") == contents(tmp_path / "data")


@pytest.mark.parametrize("there", [False, True])
def test_a_wrong_checksum_changes_nothing(tiny_cifar: Card, web: str, tmp_path: Path, there: bool) -> None:
    assert tiny_cifar.archive is not None
    archive = replace(tiny_cifar.archive, md5="0" * 32)
    folder = tmp_path / "data" if there else tmp_path / "new"
    if there:
        (folder / "tiny-cifar" / "one.bin").write_bytes(b"old")
    before = contents(folder)
    with pytest.raises(UserError, match=r"127\.0\.0\.1: sent a file with another checksum"):
        fetch_files(replace(tiny_cifar, mirrors=(web,), archive=archive), folder)
    assert contents(folder) == before
    assert not list(folder.glob(".fetch-*"))


def test_a_file_that_is_gone(tiny_idx: Card, web: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"127\.0\.0\.1: HTTP status 404"):
        fetch_files(replace(tiny_idx, mirrors=(web + "nothing/",)), tmp_path / "new")


def test_a_silent_address(tiny_idx: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("manyhands.tasks.datasets.fetch.TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, answers none
        mirror = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(UserError, match=r"127\.0\.0\.1: no answer"):
            fetch_files(replace(tiny_idx, mirrors=(mirror,)), tmp_path / "new")


@pytest.mark.usefixtures("web")
def test_a_folder_that_cannot_be_written(tiny_idx: Card, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write tiny-idx to .*: name another folder with --data-dir"):
        fetch_files(tiny_idx, tmp_path / "file" / "below")


def test_what_comes_moves_a_bar(tiny_cifar: Card, web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[tuple[str, float | None, float]] = []

    class Noting(Bar):
        def move(self, completed: float | None = None, **changes: Any) -> None:
            super().move(completed, **changes)
            moved.append((self.what, self.total, self.completed))

    monkeypatch.setattr(terminal, "Bar", Noting)
    fetch_files(replace(tiny_cifar, mirrors=(web,)), tmp_path / "new")
    assert tiny_cifar.archive is not None
    name, size = tiny_cifar.archive.name, tiny_cifar.archive.size
    assert moved[-1] == (name, size, size)
    assert len(moved) > 2


def test_faults(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert fault(path, File("file", 3, None)) == "is missing"
    path.write_bytes(b"abc")
    assert fault(path, File("file", 3, None)) is None
    assert fault(path, File("file", 3, "900150983cd24fb0d6963f7d28e17f72")) is None
    assert fault(path, File("file", 4, None)) == "has 3 bytes, not 4"
    assert str(fault(path, File("file", 3, "0" * 32))).endswith(", not " + "0" * 32)
