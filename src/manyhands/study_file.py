"""Studies written in Python: a file that says which runs are made, and is run by ``manyhands compare --from``.

Such a file defines ``NAME``, a text, and ``specifications()``, which gives a list of `Specification`; and, if the
report shall tell how soon an accuracy was reached, ``TARGET``. It may import modules that lie beside it, and define
strategies and the like of its own. See ``studies/``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from manyhands.errors import UserError
from manyhands.own_code import run_file, told_with_its_line
from manyhands.runs.specification import Specification


@dataclass(frozen=True, kw_only=True)
class StudyFile:
    """What such a file defines."""

    name: str
    specifications: tuple[Specification, ...]
    """none twice"""
    target: float | None = None
    """accuracy, 0 to 1"""
    path: Path | None = None
    """of the file; None: there is none"""


def load_study(path: Path) -> StudyFile:
    """Run the file; raises UserError, one line with the file and the line in it, for whatever is wrong with it."""
    module = run_file(path, "--from takes a study, a Python file")
    name, make = getattr(module, "NAME", None), getattr(module, "specifications", None)
    target = getattr(module, "TARGET", None)
    with told_with_its_line(path):
        planned: Any = make() if callable(make) else None
    if not isinstance(name, str) or not name or not callable(make):
        raise UserError(f"{path} is no study: it must define NAME, a text, and specifications(), which gives a list")
    listed = isinstance(planned, list | tuple) and len(planned) > 0
    if not listed or not all(isinstance(one, Specification) for one in planned):
        raise UserError(
            f"{path}: specifications() must give a list of Specification, at least one, not {planned!r:.60}"
        )
    if target is not None and (not isinstance(target, int | float) or not 0 < target <= 1):
        raise UserError(f"{path}: TARGET must be an accuracy above 0 and up to 1, such as 0.97, not {target!r:.60}")
    return StudyFile(name=name, specifications=distinct(planned), target=target and float(target), path=path)


def distinct(specifications: Sequence[Specification]) -> tuple[Specification, ...]:
    """The same in their order, none twice."""
    return tuple({str(one.to_json()): one for one in specifications}.values())


def with_seeds(specifications: Sequence[Specification], seeds: Sequence[int]) -> tuple[Specification, ...]:
    """Each with these seeds instead of its own, one seed after another."""
    return distinct([replace(one, seed=seed) for seed in seeds for one in specifications])


def with_rounds(specifications: Sequence[Specification], rounds: int) -> tuple[Specification, ...]:
    """Those that count rounds with so many of them; the others as they are. Raises UserError if there are none."""
    counted = [one.strategy.unit == "round" for one in specifications]
    if not any(counted):
        raise UserError("--rounds is for federated strategies, and there are none here: give --epochs")
    pairs = zip(specifications, counted, strict=True)
    return distinct([replace(one, epochs=None, rounds=rounds) if counts else one for one, counts in pairs])
