"""Trainings and studies started from the page: each a command of its own, as a terminal would run it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from manyhands.errors import UserError
from manyhands.runs.files import Json
from manyhands.runs.folder import new_run_path
from manyhands.ui.form import Reading

TOLD = 4_000
"""bytes at the end of a command's output that are shown"""
PATIENCE = 20.0
"""seconds that commands get to end when the server does"""
ERROR = "manyhands: error: "

State = Literal["starting", "running", "ended"]


@dataclass(eq=False)
class Job:
    """One command that this server started. ``id`` is that of the run or study that it makes or goes on with."""

    id: str
    words: tuple[str, ...]
    folder: Path
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    new: bool
    """whether it makes the folder"""
    since: float = field(default_factory=time.time)
    interrupted: bool = False

    @property
    def state(self) -> State:
        if self.process.poll() is not None:
            return "ended"
        begun = any((self.folder / name).exists() for name in ("run.json", "study.json"))
        return "running" if begun else "starting"

    @property
    def said(self) -> str:
        """The end of what it printed."""
        self.output.flush()
        size = os.fstat(self.output.fileno()).st_size
        return os.pread(self.output.fileno(), TOLD, max(0, size - TOLD)).decode(errors="replace").strip()

    @property
    def error(self) -> str | None:
        """Why it failed, in a line; None while it runs, and where it ended well or was interrupted."""
        status = self.process.poll()
        if status in (None, 0) or self.interrupted:
            return None
        lines = [line for line in self.said.splitlines() if line.strip()]
        ours = [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]
        return ours[-1] if ours else lines[-1] if lines else f"the command ended with status {status}"

    def to_json(self) -> Json:
        return {
            "id": self.id,
            "command": " ".join(["manyhands", *self.words]),
            "state": self.state,
            "status": self.process.poll(),
            "interrupted": self.interrupted,
            "error": self.error,
            "said": self.said,
        }

    def interrupt(self) -> None:
        """As Ctrl-C does: the run stops, and can be resumed."""
        if self.process.poll() is None:
            self.interrupted = True
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGINT)


@dataclass(eq=False)
class Launcher:
    """Starts commands whose results go into ``root``, and remembers them."""

    root: Path
    jobs: dict[str, Job] = field(default_factory=dict)
    """the last one for each run or study"""

    def start(self, reading: Reading) -> Job:
        """Run the command of a form without errors into a new folder."""
        assert reading.value is not None
        strategy = getattr(reading.value, "strategy", None)
        folder = new_run_path(self.root, strategy.name if strategy else reading.words[0])
        try:
            folder.mkdir(parents=True)  # nobody else shall take the name meanwhile
        except OSError as error:
            raise UserError(f"cannot write to {self.root} ({error.strerror})") from None
        return self._run(folder, [*reading.words, "--out", str(folder)], new=True)

    def resume(self, folder: Path, command: str) -> Job:
        """Go on with a stopped run (``train``) or study (``compare``); raises UserError if that is under way."""
        known = self.jobs.get(self._id(folder))
        if known is not None and known.state != "ended":
            raise UserError(f"{known.id} is under way")
        return self._run(folder, [command, "--resume", str(folder)], new=False)

    def stop(self, id_: str) -> None:
        """Interrupt the command that makes a run, or the study that it belongs to; raises UserError for others."""
        job = self.under_way(id_)
        if job is None:
            raise UserError(f"{id_} was not started here: stop it where it was started")
        job.interrupt()

    def under_way(self, id_: str) -> Job | None:
        """The command that is at work on a run or study, or on the study around a run."""
        names = [id_, *(parent.as_posix() for parent in Path(id_).parents)]
        jobs = [self.jobs[name] for name in names if name in self.jobs]
        return next((job for job in jobs if job.state != "ended"), None)

    def stop_all(self) -> list[Job]:
        """Interrupt all that is under way and wait until it has ended; those that do not are killed."""
        left = [job for job in self.jobs.values() if job.state != "ended"]
        for job in left:
            job.interrupt()
        deadline = time.monotonic() + PATIENCE
        for job in left:
            try:
                job.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(job.process.pid, signal.SIGKILL)
                job.process.wait()
        return left

    def tidy(self) -> None:
        """Remove folders that were made for commands which then wrote nothing."""
        for job in self.jobs.values():
            if job.new and job.state == "ended":
                with suppress(OSError):
                    job.folder.rmdir()  # only if it is empty

    def _id(self, folder: Path) -> str:
        return folder.relative_to(self.root).as_posix()

    def _run(self, folder: Path, words: Sequence[str], *, new: bool) -> Job:
        output = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the job
        process = subprocess.Popen(
            [sys.executable, "-m", "manyhands", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C in this terminal is not for it
        )
        id_ = self._id(folder)
        self.jobs[id_] = Job(id=id_, words=tuple(words), folder=folder, process=process, output=output, new=new)
        return self.jobs[id_]
