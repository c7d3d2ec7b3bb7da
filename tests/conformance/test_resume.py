"""A run that was interrupted and resumed is the run without a stop, bit for bit."""

from pathlib import Path

import pytest
from table import VARIANTS, Interrupt, Run, craft, specify, train
from toys import Dropped, toy

from manyhands import lab
from manyhands.clusters.cluster import Simulated
from manyhands.runs.folder import RunFolder
from manyhands.runs.specification import Specification
from manyhands.strategies import parse_strategy
from manyhands.tasks.partition import PARTITIONS
from manyhands.training.schedule import Cosine


def harsh(variant: str) -> Specification:
    """Everything that has a state: momentum, schedule, jitter, a straggler, unequal parts, norms and dropout."""
    return specify(
        variant,
        workers=4,
        epochs=4,
        batch_size=9,
        cluster=Simulated(jitter=0.3, slow=("0:3",), threads=1),  # their number changes nothing: test_determinism
        optimizer=craft(variant),
        schedule=Cosine(),
        warm_up=1,
        partition=PARTITIONS.parse("iid" if parse_strategy(variant).pools_data else "dirichlet:0.7"),
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_resumed_again_and_again_is_uninterrupted(variant: str, tmp_path: Path) -> None:
    """Interrupted before the first epoch or round was saved, before the second, and before the last."""
    task, specification = toy(Dropped, 120), harsh(variant)
    whole = train(specification, task, tmp_path / "whole")
    broken = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt, match="broken"):
        train(specification, task, broken, observer=Interrupt(1))
    for number, after in enumerate((2, specification.total)):
        assert RunFolder(broken).read_run()["status"] == "stopped"
        assert RunFolder(broken).read_checkpoint()[0]["completed"] == number
        with pytest.raises(KeyboardInterrupt, match="broken"):
            lab.resume(broken, task=task, observer=Interrupt(after))
    resumed = Run(lab.resume(broken, task=task))
    assert resumed.files() == whole.files()
    assert RunFolder(broken).read_run()["status"] == "finished"
    assert [row["completed"] for row in resumed.history] == list(range(specification.total + 1))


RESUMED = [
    *("gossip", "parameter-server:consistency=async", "ad-psgd", "fedavg:fraction=0.5", "scaffold:fraction=0.5"),
    *("fedbuff:buffer=3,fraction=0.5", "fedopt:fraction=0.5", "fedper:fraction=0.5"),
]


@pytest.mark.parametrize("variant", RESUMED)
def test_resumed_from_an_evaluation_some_epochs_ago(variant: str, tmp_path: Path) -> None:
    """Interrupted when epochs 3 and 4 have not been saved yet: they are done again."""
    task = toy(Dropped, 120)
    specification = specify(variant, workers=4, epochs=6, evaluate_every=2, cluster=Simulated(jitter=0.3))
    assert specification.total >= 6
    whole = train(specification, task, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(specification, task, tmp_path / "broken", observer=Interrupt(4))
    assert Run(lab.resume(tmp_path / "broken", task=task)).files() == whole.files()
