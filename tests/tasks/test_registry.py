import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from manyhands.errors import UserError
from manyhands.tasks.augmentation import Augmentation
from manyhands.tasks.registry import load_task, outline_task, parse_name, plain_name, task_names
from manyhands.tasks.task import Task


def test_a_task_by_name() -> None:
    task = load_task("mnist-mini/lenet5")
    assert task.name == "mnist-mini/lenet5"
    assert task.input_shape == (1, 28, 28)
    assert (len(task.train), len(task.test)) == (6_000, 1_000)
    assert task.classes == tuple("0123456789")
    assert task.augmentation is None
    prepared = task.prepare(task.train.inputs)
    assert abs(prepared.mean()) < 0.02
    assert abs(prepared.std() - 1) < 0.02
    assert task.model()(prepared[:2]).shape == (2, 10)


def test_augmentation_is_the_data_sets() -> None:
    assert load_task("mnist-mini/mlp", augment=True).augmentation == Augmentation(padding=2, flip=False)


def test_model_options() -> None:
    task = load_task("mnist-mini/resnet18:norm=group,width=8")
    assert any(isinstance(module, torch.nn.GroupNorm) for module in task.model().modules())


@pytest.mark.parametrize("make", [load_task, outline_task])
def test_pixels_can_be_left_as_they_are(make: Callable[[str], Task]) -> None:
    """NIID-Bench does not normalise MNIST."""
    raw, usual = make("mnist-mini/niid-cnn:normalise=false"), make("mnist-mini/niid-cnn:normalise=true")
    assert raw.name == "mnist-mini/niid-cnn:normalise=false"
    assert (raw.mean, raw.std) == (None, None)
    assert (usual.mean, usual.std) == ((0.1307,), (0.3081,))
    images = load_task("mnist-mini/logistic").train.inputs[:100]
    assert torch.equal(raw.prepare(images), images / 255)


def test_loading_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    load_task("mnist-mini/resnet18:width=8")
    assert torch.equal(torch.get_rng_state(), before)


def test_models_travel_to_other_processes() -> None:
    model = pickle.loads(pickle.dumps(load_task("mnist-mini/mlp").model))
    assert isinstance(model(), torch.nn.Module)


@pytest.mark.parametrize("name", ["mnist-mini", "mnits/lenet5", "mnist-mini/lenet6", "", "mnist-mini/lenet5/2"])
def test_unknown_names_list_what_there_is(name: str) -> None:
    with pytest.raises(UserError, match=f"unknown task '{name}'.* mnist, .*lenet5") as caught:
        load_task(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnist-mini/resnet18:group", "OPTION=VALUE, not 'group'"),
        ("mnist-mini/resnet18:width=8,width=9", "once, as OPTION=VALUE, not 'width=9'"),
        ("mnist-mini/resnet18:width=wide", "width must be a whole number"),
        ("mnist-mini/lenet5:width=8", "'lenet5' has no option 'width'"),
        ("mnist-mini/lenet5:normalise=no", "normalise must be true or false, not 'no'"),
        ("mnist-mini/lenet5:normalise=true,normalise=false", "once, as OPTION=VALUE, not 'normalise=false'"),
    ],
)
def test_bad_options(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_task(name)


def test_a_bad_option_is_told_before_data_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="width"):
        load_task("cifar10/resnet18:width=0", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_all_names_can_be_taken_apart() -> None:
    names = task_names()
    assert len(set(names)) == len(names)
    assert "cifar100/resnet152" in names
    for name in names:
        dataset, model, options = parse_name(name)
        assert (f"{dataset}/{model}", options) == (name, {})


def test_names_need_no_torch() -> None:
    modules = "manyhands.tasks.datasets.inspection, manyhands.tasks.partition, manyhands.tasks.registry"
    command = f"import sys, {modules}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", command], check=True)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "shape"),
    [("mnist/cnn", (1, 28, 28)), ("fashion-mnist/mlp", (1, 28, 28)), ("cifar100/cnn", (3, 32, 32))],
)
def test_tasks_of_the_real_sets(name: str, shape: tuple[int, ...]) -> None:
    task = load_task(name, Path(os.environ["MANYHANDS_DATA"]))
    assert task.input_shape == shape
    logits = task.model()(task.prepare(task.test.inputs[:2]))
    assert logits.shape == (2, len(task.classes))


def test_an_outline_has_the_shapes_and_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manyhands.tasks.datasets.registry.load", None)  # nothing is read
    outline = outline_task("mnist-mini/lenet5")
    monkeypatch.undo()
    whole = load_task("mnist-mini/lenet5")
    for part in ("train", "test"):
        empty, full = getattr(outline, part), getattr(whole, part)
        assert empty.inputs.shape == full.inputs.shape
        assert empty.inputs.dtype == full.inputs.dtype
        assert empty.inputs.untyped_storage().nbytes() == 1
        assert empty.targets.shape == full.targets.shape
    assert (outline.name, outline.classes, outline.mean) == (whole.name, whole.classes, whole.mean)
    with pytest.raises(UserError, match="unknown task"):
        outline_task("mnist-mini/lenet6")


OWN = """\
import torch
from torch import nn
from manyhands import Task

class Net(nn.Linear):
    def __init__(self):
        super().__init__(4, 3)

def make():
    return Task(model=Net, train=samples(30), test=samples(6))

def samples(count):
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(1)), torch.arange(count) % 3

made, number, broken = make(), 3, lambda: 1 / 0
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / "of_my_own.py").write_text(OWN)
    return tmp_path / "of_my_own.py"


@pytest.mark.parametrize("make", [load_task, outline_task])
@pytest.mark.parametrize("name", ["of_my_own.py:make", "of_my_own.py:made"])
def test_a_task_of_ones_own(make: Callable[[str], Task], name: str, own: Path) -> None:
    task = make(name)
    assert (task.name, len(task.train), len(task.test), len(task.classes)) == (name, 30, 6, 3)
    model = pickle.loads(pickle.dumps(make(name).model))  # as other processes get it, after another has been made
    assert type(model()).__name__ == "Net"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("of_my_own.py:nothing", "of_my_own.py must define nothing, a Task or a function that makes one"),
        ("of_my_own.py:number", "of_my_own.py must define number, a Task or a function that makes one"),
        ("of_my_own.py:Net", "of_my_own.py must define Net, a Task or a function that makes one"),
        ("of_my_own.py:", "of_my_own.py must define a name, a Task or a function that makes one"),
        ("of_my_own.py", "or FILE.py:NAME of a task of your own"),
        ("of_my_own.py:broken", "of_my_own.py, line 15: ZeroDivisionError: division by zero"),
        ("elsewhere.py:make", "cannot read elsewhere.py (No such file or directory): --task takes DATASET/MODEL"),
    ],
)
def test_what_is_no_task_of_ones_own(name: str, message: str, own: Path) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        load_task(name)


def test_a_task_of_ones_own_says_itself_how_it_is_augmented(own: Path) -> None:
    with pytest.raises(UserError, match=r"--augment: task .* does not say how"):
        load_task("of_my_own.py:make", augment=True)
    text = OWN.replace("test=samples(6)", "test=samples(6), augmentation=Augmentation(padding=1, flip=True)")
    own.write_text(f"from manyhands.tasks.augmentation import Augmentation\n{text}")
    for augment in (False, True):
        assert load_task("of_my_own.py:make", augment=augment).augmentation == Augmentation(padding=1, flip=True)


@pytest.mark.parametrize(
    ("name", "plain"),
    [("mnist-mini/lenet5", "mnist-mini-lenet5"), ("x/resnet18:norm=group", "x-resnet18-norm=group"),
     ("a b/my.py:make", "a-b-my.py-make")],
)  # fmt: skip
def test_a_name_for_files(name: str, plain: str) -> None:
    assert plain_name(name) == plain
