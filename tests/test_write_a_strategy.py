"""The example of docs/write-a-strategy.md is whole: it runs as it stands, and is as short as it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "write-a-strategy.md"
CODE = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)[0]


def test_the_example_is_short() -> None:
    assert len([line for line in CODE.splitlines() if line.strip()]) <= 30


@pytest.mark.parametrize("cluster", ["Simulated()", "Processes(threads=1)"])
def test_the_example_learns_on_both_clusters(cluster: str, tmp_path: Path) -> None:
    code = CODE.replace("Simulated()", cluster).replace("RunView, Simulated,", "Processes, RunView, Simulated,")
    assert cluster in code
    (tmp_path / "random_pairs.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "random_pairs.py"], cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0.5
    assert len(list((tmp_path / "runs").glob("*-random-pairs/model.safetensors"))) == 1


def test_everything_that_a_node_offers_exists() -> None:
    from manyhands.clusters.node import Node

    tables = re.findall(r"^\| `(.*?)` \|", PAGE.read_text(), flags=re.MULTILINE)
    names = {name for cell in tables for name in re.findall(r"(?:node\.|, `?)(\w+)", cell)}
    assert len(names) > 20
    known = {*dir(Node), *Node.__dataclass_fields__}
    assert {name for name in names if name not in known} <= {"node", "purpose", "size", "tag"}
