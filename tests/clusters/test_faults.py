"""Attackers and clients that vanish: who they are, what they send, and that a run has them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from manyhands import lab
from manyhands.clusters.cluster import Simulated
from manyhands.clusters.faults import (
    FAULTS,
    DropOut,
    Fault,
    Faulty,
    Gaussian,
    LabelFlip,
    ScaledUpdate,
    SignFlip,
    by_rank,
)
from manyhands.clusters.simulated.blank import blank
from manyhands.errors import UserError
from manyhands.grid import factors, label
from manyhands.runs.specification import Specification
from manyhands.strategies import parse_strategy
from manyhands.tasks.partition import PARTITIONS
from manyhands.tasks.task import Task
from manyhands.training.sampler import Sampler

repeatable = settings(derandomize=True, deadline=None, max_examples=50)

ATTACKS = ("label-flip", "sign-flip", "gaussian", "scaled-update")
WRITTEN = {
    "label-flip:0.2": LabelFlip(0.2),
    "sign-flip:0.2,scale=3.0": SignFlip(0.2, scale=3.0),
    "sign-flip:clients=0+3": SignFlip(clients="0+3"),
    "gaussian:0.5,std=2.0": Gaussian(0.5, std=2.0),
    "scaled-update:0.1": ScaledUpdate(0.1),
    "scaled-update:clients=7,factor=100.0": ScaledUpdate(clients="7", factor=100.0),
    "drop-out:0.1": DropOut(0.1),
    "drop-out:0.5,2+1": DropOut(0.5, clients="2+1"),
}


@pytest.mark.parametrize("text", WRITTEN)
def test_text_reads_back(text: str) -> None:
    assert FAULTS.parse(text) == WRITTEN[text]
    assert str(WRITTEN[text]) == text


def test_help_says_what_they_take() -> None:
    assert FAULTS.usage().startswith("label-flip:SHARE, sign-flip:SHARE, gaussian:SHARE, scaled-update:SHARE, drop-out")


@pytest.mark.parametrize("name", [name for name in FAULTS.members if name != "drop-out"])
def test_every_attack_names_its_paper(name: str) -> None:
    assert FAULTS.members[name].paper
    assert FAULTS.members[name].url.startswith("https://")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sign-flip", "give a share of the clients or name them, as in clients=0+3"),
        ("sign-flip:0.2,clients=1", "give a share of the clients or name them"),
        ("sign-flip:1.5", "share must lie in (0, 1], not 1.5"),
        ("sign-flip:-0.5", "share must lie in (0, 1], not -0.5"),
        ("sign-flip:nan", "share must lie in (0, 1], not nan"),
        ("sign-flip:clients=a+b", "clients takes ranks joined by +, e.g. 0+3, not 'a+b'"),
        ("sign-flip:clients=-1", "clients takes ranks joined by +, e.g. 0+3, not '-1'"),
        ("sign-flip:0.2,scale=0", "scale must be positive and finite, not 0"),
        ("gaussian:0.2,std=nan", "std must be positive and finite, not nan"),
        ("scaled-update:0.2,factor=inf", "factor must be positive and finite, not inf"),
        ("drop-out:0", "probability must lie in (0, 1], not 0"),
        ("drop-out:1.1", "probability must lie in (0, 1], not 1.1"),
        ("drop-out", "needs probability"),
        ("sabotage:0.2", "unknown fault 'sabotage': choose from label-flip:SHARE, sign-flip:SHARE"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UserError) as refusal:
        FAULTS.parse(text)
    assert complaint in str(refusal.value)


@pytest.mark.parametrize(
    ("fault", "strategy", "complaint"),
    [
        ("sign-flip:0.05", "fedavg", "--faults sign-flip:0.05: a share of 0.05 of 8 clients is nobody"),
        ("sign-flip:clients=0+8", "fedavg", "names client 8, but the clients are 0 … 7"),
        ("drop-out:0.1,clients=9", "fedavg", "names client 9, but the clients are 0 … 7"),
        ("sign-flip:0.5", "all-reduce", "--faults sign-flip:0.5: the workers of all-reduce have no server to lie to"),
        ("gaussian:0.5", "gossip", "use a federated strategy or parameter-server"),
        ("drop-out:0.5", "parameter-server", "the workers of parameter-server cannot miss a round"),
        ("label-flip:0.5", "data-parallel", "the workers of data-parallel hold no samples of their own"),
    ],
)
def test_what_a_strategy_cannot_have_is_refused(fault: str, strategy: str, complaint: str) -> None:
    with pytest.raises(UserError) as refusal:
        Specification(strategy=parse_strategy(strategy), faults=(FAULTS.parse(fault),), workers=8)
    assert complaint in str(refusal.value)


# ---- who


@repeatable
@given(seed=st.integers(0, 10**6), workers=st.integers(2, 99), shares=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)))
def test_a_larger_share_holds_a_smaller_one(seed: int, workers: int, shares: tuple[float, float]) -> None:
    few, many = (SignFlip(share).ranks(workers, seed) for share in sorted(shares))
    assert set(few) <= set(many) <= set(range(workers))
    assert [len(few), len(many)] == [round(share * workers) for share in sorted(shares)]
    assert many == sorted(set(many))
    assert LabelFlip(max(shares)).ranks(workers, seed) == many


def test_seeds_draw_other_attackers() -> None:
    assert len({tuple(SignFlip(0.3).ranks(50, seed)) for seed in range(20)}) == 20


def test_each_worker_has_its_faults_in_order() -> None:
    faults = SignFlip(clients="2+0"), DropOut(0.5), Gaussian(clients="2")
    assert by_rank(faults, 3, 0) == {0: faults[:2], 1: (faults[1],), 2: faults}
    assert by_rank((), 3, 0) == {}


# ---- what


class Worker(Faulty):
    def __init__(self, *faults: Fault, rank: int = 1, seed: int = 5) -> None:
        self.rank, self.seed, self.faults = rank, seed, faults
        self.sampler = Sampler(np.arange(6), 2, seed, rank)


REPLY = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([4.0])


def flat(reply: tuple[Tensor, ...]) -> list[float]:
    return torch.cat(reply).tolist()


def test_who_has_no_fault_sends_what_it_has() -> None:
    assert Worker().corrupt(REPLY) is REPLY
    assert Worker(LabelFlip(1.0), DropOut(1.0)).corrupt(REPLY) is REPLY


def test_attackers_send_something_else() -> None:
    assert flat(Worker(SignFlip(1.0)).corrupt(REPLY)) == [-1, 2, -0.5, -4]
    assert flat(Worker(SignFlip(1.0, scale=3)).corrupt(REPLY)) == [-3, 6, -1.5, -12]
    assert flat(Worker(ScaledUpdate(1.0, factor=10)).corrupt(REPLY)) == [10, -20, 5, 40]
    assert flat(Worker(ScaledUpdate(1.0), SignFlip(1.0)).corrupt(REPLY)) == [-10, 20, -5, -40]
    assert flat(REPLY) == [1, -2, 0.5, 4]


def test_gaussian_noise_is_new_each_time_and_the_seeds_own() -> None:
    worker, zeros = Worker(Gaussian(1.0, std=2)), (torch.zeros(10_000),)
    first = worker.corrupt(zeros)[0]
    assert torch.equal(first, worker.corrupt(zeros)[0])  # nothing was trained in between
    worker.sampler.next_batch()
    others = [
        worker.corrupt(zeros)[0],
        Worker(Gaussian(1.0, std=2), rank=2).corrupt(zeros)[0],
        Worker(Gaussian(1.0, std=2), seed=6).corrupt(zeros)[0],
    ]
    assert all(abs(float(torch.dot(first, other))) < 4 * 200 * 2 for other in others)
    assert float(first.std()) == pytest.approx(2, rel=0.05)
    one, two = Worker(Gaussian(1.0)).corrupt((torch.zeros(9), torch.zeros(9)))
    assert not torch.equal(one, two)


@pytest.mark.parametrize("fault", [SignFlip(1.0), Gaussian(1.0), ScaledUpdate(1.0)])
def test_replies_without_values_keep_their_shapes(fault: Fault) -> None:
    corrupted = Worker(fault).corrupt(tuple(map(blank, REPLY)))
    assert [(vector.shape, vector.is_meta) for vector in corrupted] == [((3,), True), ((1,), True)]


def test_clients_drop_out_as_often_as_they_should() -> None:
    worker = Worker(DropOut(0.3))
    gone = [worker.drops_out(number) for number in range(2000)]
    assert sum(gone) / 2000 == pytest.approx(0.3, abs=0.04)
    assert gone == [worker.drops_out(number) for number in range(2000)]
    assert gone != [Worker(DropOut(0.3), rank=2).drops_out(number) for number in range(2000)]
    assert all(Worker(DropOut(1.0)).drops_out(number) for number in range(20))
    assert not Worker(SignFlip(1.0)).drops_out(0)


# ---- in a run


def make_task() -> Task:
    inputs = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))
    targets = inputs[:, :3].argmax(1)
    return Task(model=model, train=(inputs, targets), test=(inputs, targets), name="custom/faulty")


def model() -> nn.Module:
    return nn.Linear(4, 3)


def specify(strategy: str, *faults: str, **options: Any) -> Specification:
    given_: dict[str, Any] = {"workers": 4, "batch_size": 8, "lr": 0.1, "cluster": Simulated(threads=1)}
    members = tuple(map(FAULTS.parse, faults))
    return Specification(strategy=parse_strategy(strategy), faults=members, **(given_ | options))


def weights_of(specification: Specification, folder: Path, task: Task | None = None) -> Tensor:
    lab.train(specification, task=task or make_task(), out=folder)
    return torch.cat([tensor.flatten() for _, tensor in sorted(load_file(folder / "model.safetensors").items())])


def initial(specification: Specification) -> Tensor:
    module = lab.prepare(specification, make_task()).make_learner().module
    return torch.cat([tensor.detach().flatten() for _, tensor in sorted(module.state_dict().items())])


@pytest.mark.parametrize(("fault", "times"), [("sign-flip:1", -1), ("scaled-update:1,factor=3", 3)])
def test_where_all_attack_the_model_goes_where_they_want(fault: str, times: float, tmp_path: Path) -> None:
    honest, spoilt = specify("fedavg", rounds=1), specify("fedavg", fault, rounds=1)
    start = initial(honest)
    change = weights_of(honest, tmp_path / "honest") - start
    assert torch.allclose(weights_of(spoilt, tmp_path / "spoilt") - start, times * change, atol=1e-6)


def test_a_parameter_server_can_be_lied_to_as_well(tmp_path: Path) -> None:
    one_step = {"epochs": 1, "batch_size": 24}
    honest, spoilt = (specify("parameter-server", *faults, **one_step) for faults in ((), ("sign-flip:1",)))
    start = initial(honest)
    change = weights_of(honest, tmp_path / "honest") - start
    assert torch.allclose(weights_of(spoilt, tmp_path / "spoilt") - start, -change, atol=1e-6)


def test_wrong_labels_are_those_of_the_attackers_samples() -> None:
    specification = specify("fedavg", "label-flip:clients=1+2", partition=PARTITIONS.parse("dirichlet:0.5"), rounds=1)
    experiment = lab.prepare(specification, make_task())
    true, trained = experiment.task.train.targets, experiment.placed_task.train.targets
    for rank, part in enumerate(experiment.parts):
        assert torch.equal(trained[part], 2 - true[part] if rank in (1, 2) else true[part])
    assert torch.equal(experiment.placed_task.test.targets, experiment.task.test.targets)
    assert torch.equal(true, make_task().train.targets)


def test_who_flips_all_labels_trains_on_the_other_task(tmp_path: Path) -> None:
    task = make_task()
    turned = replace(task, train=(task.train.inputs, 2 - task.train.targets))
    flipped = weights_of(specify("fedavg", "label-flip:1", "label-flip:0.5", rounds=2), tmp_path / "flipped")
    assert torch.equal(flipped, weights_of(specify("fedavg", rounds=2), tmp_path / "turned", turned))
    counts = [json.loads((tmp_path / name / "partition.json").read_text())["counts"] for name in ("flipped", "turned")]
    assert counts[0] == [row[::-1] for row in counts[1]]  # what the samples are, not what is said of them


def test_a_round_from_which_all_drop_out_changes_nothing(tmp_path: Path) -> None:
    specification = specify("fedavg", "drop-out:1", rounds=3)
    assert torch.equal(weights_of(specification, tmp_path / "run"), initial(specification))


def test_who_drops_out_is_left_out_of_the_mean(tmp_path: Path) -> None:
    """Clients 1 and 3 are never there: what is left is a run in which only the others are in the cohort."""
    specification = specify("fedavg", "drop-out:1,clients=1+3", rounds=1)
    start, found = initial(specification), weights_of(specification, tmp_path / "run")
    alone = [
        weights_of(specify("fedavg", f"drop-out:1,clients={others}", rounds=1), tmp_path / others) - start
        for others in ("1+2+3", "0+1+3")
    ]
    assert torch.allclose(found - start, (alone[0] + alone[1]) / 2, atol=1e-6)  # both hold 24 samples


def test_a_run_keeps_its_faults_and_repeats_them(tmp_path: Path) -> None:
    specification = specify("fedavg", "gaussian:0.5,std=0.1", "drop-out:0.3", rounds=3)
    data = json.loads(json.dumps(specification.to_json()))
    assert data["faults"] == ["gaussian:0.5,std=0.1", "drop-out:0.3"]
    assert Specification.from_json(data) == specification
    one, other = (weights_of(specification, tmp_path / name) for name in ("one", "other"))
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("sign-flip:1", "faults in the specification must be list, not 'sign-flip:1'"),
        ([3], "faults in the specification must be str, not 3"),
        (["sabotage"], "unknown fault 'sabotage'"),
    ],
)
def test_a_damaged_specification_is_refused(value: Any, complaint: str) -> None:
    with pytest.raises(UserError) as refusal:
        Specification.from_json(specify("fedavg").to_json() | {"faults": value})
    assert complaint in str(refusal.value)


def test_a_study_tells_faults_apart() -> None:
    runs = [specify("fedavg"), specify("fedavg", "sign-flip:0.25", "drop-out:0.5")]
    assert factors(runs) == ["faults"]
    assert [label(run, ["faults"]) for run in runs] == ["fedavg", "fedavg sign-flip:0.25+drop-out:0.5"]
