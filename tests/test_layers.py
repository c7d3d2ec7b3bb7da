"""Who may import whom: downwards only, and torch not before it is needed."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import manyhands

PACKAGE = Path(manyhands.__file__).parent

FORBIDDEN = {
    "tasks": ("strategies", "clusters", "runs", "report", "ui", "cli", "lab", "study"),
    "training": ("strategies", "clusters", "runs", "report", "ui", "cli", "lab", "study"),
    "strategies": (
        *("clusters.cluster", "clusters.experiment", "clusters.simulated", "clusters.processes", "training", "tasks"),
        *("runs", "report", "ui", "cli", "lab", "study", "torch", "time", "socket", "multiprocessing"),
    ),
    "aggregation": ("tasks", "training", "strategies", "clusters", "runs", "report", "ui", "cli", "lab", "study"),
    "compression": ("tasks", "training", "strategies", "clusters", "runs", "report", "ui", "cli", "lab", "study"),
    "privacy": ("tasks", "training", "strategies", "clusters", "runs", "report", "ui", "cli", "lab", "study"),
    "export": (
        *("tasks", "training", "strategies", "clusters", "measure"),
        *("report", "ui", "cli", "lab", "study", "torch"),
    ),
    "clusters": ("report", "ui", "cli", "lab", "study"),
    "measure": ("report", "ui", "cli"),
    "runs": ("clusters.simulated", "clusters.processes", "clusters.node", "report", "ui", "cli", "lab", "study"),
    "report": (
        *("clusters.node", "clusters.simulated", "clusters.processes", "training", "tasks", "strategies"),
        *("ui", "cli", "lab", "torch"),
    ),
    "ui": ("clusters.node", "clusters.simulated", "clusters.processes", "training", "cli", "lab", "study", "torch"),
}
"""for each part of the package what it must not import, of the package or from elsewhere"""


def imports(file: Path) -> Iterator[str]:
    """All modules that a file imports, wherever in it, without the package's own name; not those for types alone."""
    tree = ast.parse(file.read_text())
    guards = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    types = {id(statement) for guard in guards for statement in guard.body}
    for statement in (node for node in ast.walk(tree) if id(node) not in types):
        if isinstance(statement, ast.Import):
            names = [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, f"{file} imports relatively"
            assert statement.module is not None
            names = [f"{statement.module}.{alias.name}" for alias in statement.names]
        else:
            continue
        yield from (name.removeprefix("manyhands.") for name in names)


@pytest.mark.parametrize("part", FORBIDDEN)
def test_imports_go_downwards(part: str) -> None:
    files = list((PACKAGE / part).rglob("*.py"))
    assert files
    upwards = [
        f"{file.relative_to(PACKAGE)} imports {name}"
        for file in files
        for name in imports(file)
        for forbidden in FORBIDDEN[part]
        if f"{name}.".startswith(f"{forbidden}.")
    ]
    assert not upwards


def test_every_part_is_looked_at() -> None:
    parts = {file.parent.name for file in PACKAGE.glob("*/__init__.py")}
    assert parts == FORBIDDEN.keys() | {"cli"}


@pytest.mark.parametrize(
    "statement",
    [
        "main(['--help'])",
        "main(['train', '--help'])",
        "main(['compare', '--help'])",
        "main(['predict', '--help'])",
        "main(['retime', '--help'])",
        "main(['advise', '--help'])",
        "main(['bench', 'scaling', '--help'])",
        "main(['strategies'])",
        "import manyhands.strategies",
        "import manyhands.report.page",
        "main(['ui', '--help'])",
        "import manyhands.ui.serve, manyhands.cli.ui",
    ],
)
def test_torch_is_not_imported_before_it_is_needed(statement: str) -> None:
    program = f"""
import contextlib, sys
from manyhands.cli.main import main
with contextlib.suppress(SystemExit):
    {statement}
print("torch" in sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == "False\n"
