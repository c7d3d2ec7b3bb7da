"""What a run leaves on disk, written so that a reader never sees half a file and a crash never loses a whole one."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyhands.errors import RunError, UserError

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
"""of run folders; a reader refuses newer ones"""
HISTORY = "history.jsonl"
ORDER = "order.jsonl"
CLIENTS = "clients.jsonl"
WORKERS = "workers.jsonl"


class RunFolder:
    """The files of one run.

    JSON files are replaced atomically; ``history.jsonl``, ``order.jsonl``, ``clients.jsonl`` and ``workers.jsonl`` grow
    by whole lines; a checkpoint is a folder that takes the place of the one before only when it is complete.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, files: Mapping[str, Any]) -> "RunFolder":
        """Make a new folder with these JSON files, or nothing.

        Raises UserError if it holds something already or cannot be written, RunError if there is no room.
        """
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise UserError(f"{path} is not empty: give --out a new folder, or go on with --resume {path}")
        folder = cls(path)
        try:
            for name, data in files.items():
                folder.write_json(name, data)
        except BaseException:
            folder.discard()
            raise
        return folder

    def discard(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def write_json(self, name: str, data: Any) -> None:
        self.write_bytes(name, (json.dumps(data, indent=1) + "\n").encode())

    def write_bytes(self, name: str, data: bytes) -> None:
        """Replace a file atomically."""
        target = self.path / name
        scratch = target.with_name(f".{target.name}.new")
        with disk_errors(self.path):
            try:
                with scratch.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                scratch.replace(target)
            except BaseException:
                scratch.unlink(missing_ok=True)
                raise

    def read_json(self, name: str) -> Any:
        """Raises UserError if the file is missing or damaged."""
        path = self.path / name
        try:
            return json.loads(path.read_text())
        except FileNotFoundError:
            raise UserError(f"{path} is missing: {self.path} is not a run's folder, or not a whole one") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is damaged ({error}): restore it or run again") from None

    def read_run(self) -> dict[str, Any]:
        """``run.json``; raises UserError if it is missing, damaged or of a newer format."""
        data = self.read_json("run.json")
        if not isinstance(data, dict) or not isinstance(data.get("format"), int):
            raise UserError(f"{self.path / 'run.json'} is damaged (no format number): restore it or run again")
        if data["format"] > FORMAT:
            raise UserError(
                f"{self.path} has format {data['format']}, but this version reads formats up to {FORMAT}: "
                "use a newer manyhands"
            )
        return data

    def update_run(self, **changes: Any) -> None:
        self.write_json("run.json", self.read_run() | changes)

    def append_row(self, name: str, row: dict[str, Any]) -> None:
        """Add a line to a file of JSON lines."""
        with disk_errors(self.path), (self.path / name).open("a") as file:
            file.write(json.dumps(row) + "\n")

    def read_rows(self, name: str) -> list[dict[str, Any]]:
        """All whole rows so far; raises UserError if one of them is damaged."""
        path = self.path / name
        if not path.exists():
            return []
        try:
            lines = path.read_text().splitlines(keepends=True)
            return [json.loads(line) for line in lines if line.endswith("\n")]
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is damaged ({error}): restore it or run again") from None

    def cut_rows(self, name: str, rows: int) -> None:
        """Keep the first ``rows`` rows: those that the checkpoint to resume from has seen."""
        if (self.path / name).exists():
            kept = self.read_rows(name)[:rows]
            self.write_bytes(name, "".join(json.dumps(row) + "\n" for row in kept).encode())

    def read_history(self) -> list[dict[str, Any]]:
        return self.read_rows(HISTORY)

    def read_model(self) -> dict[str, "Tensor"]:
        """The named tensors of the final model; raises UserError if they are missing or damaged."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self.path / "model.safetensors"
        try:
            return load_file(path)
        except FileNotFoundError:
            raise UserError(f"{path} is missing: the run has not finished; go on with --resume {self.path}") from None
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path} is damaged ({error}): run again") from None

    def write_checkpoint(self, data: dict[str, Any], tensors: bytes) -> None:
        """Replace the checkpoint by a new one: ``state.json`` and ``tensors.safetensors``."""
        name = f"{data['completed']:06d}"
        folder = self.path / "checkpoints"
        with disk_errors(self.path):
            scratch = folder / f".{name}.new"
            shutil.rmtree(scratch, ignore_errors=True)
            try:
                scratch.mkdir(parents=True)
                RunFolder(scratch).write_bytes("tensors.safetensors", tensors)
                state = json.dumps(data, separators=(",", ":")).encode()  # on one line: thousands of nodes may be in it
                RunFolder(scratch).write_bytes("state.json", state)
                shutil.rmtree(folder / name, ignore_errors=True)
                scratch.replace(folder / name)
            except BaseException:
                shutil.rmtree(scratch, ignore_errors=True)
                raise
            for other in folder.iterdir():
                if other.name != name:
                    shutil.rmtree(other)

    def checkpoints(self) -> list[Path]:
        """Whole checkpoints, the newest last."""
        return sorted((self.path / "checkpoints").glob("[0-9]*"))

    def read_checkpoint(self) -> tuple[dict[str, Any], bytes]:
        """The newest checkpoint; raises UserError if there is none or it is damaged."""
        if not (found := self.checkpoints()):
            raise UserError(f"{self.path} has no checkpoint to resume from: run it again")
        newest = RunFolder(found[-1])
        try:
            return newest.read_json("state.json"), (newest.path / "tensors.safetensors").read_bytes()
        except OSError as error:
            raise UserError(f"{newest.path} is damaged ({error}): run again") from None


def new_run_path(parent: Path, name: str) -> Path:
    """A path below ``parent`` that does not exist: the time, the run's name and, if need be, a number."""
    stem = f"{datetime.now():%Y%m%d-%H%M%S}-{name}"
    candidates = (parent / (stem if number == 0 else f"{stem}-{number + 1}") for number in range(10_000))
    return next(path for path in candidates if not path.exists())


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into one line for the user."""
    try:
        yield
    except OSError as error:
        refusal = f"cannot write to {path} ({error.strerror})"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise RunError(f"{refusal}: make room or give --out another folder") from None
        raise UserError(f"{refusal}: give --out a folder that can be written") from None
