"""What an evaluation tells of each client, against plain torch on the client's own test samples."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from manyhands import lab
from manyhands.clusters.cluster import Simulated
from manyhands.clusters.experiment import Experiment
from manyhands.clusters.node import Node
from manyhands.runs.folder import RunFolder
from manyhands.runs.recorder import Checkpoint
from manyhands.runs.specification import Specification
from manyhands.strategies import FedAvg, parse_strategy
from manyhands.strategies.federated import Tensors
from manyhands.tasks.partition import PARTITIONS
from manyhands.tasks.pictures import picture
from manyhands.tasks.task import Task
from manyhands.training.learner import Learner

TESTS = 60


class Net(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))


def make_task(tests: int = TESTS, **options: Any) -> Task:
    """Images of 4 × 4 numbers in three overlapping classes."""
    generator = torch.Generator().manual_seed(7)
    targets = torch.arange(150 + tests) % 3
    inputs = torch.randn(150 + tests, 1, 4, 4, generator=generator)
    inputs[:, 0, 0, :3] += 1.5 * torch.eye(3)[targets]
    return Task(model=Net, train=(inputs[:150], targets[:150]), test=(inputs[150:], targets[150:]), **options)


def specify(strategy: Any = "fedavg", **options: Any) -> Specification:
    strategy = parse_strategy(strategy) if isinstance(strategy, str) else strategy
    defaults = {"workers": 6, "rounds": 3, "batch_size": 8, "lr": 0.2, "seed": 3}
    partition = PARTITIONS.parse(options.pop("partition", "dirichlet:0.5"))
    return Specification(strategy=strategy, partition=partition, **(defaults | options))


def run(specification: Specification, folder: Path, task: Task | None = None) -> tuple[Experiment, RunFolder]:
    task = task or make_task()
    lab.train(specification, task=task, out=folder)
    return lab.prepare(specification, task), RunFolder(folder)


def at_own_samples(weights: Tensor, experiment: Experiment, rank: int) -> tuple[float, float] | None:
    """Loss and accuracy of these weights on a client's test samples, by plain torch."""
    part = torch.from_numpy(experiment.test_parts[rank])
    if not len(part):
        return None
    net, test = Net(), experiment.placed_task.test
    vector_to_parameters(weights, net.parameters())
    logits, targets = net(test.inputs[part]), test.targets[part]
    return F.cross_entropy(logits, targets).item(), (logits.argmax(1) == targets).float().mean().item()


def final_weights(folder: RunFolder) -> Tensor:
    net = Net()
    net.load_state_dict(load_file(folder.path / "model.safetensors"))
    return parameters_to_vector(net.parameters()).detach()


def assert_told(told: list[float | None], expected: list[float | None]) -> None:
    assert told == [value if value is None else pytest.approx(value, abs=2e-5) for value in expected]


def test_every_client_is_tested_on_its_own_samples(tmp_path: Path) -> None:
    experiment, folder = run(specify(), tmp_path / "run")
    rows, history = folder.read_rows("clients.jsonl"), folder.read_history()
    assert [row["completed"] for row in rows] == [row["completed"] for row in history] == [0, 1, 2, 3]
    found = [at_own_samples(final_weights(folder), experiment, rank) for rank in range(6)]
    assert_told(rows[-1]["loss"], [client and client[0] for client in found])
    assert_told(rows[-1]["accuracy"], [client and client[1] for client in found])
    sizes = [len(part) for part in experiment.test_parts]
    whole = sum(size * (accuracy or 0) for size, accuracy in zip(sizes, rows[-1]["accuracy"], strict=True)) / TESTS
    assert history[-1]["test_accuracy"] == pytest.approx(whole, abs=1e-5)
    known = [accuracy for accuracy in rows[-1]["accuracy"] if accuracy is not None]
    assert history[-1]["worst_decile"] == pytest.approx(min(known), abs=1e-5)
    assert history[-1]["spread"] == pytest.approx(np.std(known), abs=1e-5)
    assert folder.read_json("partition.json")["test_samples"] == sizes


def test_before_the_first_round_nobody_has_trained(tmp_path: Path) -> None:
    _, folder = run(specify(rounds=1), tmp_path / "run")
    row, history = folder.read_rows("clients.jsonl")[0], folder.read_history()[0]
    assert (row["ranks"], row["train_loss"], row["own_loss"], row["own_accuracy"]) == ([], [], [], [])
    assert (history["personal_accuracy"], history["personalisation_gain"]) == (None, None)
    assert history["worst_decile"] is not None


class Watched(FedAvg):
    """Keeps what each client had at the end of its local steps."""

    seen: ClassVar[dict[int, Tensor]] = {}
    losses: ClassVar[dict[int, float]] = {}

    async def client(self, node: Node, received: Tensors) -> Tensors:
        reply = await super().client(node, received)
        self.seen[node.rank] = node.weights.clone()
        self.losses[node.rank] = node.loss_sum / node.loss_samples
        return reply


def test_what_clients_made_of_it_is_tested_too(tmp_path: Path) -> None:
    Watched.seen.clear()
    experiment, folder = run(specify(Watched(fraction=0.5), rounds=1), tmp_path / "run")
    row, history = folder.read_rows("clients.jsonl")[-1], folder.read_history()[-1]
    assert row["ranks"] == sorted(Watched.seen)
    assert len(row["ranks"]) == 3
    assert_told(row["train_loss"], [Watched.losses[rank] for rank in row["ranks"]])
    found = {rank: at_own_samples(Watched.seen[rank], experiment, rank) for rank in row["ranks"]}
    assert_told(row["own_loss"], [found[rank] and found[rank][0] for rank in row["ranks"]])
    assert_told(row["own_accuracy"], [found[rank] and found[rank][1] for rank in row["ranks"]])
    sizes = {rank: len(experiment.test_parts[rank]) for rank in row["ranks"]}
    own = sum(sizes[rank] * client[1] for rank, client in found.items() if client) / sum(sizes.values())
    given = sum(sizes[rank] * (row["accuracy"][rank] or 0) for rank in row["ranks"]) / sum(sizes.values())
    assert history["personal_accuracy"] == pytest.approx(own, abs=1e-5)
    assert history["personalisation_gain"] == pytest.approx(own - given, abs=1e-5)


def test_with_evaluations_now_and_then_all_who_trained_are_named_and_the_last_are_tested(tmp_path: Path) -> None:
    _, folder = run(specify("fedavg:fraction=0.34", rounds=4, evaluate_every=2), tmp_path / "run")
    rows = folder.read_rows("clients.jsonl")
    assert [row["completed"] for row in rows] == [0, 2, 4]
    for row in rows[1:]:
        assert 2 <= len(row["ranks"]) <= 4
        assert sum(accuracy is not None for accuracy in row["own_accuracy"]) <= 2


def test_one_pass_over_the_test_set_and_what_the_cohort_is_tested_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: Counter[str] = Counter()
    evaluate = Learner.evaluate

    def counting(self: Learner, weights: Tensor, samples: Any, *owners: Any, **more: Any) -> Any:
        looked["samples"] += len(samples)
        return evaluate(self, weights, samples, *owners, **more)

    monkeypatch.setattr(Learner, "evaluate", counting)
    experiment, folder = run(specify("fedavg:fraction=0.34", cluster=Simulated(threads=1)), tmp_path / "run")
    cohorts = [row["ranks"] for row in folder.read_rows("clients.jsonl")]
    own = sum(len(experiment.test_parts[rank]) for ranks in cohorts for rank in ranks)
    assert looked["samples"] == 4 * TESTS + own


def test_a_method_without_local_steps_has_nothing_of_its_clients_to_test(tmp_path: Path) -> None:
    _, folder = run(specify("fedsgd"), tmp_path / "run")
    row = folder.read_rows("clients.jsonl")[-1]
    assert len(row["ranks"]) == 6
    assert set(row["own_accuracy"]) == {None}
    assert folder.read_history()[-1]["personal_accuracy"] is None


def test_where_layers_stay_with_the_clients_each_is_tested_with_its_own(tmp_path: Path) -> None:
    specification = specify("fedper:fraction=0.5", rounds=2)
    experiment, folder = run(specification, tmp_path / "run")
    checkpoint, learner = Checkpoint.load(folder), experiment.make_learner()
    node = experiment.make_nodes(learner)(0)
    mask = specification.strategy.personal(node.layout)
    assert mask is not None
    found, right = [], 0.0
    for rank in range(6):
        weights = final_weights(folder)
        kept = checkpoint.tensors_of(rank).get("state/personal")
        weights[mask] = learner.initial_weights[mask] if kept is None else kept
        found.append(at_own_samples(weights, experiment, rank))
        right += (found[-1] or (0, 0))[1] * len(experiment.test_parts[rank])
    row, history = folder.read_rows("clients.jsonl")[-1], folder.read_history()[-1]
    assert_told(row["loss"], [client and client[0] for client in found])
    assert_told(row["accuracy"], [client and client[1] for client in found])
    assert history["test_accuracy"] == pytest.approx(right / TESTS, abs=1e-6)
    assert folder.read_json("evaluation.json")["accuracy"] == history["test_accuracy"]
    untrained = [rank for rank in range(6) if "state/personal" not in checkpoint.tensors_of(rank)]
    trained = {rank for past in folder.read_rows("clients.jsonl") for rank in past["ranks"]}
    assert set(untrained) == set(range(6)) - trained


def test_clients_may_be_more_than_test_samples(tmp_path: Path) -> None:
    experiment, folder = run(specify(workers=40, partition="iid"), tmp_path / "run", make_task(tests=10))
    row = folder.read_rows("clients.jsonl")[-1]
    assert [accuracy is None for accuracy in row["accuracy"]] == [not len(part) for part in experiment.test_parts]
    assert row["ranks"] == list(range(40))
    assert [accuracy is None for accuracy in row["own_accuracy"]] == [accuracy is None for accuracy in row["accuracy"]]
    assert folder.read_history()[-1]["personalisation_gain"] is not None


def test_strategies_without_rounds_tell_nothing_of_clients(tmp_path: Path) -> None:
    _, folder = run(specify("gossip", rounds=None, epochs=1), tmp_path / "run")
    assert not (folder.path / "clients.jsonl").exists()
    assert "worst_decile" not in folder.read_history()[-1]
    assert "test_samples" not in folder.read_json("partition.json")


def test_of_workers_that_are_no_clients_the_training_loss_is_told(tmp_path: Path) -> None:
    _, folder = run(specify("gossip", rounds=None, epochs=2), tmp_path / "run")
    rows, history = folder.read_rows("workers.jsonl"), folder.read_history()
    assert [row["completed"] for row in rows] == [0, 1, 2]
    assert rows[0]["train_loss"] == [None] * 6
    assert len(set(rows[1]["train_loss"])) == 6
    assert min(rows[2]["train_loss"]) < history[2]["train_loss"] < max(rows[2]["train_loss"])
    _, alone = run(specify("single", rounds=None, epochs=1, workers=1), tmp_path / "single")
    _, clients = run(specify(), tmp_path / "clients")
    assert not any((other.path / "workers.jsonl").exists() for other in (alone, clients))


def test_pictures_of_the_classes_taken_for_each_other_most_are_kept(tmp_path: Path) -> None:
    experiment, folder = run(specify("gossip", rounds=None, epochs=1, partition="iid"), tmp_path / "run")
    evaluation, test = folder.read_json("evaluation.json"), experiment.task.test
    assert evaluation["confused"]
    net = Net()
    vector_to_parameters(final_weights(folder), net.parameters())
    guesses = net(test.inputs).argmax(1)
    for pair in evaluation["confused"]:
        places = ((test.targets == pair["true"]) & (guesses == pair["predicted"])).nonzero().flatten().tolist()
        assert pair["count"] == len(places) == evaluation["confusion"][pair["true"]][pair["predicted"]]
        assert pair["images"] == [picture(test.inputs[place]) for place in places[:3]]
    counts = [pair["count"] for pair in evaluation["confused"]]
    assert counts == sorted(counts, reverse=True)


def test_mistakes_have_no_pictures_where_there_are_none_to_show(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = torch.randn(60, 16), torch.arange(60) % 3
    _, folder = run(specify("gossip", rounds=None, epochs=1), tmp_path / "run", Task(model=Net, train=data, test=data))
    assert "confused" not in folder.read_json("evaluation.json")
    _, own = run(specify("fedper"), tmp_path / "own")  # each client's own layers make its own mistakes
    assert "confused" not in own.read_json("evaluation.json")


def test_what_the_server_counts_is_in_the_history(tmp_path: Path) -> None:
    _, folder = run(specify("fedavg:fraction=0.5"), tmp_path / "run")
    assert [row.get("figures", {}).get("replies") for row in folder.read_history()] == [None, 3, 6, 9]


# ---- feature skew


def test_a_clients_samples_are_changed_in_training_and_in_testing(tmp_path: Path) -> None:
    specification = specify(partition="iid+rotation:90")
    experiment, folder = run(specification, tmp_path / "run")
    task = make_task()
    for placed, plain, parts in (
        (experiment.placed_task.train, task.train, experiment.parts),
        (experiment.placed_task.test, task.test, experiment.test_parts),
    ):
        for rank, part in enumerate(parts):
            expected = torch.rot90(plain.inputs[part], rank, dims=(2, 3))
            assert torch.allclose(placed.inputs[part], expected, atol=1e-5)
    assert torch.equal(experiment.task.train.inputs, task.train.inputs)
    found = [at_own_samples(final_weights(folder), experiment, rank) for rank in range(6)]
    assert_told(folder.read_rows("clients.jsonl")[-1]["accuracy"], [client and client[1] for client in found])
    assert lab.evaluate(folder.path, task=task).accuracy == folder.read_history()[-1]["test_accuracy"]


def test_noise_is_the_same_every_time_and_another_with_another_seed() -> None:
    def inputs(seed: int) -> Tensor:
        return lab.prepare(specify(partition="noise:0.3", seed=seed), make_task()).placed_task.test.inputs

    assert torch.equal(inputs(1), inputs(1))
    assert not torch.equal(inputs(1), inputs(2))


def test_the_pictures_of_a_feature_skew_are_kept(tmp_path: Path) -> None:
    specification = specify(partition="dirichlet:0.5+rotation:30", rounds=1)
    _, folder = run(specification, tmp_path / "run")
    partition = folder.read_json("partition.json")
    assert partition["partition"] == "dirichlet:0.5+rotation:30.0"
    assert [portrait["worker"] for portrait in partition["portraits"]] == list(range(6))
    assert "turned counter-clockwise" in partition["about"]
    assert json.loads((folder.path / "run.json").read_text())["specification"]["partition"] == partition["partition"]


# ---- natural groups


def test_a_tasks_own_groups_are_its_clients(tmp_path: Path) -> None:
    groups = np.arange(150) * 7 % 6
    experiment, folder = run(specify(partition="groups"), tmp_path / "run", make_task(groups=groups))
    assert [part.tolist() for part in experiment.parts] == [np.flatnonzero(groups == own).tolist() for own in range(6)]
    assert folder.read_run()["specification"]["partition"] == "groups"
    few = lab.prepare(specify(partition="groups", samples=60), make_task(groups=groups))
    assert [part.tolist() for part in few.parts] == [np.flatnonzero(groups[:60] == own).tolist() for own in range(6)]
