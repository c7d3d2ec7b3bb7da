"""Studies written in Python: a file that says which runs are made, and is run by ``manyhands compare --from``.

Such a file defines ``NAME``, a text, and ``specifications()``, which gives a list of `Specification`; and, if the
report shall tell how soon an accuracy was reached, ``TARGET``. It may import modules that lie beside it, and define
strategies and the like of its own. See ``studies/``.
"""

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from manyhands.errors import UserError
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
    with _told_with_its_line(path):
        module = _run(path)
        name, make = getattr(module, "NAME", None), getattr(module, "specifications", None)
        target = getattr(module, "TARGET", None)
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


def _run(path: Path) -> ModuleType:
    """As a module of the file's name in a folder on the path of imports: other processes find its classes there."""
    name, folder = path.stem, str(path.resolve().parent)
    if name in sys.stdlib_module_names or (name in sys.modules and not hasattr(sys.modules[name], _STUDY)):
        raise UserError(f"there is a module called {name} already: give the file another name")
    with suppress(ValueError):
        sys.path.remove(folder)
    sys.path.insert(0, folder)
    module = ModuleType(name)
    module.__file__ = str(path)
    setattr(module, _STUDY, True)
    sys.modules[name] = module
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    return module


_STUDY = "__manyhands_study__"
"""marks the module of a study, which that of another study of the same name may replace"""


@contextmanager
def _told_with_its_line(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if str(error.filename) != str(path):
            raise _at(path, error) from None
        raise UserError(f"cannot read {path} ({error.strerror}): --from takes a study, a Python file") from None
    except SyntaxError as error:
        where = f"{error.filename or path}, line {error.lineno or 1}"
        raise UserError(f"{where}: {error.msg}") from None
    except (Exception, SystemExit) as error:
        raise _at(path, error) from None


def _at(path: Path, error: BaseException) -> UserError:
    """The error with the last line of the file, or of a file beside it, that led to it."""
    folder = path.resolve().parent
    frames = traceback.extract_tb(error.__traceback__)
    files = [frame for frame in frames if not frame.filename.startswith("<")]  # such as <frozen importlib>
    ours = [frame for frame in files if Path(frame.filename).resolve().parent == folder]
    where = f"{ours[-1].filename}, line {ours[-1].lineno}" if ours else str(path)
    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    return UserError(f"{where}: {kind}{str(error) or 'no reason given'}")
