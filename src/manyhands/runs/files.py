"""The files of a run folder, read as far as they can be trusted: what is damaged is named and left out."""

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from manyhands.errors import UserError
from manyhands.runs.folder import FORMAT

Json = dict[str, Any]
_BASE64 = re.compile("[A-Za-z0-9+/]+=*")

PARTS_OF_TIME = ("compute", "exposed_communication", "hidden_communication", "waiting", "compression", "evaluation")
_ALWAYS = PARTS_OF_TIME[:4]  # the others are not in the ledgers of earlier versions
BYTES = ("algorithmic", "wire", "measured")
"""the three lines in which a node's bytes are counted"""
_LEARNT = ("train_loss", "test_loss", "test_accuracy", "consensus")
_AT_CLIENTS = ("worst_decile", "spread", "personal_accuracy", "personalisation_gain")
_QUANTITIES = ("seconds", "epoch", "round", "samples", "bytes", *_LEARNT, *_AT_CLIENTS)


def read_record(file: Path, kind: str, needed: Sequence[str]) -> Json:
    """A folder's main file; raises UserError, one line, where it is missing, damaged, or of a newer format."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{file} is missing: a {kind}'s folder holds {file.name}") from None
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UserError(f"{file} is damaged: it must hold one JSON object") from None
    if not isinstance(record, dict):
        raise UserError(f"{file} is damaged: it must hold one JSON object")
    format_ = record.get("format")
    if not isinstance(format_, int) or isinstance(format_, bool) or format_ < 1:
        raise UserError(f"{file} is damaged: its 'format' must be {FORMAT}, not {format_!r}")
    if format_ > FORMAT:
        raise UserError(
            f"{file} has format {format_}, this manyhands reads up to {FORMAT}: update manyhands to read it"
        )
    for key in needed:
        if key not in record:
            raise UserError(f"{file} is damaged: it must have '{key}'")
    return record


def check_record(file: Path, record: Json) -> None:
    """Raise UserError unless the specification names a task, a strategy, a cluster and a number of workers."""
    try:
        specification = record["specification"]
        named = (specification["task"], specification["strategy"]["name"], specification["cluster"]["name"])
        usable = all(named) and int(specification["workers"]) >= 1 and int(specification.get("seed") or 0) >= 0
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        usable = False
    if not usable:
        raise UserError(
            f"{file} is damaged: its 'specification' must name a task, a strategy, a cluster and some workers"
        )


def read_history(file: Path, problems: list[str]) -> list[Json]:
    """The rows that are whole, every quantity present, None where it is not a finite number."""
    try:
        rows = _read_rows(file, _history_row, problems)
    except OSError:
        problems.append(f"{file.name} is missing or cannot be read")
        return []
    if not rows:
        problems.append(f"{file.name} has no evaluation yet")
    return rows


def read_beside(file: Path, convert: Callable[[Json], Json], problems: list[str]) -> list[Json]:
    """The rows of a file beside the history that are whole, each converted; most runs have no such file."""
    try:
        return _read_rows(file, convert, problems)
    except FileNotFoundError:
        return []
    except OSError:
        problems.append(f"{file.name} cannot be read")
        return []


def _read_rows(file: Path, convert: Callable[[Json], Json], problems: list[str]) -> list[Json]:
    """The whole lines of a file; what is wrong with the others is added to the problems."""
    lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    lines.pop()  # after the last newline: nothing, or a row that is still being written
    rows, damaged = [], []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(convert(json.loads(line)))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            damaged.append(number)
    if damaged:
        problems.append(f"{file.name}: line {', '.join(map(str, damaged))} is damaged and left out")
    return rows


def _history_row(row: Json) -> Json:
    return {**row, **{key: finite(row.get(key)) for key in _QUANTITIES}}


def clients_row(row: Json) -> Json:
    """Of ``clients.jsonl``: numbers of each client, and of those in ``ranks``, None for what is not a finite number."""
    every, some = ("loss", "accuracy"), ("train_loss", "own_loss", "own_accuracy")
    ranks, clients = [int(rank) for rank in row["ranks"]], len(row["loss"])
    known = {key: [finite(value) for value in row[key]] for key in (*every, *some)}
    fit = all(len(known[key]) == clients for key in every) and all(len(known[key]) == len(ranks) for key in some)
    if not fit or any(not 0 <= rank < clients for rank in ranks):
        raise ValueError("shape")
    return {"completed": int(row["completed"]), "ranks": ranks, **known}


def workers_row(row: Json) -> Json:
    """Of ``workers.jsonl``: the training loss of each worker, None where it is not a finite number."""
    return {"completed": int(row["completed"]), "train_loss": [finite(value) for value in row["train_loss"]]}


def read_part(file: Path, check: Callable[[Json], object], problems: list[str]) -> Json | None:
    """One JSON file beside the main one, or None; what is wrong with it is added to the problems."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        check(content)
    except FileNotFoundError:
        problems.append(f"{file.name} is missing")
    except OSError:
        problems.append(f"{file.name} cannot be read")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        problems.append(f"{file.name} is damaged and left out")
    else:
        return dict(content)
    return None


def check_ledger(ledger: Json) -> None:
    """Raise an error of any kind unless all that is read from a ledger is there."""
    if ledger["clock"] not in ("simulated", "real"):
        raise ValueError("clock")
    _need_number(ledger["seconds"])
    for node in ledger["nodes"]:
        str(node["role"])
        _need_number(node["rank"], node["bytes_sent"], node["bytes_received"])
        _need_number(*(node["seconds"][part] for part in _ALWAYS))
        _need_number(*(node["seconds"].get(part, 0) for part in PARTS_OF_TIME))
        for rank, size in (node.get("to") or {}).items():
            if int(rank) < 0 or type(size) is not int or size < 0:
                raise ValueError("to")
        if "bytes" in node:
            _check_bytes(node["bytes"])
        for rank, sent in (node.get("to") or {}).items():
            if int(rank) < 0:
                raise ValueError("to")
            _need_number(sent)
        for versions, count in (node.get("staleness") or {}).items():
            if int(versions) < 0 or type(count) is not int or count < 0:
                raise ValueError("staleness")


def _check_bytes(traffic: Json) -> None:
    for line in BYTES:
        if line != "measured" or traffic[line] is not None:
            _need_number(traffic[line]["sent"], traffic[line]["received"])


def check_partition(partition: Json) -> None:
    """As `check_ledger`, of ``partition.json``."""
    _need_table(partition["counts"], len(partition["counts"]), len(partition["classes"]))
    tested = partition.get("test_samples")
    if tested is not None:
        _need_table([tested], 1, len(partition["counts"]))
    for portrait in partition.get("portraits") or ():
        if not _BASE64.fullmatch(portrait["png"]) or not 0 <= portrait["worker"] < len(partition["counts"]):
            raise ValueError("portraits")


def check_evaluation(evaluation: Json) -> None:
    """As `check_ledger`, of ``evaluation.json``."""
    classes = len(evaluation["classes"])
    _need_number(evaluation["accuracy"])
    _need_table([evaluation["per_class_accuracy"]], 1, classes, none_too=True)
    _need_table(evaluation["confusion"], classes, classes)
    for pair in evaluation.get("confused") or ():
        places = (pair["true"], pair["predicted"])
        if not all(type(place) is int and 0 <= place < classes for place in places) or type(pair["count"]) is not int:
            raise ValueError("confused")
        if not all(_BASE64.fullmatch(image) for image in pair["images"]):
            raise ValueError("images")


def _need_number(*values: Any) -> None:
    if any(finite(value) is None for value in values):
        raise ValueError("not a finite number")


def _need_table(rows: Any, height: int, width: int, none_too: bool = False) -> None:
    if not width or len(rows) != height or any(len(row) != width for row in rows):
        raise ValueError("shape")
    _need_number(*(value for row in rows for value in row if not (none_too and value is None)))


def finite(value: Any) -> float | None:
    """The value if it is a finite number, else None."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if known else None
