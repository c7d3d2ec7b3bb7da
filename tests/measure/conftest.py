"""Puts the folder of the toy tasks on the path of imports, and says where hosts can be emulated."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "conformance"))


@pytest.fixture(scope="session")
def emulation() -> None:
    """Skips a test where hosts cannot be emulated, and says why."""
    from manyhands.clusters.processes.hosts import Hosts
    from manyhands.errors import UserError

    try:
        with Hosts(2, 1e9 / 8):
            pass
    except UserError as error:
        pytest.skip(str(error))
