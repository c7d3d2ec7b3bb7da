"""Fetch a data set's files from their official addresses: whole and right, or not at all."""

import hashlib
import shutil
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from manyhands.errors import UserError
from manyhands.tasks.datasets.card import Card, File
from manyhands.terminal import Bar, bar

TIMEOUT = 20
"""Seconds without a byte after which an address counts as silent."""


def fault(path: Path, file: File) -> str | None:
    """What is wrong with the file at `path`, compared with what was published; None where all is well."""
    try:
        size = path.stat().st_size
        if size != file.size:
            return f"has {size:,} bytes, not {file.size:,}"
        if file.md5 is not None:
            with path.open("rb") as opened:
                digest = hashlib.file_digest(opened, "md5").hexdigest()
            if digest != file.md5:
                return f"has the MD5 checksum {digest}, not {file.md5}"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None


def fetch_files(card: Card, folder: Path) -> None:
    """Put into `folder` every file of the card that is missing or damaged there; good ones are left alone.

    Downloads go to a temporary folder and are renamed when their checksums are right, so an interruption
    leaves nothing behind. Raises UserError where no address serves the file or the folder cannot be written.
    """
    wanted = [file for file in card.files if fault(folder / file.path, file)]
    if not wanted:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as temporary:
            fresh = Path(temporary)
            if card.archive is None:
                for file in wanted:
                    _download(card, file, fresh, folder)
            else:
                archive = _download(card, card.archive, fresh, folder)
                _extract(archive, wanted, fresh)
            for file in wanted:
                (folder / file.path).parent.mkdir(exist_ok=True)
                (fresh / file.name).replace(folder / file.path)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"cannot write {card.name} to {folder} ({reason}): name another folder with --data-dir"
        ) from None


def _download(card: Card, file: File, destination: Path, folder: Path) -> Path:
    import pooch  # slow to import, and seldom needed

    pooch.get_logger().setLevel("WARNING")
    reasons = []
    for mirror in card.mirrors:
        try:
            with bar(file.name, None, "B") as shown:
                downloader = pooch.HTTPDownloader(progressbar=_Received(shown), timeout=TIMEOUT)
                known = f"md5:{file.md5}"
                pooch.retrieve(mirror + file.name, known, file.name, path=destination, downloader=downloader)
        except Exception as error:
            reasons.append(f"{urlsplit(mirror).hostname}: {_reason(error)}")
        else:
            return destination / file.name
    raise UserError(
        f"{folder} holds no whole {card.name} and cannot be fetched ({'; '.join(reasons)}): connect to "
        f"the network and run `manyhands data fetch {card.name}`, or name with --data-dir or MANYHANDS_DATA "
        f"a folder that holds {card.files[0].path}"
    )


class _Received:
    """Moves a bar as pooch wants it moved, which is as tqdm does: it sets ``total``, and begins anew at the end."""

    total = 0
    """bytes"""

    def __init__(self, shown: Bar) -> None:
        self._bar, self._received = shown, 0

    def reset(self) -> None:
        self._received = 0

    def update(self, more: int) -> None:
        self._received += more
        self._bar.move(min(self._received, self.total), total=self.total)

    def close(self) -> None:
        pass


def _reason(error: Exception) -> str:
    """The few words of a failed download; raises the error again where it was not the network's."""
    from requests import ConnectionError, HTTPError, RequestException, Timeout

    match error:
        case Timeout():
            return "no answer"
        case ConnectionError():
            return "no connection"
        case HTTPError(response=response) if response is not None:
            return f"HTTP status {response.status_code}"
        case RequestException():
            return type(error).__name__
        case ValueError():  # how pooch reports a checksum
            return "sent a file with another checksum"
    raise error


def _extract(archive: Path, files: Iterable[File], destination: Path) -> None:
    with tarfile.open(archive) as tar:
        for file in files:
            member = tar.extractfile(file.path)
            assert member is not None, f"{file.path} is no plain file in an archive whose checksum was right"
            with member, (destination / file.name).open("wb") as output:
                shutil.copyfileobj(member, output)
