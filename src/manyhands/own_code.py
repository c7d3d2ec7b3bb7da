"""Python files of the user's own: studies, ``--from FILE.py``, and tasks, ``--task FILE.py:NAME``.

Such a file is run as a module of its own name, in a folder on the path of imports, as a script's is: it may import what
lies beside it, and other processes find its classes.
"""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from manyhands.errors import UserError

_CHANGED = "__manyhands_changed__"
"""marks the module of such a file, which that of another of the same name may replace, with when it was changed last"""


def run_file(path: Path, purpose: str) -> ModuleType:
    """The module that the file makes; one that is known already, and has not changed since, as it is.

    Raises UserError, one line with the file and the line in it, for whatever is wrong with it; ``purpose``: what takes
    such a file, for one that cannot be read.
    """
    name, file = path.stem, path.resolve()
    try:
        changed = file.stat().st_mtime_ns
        source = file.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): {purpose}") from None
    known = sys.modules.get(name)
    at = getattr(known, "__file__", None)
    if known and at and Path(at).resolve() == file and getattr(known, _CHANGED, changed) == changed:
        return known  # what others have imported has no such mark
    if name in sys.stdlib_module_names or (known and not hasattr(known, _CHANGED)):
        raise UserError(f"{path}: there is a module called {name} already: give the file another name")
    folder = str(file.parent)
    with suppress(ValueError):
        sys.path.remove(folder)
    sys.path.insert(0, folder)
    module = ModuleType(name)
    module.__file__ = str(path)
    setattr(module, _CHANGED, changed)
    sys.modules[name] = module
    try:
        with told_with_its_line(path):
            exec(compile(source, str(path), "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def told_with_its_line(path: Path) -> Iterator[None]:
    """Raise UserError, one line, for what goes wrong in code of the file."""
    try:
        yield
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
