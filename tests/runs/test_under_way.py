"""What is known of a run before its end."""

import json
from pathlib import Path
from typing import Any

import pytest

from manyhands import lab
from manyhands.clusters.cluster import Cluster, Processes, Simulated
from manyhands.runs.reading import RunView
from manyhands.runs.specification import Specification
from manyhands.runs.under_way import accounts_so_far, last_row
from manyhands.strategies import Gossip


@pytest.mark.parametrize("cluster", [Simulated(), Processes(threads=1)])
def test_a_run_under_way_tells_what_its_nodes_did_and_spent(cluster: Cluster, tmp_path: Path) -> None:
    folder, seen = tmp_path / "run", []

    def observe(row: dict[str, Any]) -> None:
        view = RunView.read(folder)
        if row["completed"] >= 2 and view.ledger is None:  # real processes may be further than what is told of them
            seen.append((view, last_row(folder), accounts_so_far(folder, 2)))

    specification = Specification(strategy=Gossip(), cluster=cluster, workers=2, epochs=8, samples=128)
    lab.train(specification, out=folder, observer=observe)
    view, row, accounts = seen[0]
    assert view.status == "running"
    assert "gradient" in {span.name for span in view.spans[1] if span.kind == "compute"}
    assert row is not None
    assert row["completed"] >= 2
    assert [(node["rank"], node["role"]) for node in accounts] == [(0, "worker"), (1, "worker")]
    assert accounts[0]["bytes_sent"] > 0


@pytest.mark.parametrize("text", ["", "{", '{"a": 1}', "[1]\n", "null\n", "\n\n"])
def test_no_row_is_no_row(text: str, tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text(text)
    assert last_row(tmp_path) is None


def test_a_long_history_is_read_from_its_end(tmp_path: Path) -> None:
    lines = [json.dumps({"completed": number}) + "\n" for number in range(5000)]
    (tmp_path / "history.jsonl").write_text("".join([*lines, '{"completed": 5000']))
    assert last_row(tmp_path) == {"completed": 4999}


@pytest.mark.parametrize(
    "state", ["", "[]", '{"nodes": []}', '{"nodes": {"x": {}}}', '{"nodes": {"0": {"ledger": {"a": 1}}}}']
)
def test_a_damaged_checkpoint_tells_nothing(state: str, tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "000001").mkdir(parents=True)
    (tmp_path / "checkpoints" / "000001" / "state.json").write_text(state)
    assert accounts_so_far(tmp_path, 1) == []
    assert accounts_so_far(tmp_path / "nothing", 1) == []
