"""Grids of runs, and what is made of them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manyhands.clusters.cluster import Processes, Simulated
from manyhands.errors import UserError
from manyhands.grid import (
    Grid,
    all_strategies,
    default_strategies,
    factors,
    label,
    resolve_stragglers,
    resolve_strategies,
)
from manyhands.runs.folder import RunFolder
from manyhands.runs.recorder import Observer
from manyhands.runs.specification import Specification
from manyhands.strategies import STRATEGIES, AllReduce, DataParallel, FedAvg, Gossip, LocalSGD, ParameterServer, Single
from manyhands.strategies.consistency import Async
from manyhands.strategies.topology import TOPOLOGIES, Complete
from manyhands.study import Begun, resume_study, run_study
from manyhands.tasks.partition import Dirichlet, Iid
from manyhands.tasks.task import Samples, Task
from manyhands.training.optimizer import SGD

BASE = Specification(epochs=2)


def test_where_one_worker_holds_all_data_nothing_is_skewed() -> None:
    skews = (Iid(), Dirichlet(0.1))
    grid = Grid(base=BASE, strategies=(DataParallel(), Gossip()), partitions=skews, cluster="simulated")
    partitions = [(run.strategy.name, str(run.partition)) for run in grid.specifications()]
    assert partitions == [
        ("single", "iid"), ("data-parallel", "iid"), ("gossip", "iid"), ("gossip", "dirichlet:0.1"),
    ]  # fmt: skip


def test_by_default_each_strategy_runs_once_with_a_baseline_for_each_clock() -> None:
    runs = Grid(base=BASE, strategies=default_strategies()).specifications()
    baselines, others = runs[:2], runs[2:]
    assert [(run.strategy.name, run.cluster.name, run.size) for run in baselines] == [
        ("single", "simulated", 1),
        ("single", "processes", 1),
    ]
    assert [run.strategy for run in others] == list(default_strategies())
    real = [run for run in others if isinstance(run.cluster, Processes)]
    assert [(run.strategy.name, run.size) for run in real] == [("all-reduce", 2)]
    assert all(run.size == 8 for run in others if run not in real)
    assert {run.strategy.name for run in others if isinstance(run.partition, Dirichlet)} == {"fedavg"}


def test_a_grid_has_every_combination_once() -> None:
    grid = Grid(
        base=BASE,
        strategies=(Gossip(), LocalSGD(), Single()),
        cluster="simulated",
        workers=(2, 4),
        partitions=(Dirichlet(0.1), Dirichlet(1.0)),
        batch_sizes=(16, 32),
        seeds=(0, 1, 2),
    )
    runs = grid.specifications()
    assert len(runs) == len({str(run.to_json()) for run in runs}) == (1 + 2 * 2 * 2) * 2 * 3
    assert all(run.partition == Iid() and run.size == 1 for run in runs if isinstance(run.strategy, Single))
    assert factors(runs) == ["strategy", "workers", "batch_size", "partition", "seed"]


def test_the_teaching_set_is_a_choice_and_all_is_all() -> None:
    default, every = default_strategies(), all_strategies()
    assert 6 <= len(default) == len(set(default)) <= 9
    assert set(default) < set(every)
    assert {strategy.name for strategy in every} == set(STRATEGIES) - {"single"}
    consistencies = [str(strategy) for strategy in every if strategy.name == "parameter-server"]
    assert len(consistencies) == 3
    assert set(resolve_strategies(["all", "gossip:topology=complete", "gossip"])) == {
        *every,
        Gossip(topology=Complete()),
    }


def conditions(runs: list[Specification]) -> list[tuple[str, tuple[str, ...]]]:
    shared = [run for run in runs if not isinstance(run.strategy, Single)]
    return [(str(run.partition), run.cluster.slow) for run in shared if isinstance(run.cluster, Simulated)]


def test_stragglers_are_crossed_with_skews_but_leave_the_baseline_alone() -> None:
    grid = Grid(
        base=BASE,
        strategies=(Gossip(), FedAvg()),
        cluster="simulated",
        partitions=(Iid(), Dirichlet(0.1)),
        stragglers=((), ("0:4",)),
    )
    runs = grid.specifications()
    crossed = [("iid", ()), ("iid", ("0:4",)), ("dirichlet:0.1", ()), ("dirichlet:0.1", ("0:4",))]
    assert conditions(runs) == crossed * 2
    (single,) = [run for run in runs if isinstance(run.strategy, Single)]
    assert single.cluster == Simulated()
    assert factors(runs) == ["strategy", "workers", "partition", "stragglers"]
    apart = replace(grid, one_at_a_time=True).specifications()
    assert conditions(apart) == crossed[:3] * 2


def test_with_stragglers_all_strategies_hold_the_same_samples() -> None:
    grid = Grid(base=BASE, strategies=(Gossip(), FedAvg()), cluster="simulated", stragglers=((), ("1:2",)))
    assert conditions(grid.specifications()) == [("iid", ()), ("iid", ("1:2",))] * 2


def test_real_runs_have_no_stragglers() -> None:
    runs = Grid(base=BASE, strategies=(AllReduce(), Gossip()), stragglers=((), ("0:4",))).specifications()
    assert [run.strategy.name for run in runs if isinstance(run.cluster, Processes)] == ["single", "all-reduce"]


def test_a_straggler_must_be_a_worker() -> None:
    grid = Grid(base=BASE, strategies=(ParameterServer(),), workers=(2,), cluster="simulated", stragglers=(("2:4",),))
    with pytest.raises(UserError, match="--stragglers names worker 2, but the workers are 0 … 1"):
        grid.specifications()


@given(factors=st.dictionaries(st.integers(0, 99), st.integers(1, 99), min_size=1, max_size=5))
def test_stragglers_read_back(factors: dict[int, int]) -> None:
    text = "+".join(f"{rank}:{factor}" for rank, factor in factors.items())
    assert Simulated(slow=resolve_stragglers(text)).slow_factors() == factors
    assert resolve_stragglers("none") == ()


def test_real_runs_have_a_real_baseline() -> None:
    runs = Grid(base=BASE, strategies=(AllReduce(),), cluster="processes", workers=(2, 3)).specifications()
    assert [(run.strategy.name, run.size) for run in runs] == [("single", 1), ("all-reduce", 2), ("all-reduce", 3)]
    assert all(isinstance(run.cluster, Processes) for run in runs)


def test_labels_tell_what_differs() -> None:
    fedavg = Specification(strategy=FedAvg(), partition=Dirichlet(0.3), seed=1, batch_size=16)
    everything = ["strategy", "cluster", "workers", "partition", "batch_size", "seed", "lr"]
    assert label(fedavg, everything) == "fedavg ×8 dirichlet:0.3 batch 16 seed 1"
    assert label(fedavg, ["strategy"]) == "fedavg"
    assert label(replace(fedavg, lr=0.1), everything) == "fedavg ×8 dirichlet:0.3 batch 16 lr 0.1 seed 1"
    assert label(fedavg, ["task"]) == "fedavg mnist-mini/lenet5"
    slow = replace(fedavg, cluster=Simulated(slow=("0:4", "3:2")))
    assert label(slow, ["partition", "stragglers"]) == "fedavg dirichlet:0.3 slow 0:4+3:2"
    assert label(fedavg, ["stragglers"]) == "fedavg"
    assert label(Specification(strategy=Single(), cluster=Processes()), everything) == "single real batch 32 seed 0"
    assert label(Specification(strategy=Gossip(topology=Complete())), ["workers"]) == "gossip:topology=complete ×8"


@pytest.mark.parametrize(
    "words",
    [
        ["gossip", "fedavg:fraction=0.5,local_epochs=2", "parameter-server:consistency=async"],
        ["gossip,fedavg:fraction=0.5,local_epochs=2,parameter-server:consistency=async"],
        ["gossip,fedavg:fraction=0.5,local-epochs=2", "parameter-server:consistency=async"],
    ],
)
def test_strategies_are_separated_by_spaces_or_commas(words: list[str]) -> None:
    wanted = (Gossip(), FedAvg(fraction=0.5, local_epochs=2), ParameterServer(consistency=Async()))
    assert resolve_strategies(words) == wanted


@pytest.mark.parametrize("topology", ["random-regular:3,seed=5", "edges:0-1,1-2,2>0", "networkx:cycle_graph,8"])
def test_values_with_commas_stay_whole(topology: str) -> None:
    wanted = (Gossip(topology=TOPOLOGIES.parse(topology)), FedAvg())
    assert resolve_strategies([f"gossip:topology={topology},fedavg"]) == wanted


@pytest.mark.parametrize("words", [["gosip"], ["gossip,"], [""], ["gossip:period=3"], ["fraction=0.5"]])
def test_strategies_that_do_not_exist(words: list[str]) -> None:
    with pytest.raises(UserError):
        resolve_strategies(words)


def task() -> Task:
    inputs = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    samples = Samples(inputs, (inputs[:, 0] > 0).long())
    return Task(model=lambda: torch.nn.Linear(3, 2), train=samples, test=samples)


class Shown:
    def __init__(self) -> None:
        self.labels: list[str] = []

    @contextmanager
    def __call__(self, label: str, specification: Specification) -> Iterator[Observer | None]:
        self.labels.append(label)
        yield None


def test_a_study_keeps_its_runs_together(tmp_path: Path) -> None:
    cluster = Simulated(threads=1)
    base = Specification(epochs=1, workers=2, cluster=cluster)
    runs = Grid(base=base, strategies=(Gossip(), LocalSGD()), cluster="simulated", workers=(2,)).specifications()
    show = Shown()
    folder = run_study("mine", runs, tmp_path / "study", task=task(), show=show)
    study = json.loads((folder.path / "study.json").read_text())
    assert study["name"] == "mine"
    assert study["factors"] == ["strategy", "workers"]
    assert study["runs"] == ["01-single", "02-gossip", "03-local-sgd"]
    assert show.labels == ["single", "gossip ×2", "local-sgd ×2"]
    assert all(RunFolder(folder.path / run).read_run()["status"] == "finished" for run in study["runs"])


def test_what_cannot_be_done_is_found_before_the_first_run(tmp_path: Path) -> None:
    runs = [Specification(workers=2, epochs=1), Specification(workers=41, epochs=1)]
    with pytest.raises(UserError, match="--workers 41 is more than the 40 training samples"):
        run_study("mine", runs, tmp_path / "study", task=task(), show=Shown())
    assert not (tmp_path / "study").exists()


def test_a_failed_run_does_not_stop_the_others(tmp_path: Path) -> None:
    runs = [
        Specification(workers=2, epochs=5, lr=1e38, optimizer=SGD(momentum=0.9), batch_size=5),
        Specification(workers=2, epochs=1, batch_size=5),
    ]
    folder = run_study("mine", runs, tmp_path / "study", task=task(), show=Shown())
    status = [RunFolder(folder.path / run).read_run()["status"] for run in ("01-all-reduce", "02-all-reduce")]
    assert status == ["failed", "finished"]


def interrupted(after: int, rows: int) -> Shown:
    """Shows runs, and stops the study at so many rows of the run after so many others."""

    class Stopping(Shown):
        @contextmanager
        def __call__(self, label: str, specification: Specification) -> Iterator[Observer | None]:
            self.labels.append(label)
            seen: list[object] = []

            def observe(row: object) -> None:
                seen.append(row)
                if len(self.labels) > after and len(seen) == rows:
                    raise KeyboardInterrupt

            yield observe

    return Stopping()


PLANNED = [
    Specification(workers=2, epochs=2, batch_size=5, cluster=Simulated(threads=1), strategy=strategy)
    for strategy in (AllReduce(), Gossip(), LocalSGD())
]


@pytest.mark.parametrize("rows", [1, 2])
def test_an_interrupted_study_goes_on_as_if_it_had_never_stopped(rows: int, tmp_path: Path) -> None:
    whole = run_study("mine", PLANNED, tmp_path / "whole", task=task(), show=Shown())
    with pytest.raises(KeyboardInterrupt):
        run_study("mine", PLANNED, tmp_path / "study", target=0.7, task=task(), show=interrupted(1, rows))
    begun = Begun.read(tmp_path / "study")
    assert list(begun.specifications) == PLANNED
    assert begun.target == 0.7
    assert begun.left == [1, 2]
    show = Shown()
    folder = resume_study(begun, task=task(), show=show)
    assert show.labels == ["gossip", "local-sgd"]
    assert folder.read_json("study.json")["runs"] == whole.read_json("study.json")["runs"]
    for name in folder.read_json("study.json")["runs"]:
        ours, theirs = RunFolder(folder.path / name), RunFolder(whole.path / name)
        assert ours.read_run()["status"] == "finished"
        assert ours.read_history() == theirs.read_history()
        assert (ours.path / "model.safetensors").read_bytes() == (theirs.path / "model.safetensors").read_bytes()


def test_a_finished_study_has_nothing_left(tmp_path: Path) -> None:
    folder = run_study("mine", PLANNED[:1], tmp_path / "study", task=task(), show=Shown())
    begun = Begun.read(folder.path)
    assert begun.left == []
    show = Shown()
    resume_study(begun, task=task(), show=show)
    assert show.labels == []


def test_a_run_that_had_hardly_begun_begins_again(tmp_path: Path) -> None:
    folder = run_study("mine", PLANNED[:2], tmp_path / "study", task=task(), show=Shown())
    for name, damage in (("01-all-reduce", "run.json"), ("02-gossip", "checkpoints")):
        run = RunFolder(folder.path / name)
        run.update_run(status="running")
        for checkpoint in run.checkpoints():
            checkpoint.rename(run.path / "elsewhere")
        if damage == "run.json":
            (run.path / "run.json").write_text("{")
    assert Begun.read(folder.path).left == [0, 1]
    resume_study(Begun.read(folder.path), task=task(), show=Shown())
    assert Begun.read(folder.path).left == []
    assert not list(folder.path.rglob("elsewhere"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is missing"),
        ("{", "is damaged"),
        ('{"runs": []}', "does not say which runs were planned"),
        ('{"runs": [], "specifications": [{"workers": "two"}]}', "cannot be used: workers in the specification"),
    ],
)
def test_what_is_no_study_cannot_be_gone_on_with(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "study.json").write_text(content)
    with pytest.raises(UserError, match=message):
        Begun.read(tmp_path)


def test_data_with_and_without_augmentation_are_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loaded: list[bool] = []

    def load(name: str, data_dir: Path | None, augment: bool) -> Task:
        loaded.append(augment)
        return task()

    monkeypatch.setattr("manyhands.study.load_task", load)
    runs = [replace(PLANNED[0], epochs=1, augment=augment, seed=seed) for augment in (False, True) for seed in (0, 1)]
    run_study("mine", runs, tmp_path / "study", show=Shown())
    assert loaded == [False, True]
