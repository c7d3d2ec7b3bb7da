import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, classification_report, confusion_matrix
from torch import Tensor, nn

from manyhands.errors import UserError
from manyhands.tasks.models import build
from manyhands.tasks.task import Samples, Task
from manyhands.training.evaluation import ByClient, Evaluation, evaluate
from manyhands.training.precision import Precision

FP32 = Precision(name="fp32", why="a test")


def task_of(inputs: Tensor, targets: Tensor, classes: int) -> Task:
    names = tuple(f"class {i}" for i in range(classes))
    samples = Samples(inputs, targets)
    return Task(model=nn.Identity, train=samples, test=samples, classes=names)


def evaluation_of(logits: Tensor, targets: Tensor) -> Evaluation:
    """The module is the identity: the inputs are the logits."""
    task = task_of(logits, targets, logits.shape[1])
    return evaluate(nn.Identity(), task, task.test, FP32, batch=7)


@given(samples=st.integers(1, 40), classes=st.integers(2, 6), known=st.integers(1, 6), seed=st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_figures_are_those_of_scikit_learn(samples: int, classes: int, known: int, seed: int) -> None:
    """Also where a class is never met or never predicted."""
    torch.manual_seed(seed)
    targets, logits = torch.randint(min(known, classes), (samples,)), torch.randn(samples, classes)
    evaluation = evaluation_of(logits, targets)

    labels, predicted = range(classes), logits.argmax(1)
    assert evaluation.confusion.tolist() == confusion_matrix(targets, predicted, labels=labels).tolist()
    assert evaluation.accuracy == pytest.approx(accuracy_score(targets, predicted))
    assert evaluation.loss == pytest.approx(nn.functional.cross_entropy(logits, targets).item(), rel=1e-5)
    theirs = classification_report(
        targets, predicted, labels=labels, target_names=evaluation.classes, output_dict=True, zero_division=0
    )
    report = evaluation.report()
    assert list(report) == [*evaluation.classes, "macro", "weighted"]
    for name, row in report.items():
        expected = theirs[f"{name} avg" if name in ("macro", "weighted") else name]
        assert row == pytest.approx({key.replace("f1-score", "f1"): value for key, value in expected.items()})


def test_confusion_has_true_classes_in_rows() -> None:
    logits = torch.tensor([[0.0, 9, 0], [0, 9, 0], [9, 0, 0]])
    evaluation = evaluation_of(logits, torch.tensor([2, 1, 0]))
    assert evaluation.confusion.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert evaluation.to_json()["per_class_accuracy"] == [1, 1, 0]


def test_json_holds_what_the_run_folder_promises() -> None:
    evaluation = evaluation_of(torch.randn(30, 3), torch.arange(30) % 3)
    data = json.loads(json.dumps(evaluation.to_json()))
    assert list(data) == ["accuracy", "loss", "classes", "per_class_accuracy", "confusion", "report"]
    assert data["classes"] == ["class 0", "class 1", "class 2"]
    assert sum(map(sum, data["confusion"])) == 30
    assert data["report"]["class 1"].keys() == {"precision", "recall", "f1", "support"}
    assert data["report"]["weighted"]["support"] == 30


def test_parts_add_up_to_the_whole_and_travel_as_json() -> None:
    logits, targets = torch.randn(25, 4), torch.randint(4, (25,))
    whole, task = evaluation_of(logits, targets), task_of(logits, targets, 4)
    parts = [evaluate(nn.Identity(), task, part, FP32) for part in task.test.parts(10)]
    merged = Evaluation.merge([Evaluation.from_state(json.loads(json.dumps(part.state()))) for part in parts])
    assert merged.classes == whole.classes
    assert np.array_equal(merged.confusion, whole.confusion)
    assert merged.loss == pytest.approx(whole.loss, rel=1e-6)


def test_mistakes_are_known_by_their_places_whatever_the_parts() -> None:
    torch.manual_seed(1)
    logits, targets = torch.randn(40, 3), torch.randint(3, (40,))
    task = task_of(logits, targets, 3)
    parts = [
        evaluate(nn.Identity(), task, part, FP32, batch=4, first=10 * place)
        for place, part in enumerate(task.test.parts(10))
    ]
    parts = [Evaluation.from_state(json.loads(json.dumps(part.state()))) for part in reversed(parts)]
    whole, guesses = Evaluation.merge(parts), logits.argmax(1)
    pairs = whole.most_confused(100)
    assert [count for _, _, count in pairs] == sorted((count for _, _, count in pairs), reverse=True)
    for true, predicted, count in pairs:
        places = ((targets == true) & (guesses == predicted)).nonzero().flatten().tolist()
        assert true != predicted
        assert len(places) == count
        assert whole.examples(true, predicted, 2) == places[:2]
    assert sum(count for _, _, count in pairs) == (guesses != targets).sum()
    assert whole.most_confused(2) == pairs[:2]


def test_mistakes_are_noted_where_they_are_asked_for() -> None:
    perfect = torch.eye(3)
    task = task_of(perfect, torch.arange(3), 3)
    assert evaluation_of(perfect, torch.arange(3)).examples(0, 1, 3) == []
    faultless = evaluate(nn.Identity(), task, task.test, FP32, first=0)
    assert faultless.mistakes is not None
    assert faultless.mistakes.shape == (0, 3)
    assert Evaluation.from_state(faultless.state()).most_confused(5) == []
    unasked = Evaluation.merge([faultless, evaluation_of(perfect, torch.arange(3))])
    assert unasked.mistakes is None


def test_images_are_prepared_and_batches_change_nothing() -> None:
    images, targets = torch.randint(256, (50, 1, 28, 28), dtype=torch.uint8), torch.randint(10, (50,))
    samples = Samples(images, targets)
    task = Task(model=nn.Identity, train=samples, test=samples, mean=(0.1,), std=(0.3,))
    module = build("mlp", (1, 28, 28), 10)
    expected = nn.functional.cross_entropy(module((images / 255 - 0.1) / 0.3), targets).item()
    for batch in (1, 16, 500):
        assert evaluate(module, task, task.test, FP32, batch=batch).loss == pytest.approx(expected, rel=1e-5)


def test_module_is_evaluated_in_its_mode_and_left_in_its_modes() -> None:
    module = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.9), nn.BatchNorm1d(3))
    module[2].eval()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    task = task_of(torch.randn(20, 3), torch.randint(3, (20,)), 3)
    first, second = (evaluate(module, task, task.test, FP32) for _ in range(2))
    assert first.loss_sum == second.loss_sum
    assert [part.training for part in module.modules()] == [True, True, True, False]
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_modes_come_back_after_an_error_too() -> None:
    module = nn.Linear(5, 3)
    task = task_of(torch.randn(4, 6), torch.randint(3, (4,)), 3)
    with pytest.raises(RuntimeError):
        evaluate(module, task, task.test, FP32)
    assert module.training


def test_loss_of_rounded_outputs_is_computed_in_float32() -> None:
    task = task_of(torch.randn(100, 4), torch.randint(4, (100,)), 4)
    module = nn.Linear(4, 4)
    exact = evaluate(module, task, task.test, FP32).loss
    rounded = evaluate(module, task, task.test, Precision(name="bf16", why="a test", channels_last=True)).loss
    assert 0 < abs(rounded - exact) < 1e-2


def test_outputs_of_another_number_of_classes_are_refused() -> None:
    task = task_of(torch.randn(4, 6), torch.randint(3, (4,)), 3)
    with pytest.raises(UserError, match=r"outputs must be \[b, 3\], one for each class, not \[4, 5\]"):
        evaluate(nn.Linear(6, 5), task, Samples(task.test.inputs, task.test.targets), FP32)


@given(samples=st.integers(1, 40), clients=st.integers(1, 9), seed=st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_one_pass_tells_of_every_client_what_a_pass_over_its_samples_does(
    samples: int, clients: int, seed: int
) -> None:
    torch.manual_seed(seed)
    targets, logits = torch.randint(4, (samples,)), torch.randn(samples, 4)
    owners = torch.randint(clients, (samples,)).numpy()
    task = task_of(logits, targets, 4)

    def of(part: Samples, owners: np.ndarray) -> Evaluation:
        return evaluate(nn.Identity(), task, part, FP32, batch=7, owners=owners, clients=clients)

    whole = of(task.test, owners)
    assert whole.by_client is not None
    for client in range(clients):
        mine = torch.from_numpy(owners == client)
        assert whole.by_client.samples[client] == mine.sum()
        if mine.any():
            alone = evaluate(nn.Identity(), task, Samples(logits[mine], targets[mine]), FP32)
            assert whole.by_client.right[client] == alone.confusion.trace()
            assert whole.by_client.loss_sums[client] == pytest.approx(alone.loss_sum)
    assert whole.by_client.loss_sums.sum() == pytest.approx(whole.loss_sum)

    pieces = np.split(owners, range(9, samples, 9))
    parts = [of(part, own) for part, own in zip(task.test.parts(9), pieces, strict=True)]
    merged = Evaluation.merge([Evaluation.from_state(json.loads(json.dumps(part.state()))) for part in parts])
    assert merged.by_client is not None
    assert merged.by_client.right.tolist() == whole.by_client.right.tolist()
    assert merged.by_client.samples.tolist() == whole.by_client.samples.tolist()
    assert merged.by_client.loss_sums == pytest.approx(whole.by_client.loss_sums)


def test_clients_that_were_evaluated_one_by_one_are_gathered() -> None:
    one = evaluation_of(torch.eye(3), torch.tensor([0, 1, 0]))
    gathered = ByClient.gather({3: one, 0: evaluation_of(torch.eye(2), torch.tensor([1, 1]))}, 5)
    assert gathered.samples.tolist() == [2, 0, 0, 3, 0]
    assert gathered.right.tolist() == [1, 0, 0, 2, 0]
    assert gathered.loss_sums[3] == pytest.approx(one.loss_sum)


def test_without_owners_nothing_is_told_of_clients() -> None:
    evaluation = evaluation_of(torch.eye(3), torch.tensor([0, 1, 0]))
    assert evaluation.by_client is None
    assert Evaluation.merge([evaluation, evaluation]).by_client is None
    assert Evaluation.from_state(evaluation.state()).by_client is None
