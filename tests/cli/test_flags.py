"""From dataclasses to flags and back."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.cli.arguments import parse_specification
from manyhands.cli.flags import FLAT, POSITIONAL, field_docs, first_line, parse, takes
from manyhands.errors import UserError
from manyhands.runs.specification import Specification
from manyhands.strategies import FedAvg, LocalSGD
from manyhands.tasks.partition import Partition
from manyhands.training.optimizer import SGD


@dataclass(frozen=True, kw_only=True)
class Inner:
    """What is within. More of it.

    And more.
    """

    depth: float = 1.5
    """how deep"""

    def __post_init__(self) -> None:
        if self.depth < 0:
            raise UserError("depth must not be negative")


@dataclass(frozen=True, kw_only=True)
class Flat:
    width: float = 1.5


@dataclass(frozen=True, kw_only=True)
class Outer:
    place: Path
    """where"""
    colour: Literal["red", "blue"] = field(default="red", metadata=POSITIONAL)
    count: int | None = None
    """how many
    of them"""
    sizes: tuple[int, ...] = (1, 2)
    loud: bool = False
    partition: Partition | None = None
    inner: Inner = field(default_factory=Inner)
    flat: Flat = field(default_factory=Flat, metadata=FLAT)


def read(*words: str) -> Outer:
    return parse(Outer, words, "prog", "About.")


def test_defaults() -> None:
    assert read("here") == Outer(place=Path("here"))


def test_every_kind_of_field() -> None:
    words = "there blue --count 3 --sizes 4 5 6 --loud --partition dirichlet:0.3 --inner.depth 2 --width 3"
    assert read(*words.split()) == Outer(
        place=Path("there"),
        colour="blue",
        count=3,
        sizes=(4, 5, 6),
        loud=True,
        partition=Partition.family.parse("dirichlet:0.3"),
        inner=Inner(depth=2),
        flat=Flat(width=3),
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("here --count many", "--count must be a whole number, not 'many'"),
        ("here --count", "--count needs a value"),
        ("here --sizes", "--sizes needs at least one value"),
        ("here --sizes 1 x", "--sizes must be a whole number, not 'x'"),
        ("here green", "COLOUR must be red or blue, not 'green'"),
        ("", "PLACE is missing"),
        ("here --counts 3", "unknown option '--counts'; perhaps you meant --count"),
        ("here --inner.temperature 3", "unknown option '--inner.temperature': choose from --inner.depth"),
        ("here --inner.depth -1", "--inner: depth must not be negative"),
        ("here --inner.depth deep", "--inner.depth must be a number, not 'deep'"),
        ("here --partition thirds", "unknown partition 'thirds': choose from iid"),
        ("here red blue", "unknown option 'blue'"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(words: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(*words.split())
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith("(see prog --help)")
    assert "\n" not in str(caught.value)


def test_docs_are_the_texts_below_fields() -> None:
    assert field_docs(Inner) == {"depth": "how deep"}
    assert field_docs(Outer)["count"] == "how many of them"
    assert first_line(Inner) == "What is within. More of it."


def test_every_flag_of_a_training_is_explained() -> None:
    kinds = [Specification, SGD, FedAvg, LocalSGD, *(type(Specification().cluster), type(Specification().loss))]
    for kind in kinds:
        explained = set(field_docs(kind)) | {"optimizer", "loss"}  # which are groups, explained by their classes
        assert {part.name for part in fields(kind)} <= explained


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        (int, "N"),
        (float | None, "X"),
        (str, "STRATEGIES"),
        (tuple[str, ...], "STRATEGY ..."),
        (int | Literal["epoch"], "N|epoch"),
        (Partition, "PARTITION"),
        (Path | None, "PATH"),
    ],
)
def test_what_a_flag_takes(kind: Any, shown: str) -> None:
    assert takes(kind, "strategies") == shown


def test_start_values_give_way_to_flags() -> None:
    start = Specification(strategy=FedAvg(fraction=0.5), rounds=7, augment=True, optimizer=SGD(momentum=0.5))
    words = ["--lr", "0.2", "--strategy.local-epochs", "3"]
    training = parse_specification(words, "prog", "", start)
    changed = training.specification
    assert changed.strategy == FedAvg(fraction=0.5, local_epochs=3)
    assert (changed.lr, changed.rounds, changed.augment, changed.optimizer) == (0.2, 7, True, SGD(momentum=0.5))
    assert not parse_specification(["--no-augment"], "prog", "", start).specification.augment


@given(st.floats(allow_nan=False, min_value=1e-300, max_value=1e300), st.integers(1, 10**12))
def test_numbers_reach_the_specification_as_they_were(lr: float, batch_size: int) -> None:
    words = ["--lr", repr(lr), f"--batch-size={batch_size}"]
    assert parse_specification(words, "prog", "").specification == Specification(lr=lr, batch_size=batch_size)
