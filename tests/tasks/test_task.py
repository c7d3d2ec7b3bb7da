import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from manyhands.errors import UserError
from manyhands.tasks.task import Samples, Task

IMAGES = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).view(2, 3, 4, 4)
LABELS = torch.tensor([0, 2])


class Net(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(48, 3))


class Pairs(Dataset[tuple[object, object]]):
    def __init__(self, *items: object) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> object:
        return self.items[index]


def task(**changes: object) -> Task:
    return Task(**({"model": Net, "train": (IMAGES, LABELS), "test": (IMAGES, LABELS)} | changes))


def test_a_users_own_task() -> None:
    mine = Task(model=Net, train=(IMAGES, LABELS), test=(IMAGES[:1], LABELS[:1]))
    assert mine.name == "custom/net"
    assert mine.classes == ("0", "1", "2")
    assert mine.input_shape == (3, 4, 4)
    assert (len(mine.train), len(mine.test)) == (2, 1)
    assert mine.model()(mine.prepare(mine.train.inputs)).shape == (2, 3)


@pytest.mark.parametrize(
    "data",
    [
        (IMAGES, LABELS),
        (IMAGES.numpy(), LABELS.numpy().astype(np.uint8)),
        (IMAGES.tolist(), [0, 2]),
        TensorDataset(IMAGES, LABELS),
        Pairs((IMAGES[0], 0), [IMAGES[1].numpy(), LABELS[1]]),
        Samples(IMAGES, LABELS),
    ],
)
def test_samples_of_what_users_have(data: object) -> None:
    samples = Samples.of(data)
    assert len(samples) == 2
    assert (samples.inputs == IMAGES).all()
    assert samples.targets.dtype == torch.int64
    assert samples.targets.tolist() == [0, 2]


def test_parts_are_the_samples_in_order() -> None:
    parts = Samples(torch.arange(5.0)[:, None], torch.arange(5)).parts(2)
    assert [part.targets.tolist() for part in parts] == [[0, 1], [2, 3], [4]]
    assert [part.inputs.flatten().tolist() for part in parts] == [[0, 1], [2, 3], [4]]


def test_kinds_of_inputs() -> None:
    assert Samples(IMAGES, LABELS).inputs.dtype == torch.uint8
    assert Samples(IMAGES.double(), LABELS).inputs.dtype == torch.float32
    assert Samples(IMAGES.long(), LABELS).inputs.dtype == torch.int64


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (IMAGES, "an .inputs, targets. pair or a Dataset of pairs, not Tensor"),
        (None, "an .inputs, targets. pair or a Dataset of pairs, not NoneType"),
        ((IMAGES, LABELS.float()), r"whole numbers of shape \[n\], not torch.float32 of \[2\]"),
        ((IMAGES, LABELS[:, None]), r"whole numbers of shape \[n\], not torch.int64 of \[2, 1\]"),
        ((IMAGES, LABELS[:1]), r"inputs \[2, 3, 4, 4\] and targets \[1\] must hold the same number"),
        ((IMAGES[:0], LABELS[:0]), "at least one"),
        ((IMAGES, ["cat", "dog"]), "must be tensors or arrays of numbers"),
        ((object(), LABELS), "must be tensors, arrays or numbers, not object"),
        (Pairs(), "without samples"),
        (Pairs(1, 2), "must give .x, y. pairs"),
        (Pairs((IMAGES[0], 0), (IMAGES[0, 0], 0)), "must all have one shape"),
    ],
)
def test_what_no_samples_are_made_of(data: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Samples.of(data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"test": (IMAGES[:, :1], LABELS)},
            r"alike, not torch.uint8 \[3, 4, 4\] and torch.uint8 \[1, 4, 4\]",
        ),
        ({"test": (IMAGES.float(), LABELS)}, "alike, not torch.uint8 .* and torch.float32"),
        ({"classes": ("cat", "dog")}, "from 0 to 1, one for each class, not 2"),
        ({"test": (IMAGES, torch.tensor([0, -1]))}, "from 0 to 2, one for each class, not -1"),
        ({"mean": (0.5,) * 3}, "mean and std go together"),
        ({"mean": (0.5,), "std": (0.5,)}, "each of the 3 channels, not 1 and 1"),
        ({"mean": (0.5,) * 3, "std": (0.5, 0.5, 0.0)}, "std must be above 0"),
    ],
)
def test_what_no_task_is_made_of(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        task(**changes)


def test_images_are_scaled_and_normalised() -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    prepared = task(mean=mean, std=std).prepare(IMAGES)
    assert prepared.dtype == torch.float32
    for channel in range(3):
        expected = (IMAGES[:, channel].double() / 255 - mean[channel]) / std[channel]
        torch.testing.assert_close(prepared[:, channel].double(), expected, rtol=0, atol=1e-6)
    assert task().prepare(IMAGES).max() == IMAGES.max() / 255
    assert IMAGES.dtype == torch.uint8


def test_other_inputs_pass_through() -> None:
    vectors = torch.randn(5, 3)
    plain = task(train=(vectors, [0] * 5), test=(vectors, [0] * 5))
    assert plain.prepare(vectors) is vectors
    scaled = task(train=(vectors, [0] * 5), test=(vectors, [0] * 5), mean=(1.0, 2.0, 3.0), std=(2.0,) * 3)
    torch.testing.assert_close(scaled.prepare(vectors), (vectors - torch.tensor([1.0, 2.0, 3.0])) / 2)
    tokens = torch.tensor([[1, 2], [3, 4]])
    assert task(train=(tokens, LABELS), test=(tokens, LABELS)).prepare(tokens) is tokens


def test_a_memory_layout_is_kept() -> None:
    images = IMAGES.contiguous(memory_format=torch.channels_last)
    prepared = task(mean=(0.5,) * 3, std=(0.5,) * 3).prepare(images)
    assert prepared.is_contiguous(memory_format=torch.channels_last)


def test_natural_groups_are_numbered_in_ascending_order() -> None:
    assert task().groups is None
    assert task(groups=[9, -3]).groups.tolist() == [1, 0]
    assert task(groups=np.array(["eve", "adam"])).groups.tolist() == [1, 0]
    assert task(groups=torch.tensor([5, 5])).to(torch.device("cpu")).groups.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([1], "the task has 1 groups for 2 training samples: give one for each of them"),
        ([0.5, 1.0], r"the task must have whole numbers of shape \[n\] for groups, not float64 of \[2\]"),
        ([[1], [2]], r"the task must have whole numbers of shape \[n\] for groups, not int64 of \[2, 1\]"),
    ],
)
def test_groups_that_do_not_fit(groups: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        task(groups=groups)


def test_the_first_samples_keep_their_groups() -> None:
    few = task(groups=[7, 3]).first(1)
    assert (len(few.train), len(few.test), len(few.groups)) == (1, 2, 1)
    assert len(task().first(5).train) == 2
