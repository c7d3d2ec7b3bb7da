"""What is known of a run before its end: its last row and its nodes' accounts so far, read without torch."""

import json
import os
from pathlib import Path
from typing import Any

from manyhands.runs.files import Json, finite
from manyhands.runs.folder import HISTORY, RunFolder
from manyhands.runs.ledger import Ledger

TAIL = 16_384
"""bytes at the end of a history in which its last row is looked for"""
MOST_STATE = 16_000_000
"""bytes of a checkpoint's numbers that are read: those of thousands of nodes are left alone"""


def last_row(folder: Path) -> Json | None:
    """The last whole row of the history that can be read, wherever it ends; None if there is none."""
    try:
        with (folder / HISTORY).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            lines = file.read().split(b"\n")
    except OSError:
        return None
    for line in reversed(lines[:-1]):  # after the last newline: nothing, or a row that is still being written
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            return row
    return None


def accounts_so_far(folder: Path, workers: int) -> list[Json]:
    """What each node spent until the last checkpoint, as ``nodes`` of ``ledger.json`` has it; empty if there is none.

    Nodes that did nothing yet are left out, as they are in the checkpoint.
    """
    try:
        states = RunFolder(folder).checkpoints()
        file = states[-1] / "state.json"
        if file.stat().st_size > MOST_STATE:
            return []
        nodes: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["nodes"]
        return [_account(int(rank), workers, numbers["ledger"]) for rank, numbers in nodes.items()]
    except (OSError, IndexError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []  # none yet, or replaced by the next one this very moment


def _account(rank: int, workers: int, state: Json) -> Json:
    account = Ledger(**state).to_json()
    if any(finite(value) is None for value in account["seconds"].values()):
        raise ValueError("seconds")
    return {"rank": rank, "role": "worker" if rank < workers else "server"} | account
