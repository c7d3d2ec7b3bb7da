"""Tests that need the real data sets are skipped, with the reason, where those are absent.

Puts this folder on the path of imports, for what tests of several parts share. No example of a property has a deadline:
machines are slow now and then; there are fifty of each. Jobs in a shell's background are started deaf to interrupts,
which tests send.
"""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from manyhands.tasks.datasets.catalogue import CARDS

sys.path.insert(0, str(Path(__file__).parent))
settings.register_profile("patient", deadline=None, max_examples=50)
settings.load_profile("patient")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """``@pytest.mark.real_data("mnist")`` needs that data set, ``@pytest.mark.real_data`` all of them."""
    for item in items:
        if marker := item.get_closest_marker("real_data"):
            missing = [name for name in marker.args or CARDS if not _present(name)]
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"MANYHANDS_DATA does not hold {', '.join(missing)}"))


@pytest.fixture(scope="session", autouse=True)
def imports_are_paid_once() -> None:
    """Of processes that average gradients natively each imports what takes torch longer than the test: not here."""
    from manyhands.clusters.processes.fleet import IMPORTED

    IMPORTED.append("torch._dynamo")


@pytest.fixture(scope="session", autouse=True)
def power_stays_on() -> Iterator[None]:
    """What a test writes need not be on the disk before it goes on: waiting for disks took longer than many tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


def _present(name: str) -> bool:
    card, folder = CARDS[name], os.environ.get("MANYHANDS_DATA")
    return card.embedded or (folder is not None and all((Path(folder) / file.path).is_file() for file in card.files))


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
