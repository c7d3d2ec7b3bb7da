"""Commands started from the page: where their results go, what is said of them, and how they end."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from manyhands.cli.ui import forms
from manyhands.errors import UserError
from manyhands.ui import launching
from manyhands.ui.form import Reading
from manyhands.ui.launching import Job, Launcher


@pytest.fixture
def launcher(tmp_path: Path) -> Launcher:
    return Launcher(tmp_path / "runs")


@pytest.fixture
def reading() -> Reading:
    return forms()["train"].read({"--strategy": "gossip", "--workers": "2"})


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let this program run instead of manyhands; its folder is the last of its arguments."""
    real = launching.subprocess.Popen

    def instead(program: str) -> None:
        def start(words: list[str], **options: object) -> object:
            return real([sys.executable, "-c", f"import sys, time, pathlib\n{program}", *words[3:]], **options)

        monkeypatch.setattr(launching.subprocess, "Popen", start)

    return instead


def ended(job: Job) -> Job:
    job.process.wait(30)
    return job


def test_the_command_is_that_of_the_form_with_a_new_folder(
    launcher: Launcher, reading: Reading, pretend: Callable[[str], None]
) -> None:
    pretend("print(sys.argv[1:])")
    first, second = launcher.start(reading), launcher.start(reading)
    assert first.id != second.id
    assert first.words[:5] == ("train", "--strategy", "gossip", "--workers", "2")
    assert first.words[5:] == ("--out", str(launcher.root / first.id))
    assert str(first.words[-1]) in ended(first).said
    assert first.error is None
    ended(second)
    launcher.tidy()
    assert list(launcher.root.iterdir()) == []  # nothing was written


def test_why_it_failed_is_kept(launcher: Launcher, reading: Reading, pretend: Callable[[str], None]) -> None:
    pretend("print('some words'); print('manyhands: error: --epochs is odd', file=sys.stderr); sys.exit(2)")
    job = ended(launcher.start(reading))
    assert job.error == "--epochs is odd"
    assert job.state == "ended"


def test_a_defect_is_told_by_its_last_line(
    launcher: Launcher, reading: Reading, pretend: Callable[[str], None]
) -> None:
    pretend("raise ValueError('x')")
    assert ended(launcher.start(reading)).error == "ValueError: x"
    pretend("sys.exit(7)")
    assert ended(launcher.start(reading)).error == "the command ended with status 7"


def test_it_has_begun_when_its_record_is_there(
    launcher: Launcher, reading: Reading, pretend: Callable[[str], None]
) -> None:
    pretend("time.sleep(0.3); pathlib.Path(sys.argv[-1], 'run.json').write_text('{}'); time.sleep(60)")
    job = launcher.start(reading)
    assert job.state == "starting"
    deadline = time.monotonic() + 30
    while job.state != "running":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert launcher.under_way(job.id) is job
    launcher.stop(job.id)
    ended(job)
    assert (job.error, job.interrupted, launcher.under_way(job.id)) == (None, True, None)


def test_a_run_of_a_study_is_stopped_with_the_study(launcher: Launcher, pretend: Callable[[str], None]) -> None:
    pretend("time.sleep(60)")
    job = launcher.start(forms()["compare"].read({"--strategies": "gossip"}))
    assert launcher.under_way(f"{job.id}/01-single") is job
    with pytest.raises(UserError, match="is under way"):
        launcher.resume(job.folder, "compare")
    launcher.stop(f"{job.id}/01-single")
    ended(job)
    with pytest.raises(UserError, match="was not started here"):
        launcher.stop(job.id)


def test_who_does_not_listen_is_killed_at_the_end(
    launcher: Launcher, reading: Reading, pretend: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "PATIENCE", 0.5)
    program = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('deaf', flush=True); time.sleep(60)"
    pretend(program)
    job = launcher.start(reading)
    while "deaf" not in job.said:
        time.sleep(0.02)
    assert launcher.stop_all() == [job]
    assert job.process.returncode == -9
