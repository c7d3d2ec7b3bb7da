"""A rehearsal, in which nothing is learnt, takes what the run takes: to the nanosecond, and to the byte."""

import json
from pathlib import Path

import pytest
from table import VARIANTS, craft, specify, train
from toys import Normed, toy

from manyhands import lab
from manyhands.clusters.cluster import Processes, Simulated
from manyhands.errors import UserError
from manyhands.runs.specification import Specification
from manyhands.tasks.partition import PARTITIONS


def uneven(variant: str) -> Specification:
    return specify(
        variant,
        workers=4,
        epochs=3,
        batch_size=9,
        evaluate_every=2,
        cluster=Simulated(jitter=0.3, slow=("0:3",), threads=2, bandwidth="10Mbit/s"),
        optimizer=craft(variant),
        partition=PARTITIONS.parse("iid" if variant.startswith("data-parallel") else "dirichlet:0.7"),
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_takes_what_the_run_takes(variant: str, tmp_path: Path) -> None:
    specification, task = uneven(variant), toy(Normed, 120)
    rehearsal = lab.rehearse(specification, task=task)
    run = train(specification, task, tmp_path / "run")
    ledgers = {node["rank"]: node for node in run.ledger["nodes"]}
    assert rehearsal.seconds == run.ledger["seconds"] > 0
    rows = [(row["completed"], row["seconds"], row["bytes"]) for row in run.history]
    assert [tuple(row) for row in rehearsal.rows] == rows
    assert rehearsal.samples == run.history[-1]["samples"]
    assert rehearsal.ledgers.keys() == ledgers.keys()
    for rank, ledger in rehearsal.ledgers.items():
        assert json.loads(json.dumps(ledger.to_json())) == {
            key: value for key, value in ledgers[rank].items() if key not in ("rank", "role")
        }


def test_only_what_is_simulated_can_be_rehearsed() -> None:
    with pytest.raises(UserError, match="only simulated runs can be rehearsed, not processes"):
        lab.rehearse(specify("all-reduce", workers=2, cluster=Processes()), task=toy())
