"""Puts this folder on the path of imports, where the processes of a cluster find the toy task too."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from fleet import Fleet

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def fleet() -> Iterator[Callable[[int], "Fleet"]]:
    """Processes by their number, shared by all tests."""
    from fleet import fleets

    with fleets() as given:
        yield given


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """For tensors of a hundred numbers a second thread only makes the first one wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
