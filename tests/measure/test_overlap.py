"""The three times of which overlap is made."""

import pytest
import torch
from toys import toy

from manyhands import lab
from manyhands.clusters.cluster import Processes
from manyhands.clusters.experiment import Experiment
from manyhands.clusters.processes.fleet import Fleet
from manyhands.measure.overlap import Overlap, time_alone, time_overlap
from manyhands.measure.steps import Steps
from manyhands.runs.specification import Specification


def test_exposed_and_overlap_are_the_formulas() -> None:
    overlap = Overlap(step=[10.0, 12.0, 11.0], nothing=[8.0, 9.0, 9.0], alone=[4.0, 4.0, 5.0])
    assert overlap.exposed.value == 2
    assert overlap.overlap.value == 0.5  # of 0.5, 0.25 and 0.6


@pytest.mark.parametrize(("step", "expected"), [(8.0, 1.0), (12.0, 0.0), (13.0, -0.25)])
def test_all_hidden_none_hidden_and_worse(step: float, expected: float) -> None:
    assert Overlap([step], [8.0], [4.0]).overlap.value == expected


def test_all_wait_for_the_slowest() -> None:
    answers = [{"step": [1.0, 5.0], "nothing": [1.0, 2.0], "alone": [3.0, 1.0]}] * 2
    answers[1] = {"step": [2.0, 4.0], "nothing": [1.5, 1.0], "alone": [1.0, 2.0]}
    assert Overlap.of(answers) == Overlap([2.0, 5.0], [1.5, 2.0], [3.0, 2.0])


def _experiment(workers: int) -> Experiment:
    cluster = Processes(threads=1, timeout=60)
    return lab.prepare(Specification(cluster=cluster, workers=workers, batch_size=16), toy())


def test_times_of_two_processes_for_real() -> None:
    with Fleet(2, Processes(threads=1, timeout=60)) as fleet:
        answers = fleet.call(time_overlap, _experiment(2), 2)
        assert all(len(each[kind]) == 2 for each in answers for kind in ("step", "nothing", "alone"))
        assert all(seconds > 0 for each in answers for times in each.values() for seconds in times)
        alone = fleet.call(time_alone, _experiment(2), 2)
        assert [len(times) for times in alone] == [2, 2]


def test_steps_train_a_little_and_return() -> None:
    steps = Steps(_experiment(1))
    before = steps.learner.initial_weights.clone()
    assert steps.samples == 16
    steps.take(3)
    moved = (steps._node.weights - before).norm()
    assert 0 < moved < 0.1
    assert torch.equal(steps.learner.initial_weights, before)
