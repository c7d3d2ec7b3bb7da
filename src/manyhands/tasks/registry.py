"""Tasks by name: ``DATASET/MODEL[:OPTIONS]``, e.g. ``mnist/cnn``, ``cifar10/resnet18:norm=group,width=32``.

And tasks of the user's own, ``FILE.py:NAME``, where the file defines NAME: a `Task`, or a function that makes one.

Options are the model's, and one of every task: ``normalise=false`` leaves pixels in 0 … 1 as they are, instead of with
mean 0 and deviation 1 over the training set.

Names are listed and taken apart without torch.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from manyhands.errors import UserError
from manyhands.tasks.datasets.catalogue import CARDS
from manyhands.tasks.models import MODEL_NAMES

if TYPE_CHECKING:
    from manyhands.tasks.task import Task


def task_names() -> list[str]:
    """Every data set with every model, without the models' options."""
    return [f"{dataset}/{model}" for dataset in CARDS for model in MODEL_NAMES]


def plain_name(name: str) -> str:
    """The name as a part of a file's name."""
    return re.sub(r"[^\w.=-]+", "-", name)


def parse_name(name: str) -> tuple[str, str, dict[str, str]]:
    """Data set, model and the model's options in ``name``; raises UserError listing what there is."""
    left, _, rest = name.partition(":")
    dataset, _, model = left.partition("/")
    if dataset not in CARDS or model not in MODEL_NAMES:
        raise UserError(
            f"unknown task '{name}': write DATASET/MODEL with a data set out of {', '.join(CARDS)} "
            f"and a model out of {', '.join(MODEL_NAMES)}, or FILE.py:NAME of a task of your own"
        )
    options: dict[str, str] = {}
    for part in rest.split(",") if rest else ():
        option, equals, value = part.partition("=")
        if not equals or option in options:
            raise UserError(f"task '{name}': write each option once, as OPTION=VALUE, not '{part}'")
        options[option] = value
    return dataset, model, options


def _normalised(options: dict[str, str]) -> bool:
    """Take the option that is no model's out of the others; raises UserError if it is neither true nor false."""
    text = options.pop("normalise", "true")
    if text not in ("true", "false"):
        raise UserError(f"normalise must be true or false, not '{text}'")
    return text == "true"


def _own_task(name: str) -> Task | None:
    """The task of the user's own that is named so; None: it is no such name."""
    file, _, wanted = name.rpartition(":")
    if not file.endswith(".py"):
        return None
    from manyhands.own_code import run_file, told_with_its_line
    from manyhands.tasks.task import Task

    path = Path(file)
    found = getattr(run_file(path, "--task takes DATASET/MODEL, or FILE.py:NAME"), wanted, None)
    with told_with_its_line(path):
        task = found() if callable(found) else found
    if not isinstance(task, Task):
        raise UserError(f"task '{name}': {file} must define {wanted or 'a name'}, a Task or a function that makes one")
    return replace(task, name=name)


def outline_task(name: str) -> Task:
    """The task of that name with as many samples as it has, all of them empty: nothing is fetched or read.

    Enough to say how long a training takes; a task of the user's own is as it is. Raises UserError for a name or a
    model's option that does not exist.
    """
    if own := _own_task(name):
        return own
    dataset, model, options = parse_name(name)
    normalised = _normalised(options)
    import torch

    from manyhands.tasks.models import build
    from manyhands.tasks.task import Samples, Task

    card = CARDS[dataset]
    make = partial(build, model, card.input_shape, len(card.classes), **options)
    with torch.device("meta"):
        make()

    def empty(size: int) -> Samples:  # of one pixel and one label, seen again and again
        inputs = torch.zeros((), dtype=torch.uint8).expand(size, *card.input_shape)
        return Samples(inputs, torch.zeros((), dtype=torch.int64).expand(size))

    return Task(
        name=name,
        model=make,
        train=empty(card.train_size),
        test=empty(card.test_size),
        classes=card.classes,
        mean=card.mean if normalised else None,
        std=card.std if normalised else None,
    )


def load_task(name: str, data_dir: Path | None = None, augment: bool = False) -> Task:
    """The task of that name with its data in memory, fetched first where they are missing.

    `augment` adds the data set's usual crops and flips of training images; a task of the user's own says itself how
    its images are augmented. Raises UserError for a name, a model's option or data that are not as they should be.
    """
    if own := _own_task(name):
        if augment and own.augmentation is None:
            raise UserError(f"--augment: task '{name}' does not say how, give it an augmentation")
        return own
    dataset, model, options = parse_name(name)
    normalised = _normalised(options)
    import torch

    from manyhands.tasks.augmentation import Augmentation
    from manyhands.tasks.datasets.registry import load
    from manyhands.tasks.models import build
    from manyhands.tasks.task import Samples, Task

    card = CARDS[dataset]
    make = partial(build, model, card.input_shape, len(card.classes), **options)
    with torch.device("meta"):
        make()  # a wrong option is told before anything is fetched; takes no memory and no random numbers
    train, test = load(dataset, data_dir)
    return Task(
        name=name,
        model=make,
        train=Samples(torch.from_numpy(train.images), torch.from_numpy(train.labels)),
        test=Samples(torch.from_numpy(test.images), torch.from_numpy(test.labels)),
        classes=card.classes,
        mean=card.mean if normalised else None,
        std=card.std if normalised else None,
        augmentation=Augmentation(padding=card.crop_padding, flip=card.flip) if augment else None,
    )
