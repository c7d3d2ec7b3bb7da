"""From dataclasses to flags and back."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.cli.arguments import parse_specification, with_prefix
from manyhands.cli.flags import FLAT, POSITIONAL, parse
from manyhands.clusters.cluster import Simulated
from manyhands.errors import UserError
from manyhands.options import field_docs, first_line, takes
from manyhands.runs.specification import Specification
from manyhands.strategies import FedAvg, LocalSGD
from manyhands.tasks.partition import Partition
from manyhands.training.optimizer import LARS, OPTIMIZERS, SGD


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
    kinds = [
        Specification,
        *OPTIMIZERS.values(),
        FedAvg,
        LocalSGD,
        *(type(Specification().cluster), type(Specification().loss)),
    ]
    for kind in kinds:
        explained = set(field_docs(kind)) | {"loss"}  # a group, explained by its class
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


@settings(deadline=None)
@given(st.floats(allow_nan=False, min_value=1e-300, max_value=1e300), st.integers(1, 10**12))
def test_numbers_reach_the_specification_as_they_were(lr: float, batch_size: int) -> None:
    words = ["--lr", repr(lr), f"--batch-size={batch_size}"]
    assert parse_specification(words, "prog", "").specification == Specification(lr=lr, batch_size=batch_size)


def specification(*words: str, start: Specification | None = None) -> Specification:
    return parse_specification(words, "prog", "", start).specification


@pytest.mark.parametrize(
    ("words", "optimizer"),
    [
        ("", None),
        ("--lr 0.1", None),
        ("--optimizer sgd", SGD()),
        ("--optimizer=lars", LARS()),
        ("--optimizer.momentum 0.9", SGD(momentum=0.9)),
        ("--optimizer.weight-decay=0.1", SGD(weight_decay=0.1)),
        ("--optimizer.weight_decay 0.1", SGD(weight_decay=0.1)),
        ("--optimizer lars --optimizer.momentum 0.5", LARS(momentum=0.5)),
        ("--optimizer.trust 0.02 --optimizer lars", LARS(trust=0.02)),
    ],
)
def test_an_optimizer_is_chosen_by_its_name_or_its_options_or_not_at_all(words: str, optimizer: Any) -> None:
    given = specification(*words.split())
    assert given.optimizer == optimizer
    assert type(given.optimizer) is type(optimizer)


def test_the_options_of_a_strategys_own_optimizer_need_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FedAvg, "default_optimizer", "lars")
    words = ["--strategy", "fedavg"]
    assert specification(*words).optimizer is None
    assert specification(*words, "--optimizer.trust", "0.5").optimizer == LARS(trust=0.5)
    assert specification(*words, "--optimizer", "sgd").optimizer == SGD()


def test_a_learning_rate_of_one_optimizer_is_none_for_another() -> None:
    start = Specification(optimizer=SGD(momentum=0.5), lr=0.2)
    assert specification(start=start) == start
    assert specification("--optimizer.nesterov", start=start).optimizer == SGD(momentum=0.5, nesterov=True)
    assert specification("--optimizer.nesterov", start=start).lr == 0.2
    changed = specification("--optimizer", "lars", start=start)
    assert (changed.optimizer, changed.lr, changed.chosen_lr) == (LARS(), None, LARS.default_lr)
    assert specification("--optimizer", "lars", "--lr", "3", start=start).lr == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--optimizer adam", "unknown --optimizer 'adam': choose from sgd, adamw, lars, lamb; perhaps you meant adamw"),
        ("--optimizer x", "unknown --optimizer 'x': choose from sgd, adamw, lars, lamb"),
        ("--optimizer", "--optimizer needs a value (see prog --help)"),
        ("--optimizer.trust 1", "unknown option '--optimizer.trust': choose from --optimizer.clip-norm"),
        (
            "--optimizer lars --optimizer.trust 0",
            "--optimizer: trust must be above 0 and finite, not 0.0 (see prog --help)",
        ),
        ("--accumulate 0", "--accumulate must be positive and finite, not 0"),
        ("--lr-scaling cube", "--lr-scaling must be none or linear or sqrt, not 'cube' (see prog --help)"),
    ],
)
def test_a_wrong_optimizer_is_told_in_one_line(words: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        specification(*words.split())
    told = str(caught.value)
    assert told.startswith(message) if "choose from --" in message else told == message


def test_options_of_the_cluster_alone_need_no_prefix() -> None:
    def read(*argv: str) -> Specification:
        return parse_specification(argv, "manyhands train", "").specification

    short = ["--hosts", "2", "--network=300Mbit/s", "--slow", "1:2", "--cpus", "0.5"]
    prefixed = [word.replace("--", "--cluster.") for word in short]
    assert read("--cluster", "processes", *short) == read("--cluster", "processes", *prefixed)
    assert read("--bandwidth", "2Gbit/s").cluster == Simulated(bandwidth="2Gbit/s")
    with pytest.raises(UserError, match="unknown option '--hosts'"):
        read("--cluster", "simulated", "--hosts", "2")


@dataclass(frozen=True, kw_only=True)
class Top:
    depth: int = 0
    from_: str = ""


@dataclass(frozen=True, kw_only=True)
class Sea:
    depth: int = 0
    salt_content: float = 0.0
    waves: int = 0


@dataclass(frozen=True, kw_only=True)
class Wind:
    waves: int = 0


def test_a_flag_that_several_have_keeps_its_prefix() -> None:
    argv = ["--depth", "3", "--salt_content=2", "--salt-content", "-5", "--waves", "1", "salt-content", "--from", "x"]
    expected = [*argv[:2], "--sea.salt-content=2", "--sea.salt-content", *argv[4:]]
    assert with_prefix(argv, "sea.", {"sea.": Sea, "wind.": Wind}, [Top]) == expected
