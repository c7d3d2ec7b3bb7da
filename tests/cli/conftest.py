"""A run of a second that several commands look at."""

from pathlib import Path

import pytest

from manyhands.cli.main import main


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests do not change it."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    argv = ["train", "--task", "mnist-mini/logistic", "--batch-size", "100", "--epochs", "1", "--workers", "2"]
    assert main([*argv, "--quiet", "--out", str(folder)]) == 0
    return folder
