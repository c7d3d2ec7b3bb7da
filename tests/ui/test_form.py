"""The form: it asks for what the command line takes, and its command makes the same specification."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.cli.arguments import parse_specification
from manyhands.cli.compare import Compare
from manyhands.cli.ui import forms
from manyhands.runs.specification import Specification
from manyhands.strategies import STRATEGIES
from manyhands.ui.form import Form

TRAIN, COMPARE = forms()["train"], forms()["compare"]


def fields_of(form: Form) -> dict[str, Any]:
    return {field["flag"]: field for field in form.describe()["fields"]}


def test_every_field_of_a_specification_is_asked_for() -> None:
    asked = fields_of(TRAIN)
    names = set(Specification.__dataclass_fields__) - {"loss"}
    assert asked.keys() == {f"--{name.replace('_', '-')}" for name in names}
    assert asked["--batch-size"] == {
        "flag": "--batch-size",
        "label": "batch size",
        "about": "per worker",
        "default": "32",
        "takes": "N",
        "kind": "text",
        "suggestions": [],
    }
    assert asked["--precision"]["choices"] == ["fp32", "bf16", "auto"]
    assert asked["--augment"]["kind"] == "switch"
    assert "dirichlet:ALPHA" in asked["--partition"]["suggestions"]


def test_each_strategy_brings_its_own_options() -> None:
    (strategy,) = [field for field in TRAIN.describe()["fields"] if field["flag"] == "--strategy"]
    assert [option["name"] for option in strategy["options"]] == list(STRATEGIES)
    gossip = next(option for option in strategy["options"] if option["name"] == "gossip")
    assert {"--strategy.topology", "--strategy.compression"} <= {field["flag"] for field in gossip["fields"]}


def test_every_field_of_a_study_is_asked_for() -> None:
    names = set(Compare.__dataclass_fields__) - {"from_", "resume", "output"}
    assert fields_of(COMPARE).keys() == {f"--{name.replace('_', '-')}" for name in names}


@pytest.mark.parametrize(
    ("texts", "command"),
    [
        ({}, "manyhands train"),
        ({"--workers": " 4 ", "--epochs": ""}, "manyhands train --workers 4"),
        ({"--strategy": "all-reduce", "--seed": "0", "--cluster": "simulated"}, "manyhands train"),
        ({"--strategy.topology": "complete"}, "manyhands train"),  # of another strategy than the one chosen
        ({"--augment": "true"}, "manyhands train --augment"),
        ({"--cluster.slow": "1:2  3:4"}, "manyhands train --cluster.slow 1:2 3:4"),
        ({"--task": "a b;c"}, "manyhands train --task 'a b;c'"),
    ],
)
def test_the_command_is_short(texts: dict[str, str], command: str) -> None:
    reading = TRAIN.read(texts)
    assert reading.command == command


@pytest.mark.parametrize(
    ("texts", "flag", "said"),
    [
        ({"--workers": "0"}, "--workers", "--workers must be positive and finite, not 0"),
        ({"--workers": "many"}, "--workers", "--workers must be a whole number, not 'many'"),
        ({"--epochs": "1", "--rounds": "1"}, "--epochs", "give --epochs or --rounds, not both"),
        ({"--strategy": "x"}, "--strategy", "unknown --strategy 'x'"),
        ({"--strategy": "fedavg", "--strategy.fraction": "2"}, "--strategy.fraction", "must lie in (0, 1], not 2.0"),
        ({"--cluster.slow": "9:4"}, "--cluster.slow", "names node 9, but the nodes are 0 … 7"),
        ({"--optimizer": "sgd", "--optimizer.momentum": "2"}, "--optimizer.momentum", "momentum must be at least 0"),
        ({"--partition": "x"}, "--partition", "unknown partition 'x'"),
        ({"--augment": "perhaps"}, "--augment", "must be true or false"),
        ({"--seed": "--out"}, "--seed", "takes no words that begin with --"),
        ({"--nothing": "1"}, "", "unknown field --nothing"),
    ],
)
def test_errors_stand_beside_their_fields(texts: dict[str, str], flag: str, said: str) -> None:
    reading = TRAIN.read(texts)
    assert reading.value is None
    assert list(reading.errors) == [flag]
    assert said in reading.errors[flag]


def test_what_can_be_read_is_checked_although_something_cannot() -> None:
    reading = TRAIN.read({"--workers": "0", "--partition": "x", "--seed": "y"})
    assert reading.errors.keys() == {"--workers", "--partition", "--seed"}
    assert reading.value is None


@pytest.mark.parametrize(
    ("texts", "flag", "said"),
    [
        ({"--strategies": "gossip,x"}, "--strategies", "unknown strategy 'x'"),
        ({"--alpha": "1", "--partition": "iid"}, "--alpha", "give --alpha or --partition, not both"),
        ({"--stragglers": "x"}, "--stragglers", "--stragglers takes none or RANK:FACTOR"),
        ({"--workers": "4 0"}, "--workers", "--workers must be positive"),
        ({"--strategies": "gossip --out /tmp/x"}, "--strategies", "takes no words that begin with --"),
    ],
)
def test_errors_of_a_study_too(texts: dict[str, str], flag: str, said: str) -> None:
    reading = COMPARE.read(texts)
    assert list(reading.errors) == [flag]
    assert said in reading.errors[flag]


def test_a_study_says_how_many_runs_it_is() -> None:
    reading = COMPARE.read({"--strategies": "gossip,local-sgd", "--workers": "4 8", "--seeds": "0 1 2"})
    assert reading.note == "15 runs, one after another"


@pytest.mark.parametrize(
    ("message", "flag"),
    [
        ("unknown data set 'x': choose from", "--task"),
        ("unknown model 'x': choose from", "--task"),
        ("--samples 9 is more than the 5 training samples of x", "--samples"),
        ("--strategy.local-steps of x must be", "--strategy.local-steps"),
        ("it is Tuesday", ""),
    ],
)
def test_what_the_command_finds_wrong_is_placed_too(message: str, flag: str) -> None:
    assert TRAIN.place(message) == flag


@st.composite
def filled(draw: st.DrawFn) -> dict[str, str]:
    """A form filled in, with options that fit."""
    strategy = draw(st.sampled_from(["all-reduce", "gossip", "local-sgd", "fedavg", "diloco"]))
    options = {
        "all-reduce": {"--strategy.collective": ["ring", "tree"], "--strategy.combine": ["mean"]},
        "gossip": {"--strategy.topology": ["complete", "ring"], "--strategy.compression": ["none", "top-k:0.1"]},
        "local-sgd": {"--strategy.period": ["epoch", "7"]},
        "fedavg": {"--strategy.fraction": ["0.5", "1"], "--partition": ["iid", "dirichlet:0.3"]},
        "diloco": {},
    }[strategy]
    shared = {
        "--workers": ["4", "8"],
        "--epochs": ["3"],
        "--lr": ["0.1"],
        "--schedule": ["cosine", "step:0.5,0.75"],
        "--augment": ["true", "false"],
        "--optimizer": ["sgd", "adamw"],
        "--cluster.slow": ["1:2 3:4", "0:2"],
        "--cluster.jitter": ["0.1"],
        "--precision": ["bf16"],
    }
    chosen = {"--strategy": strategy}
    for flag, values in {**options, **shared}.items():
        if draw(st.booleans()):
            chosen[flag] = draw(st.sampled_from(values))
    return chosen


@settings(max_examples=15)
@given(filled())
def test_the_command_makes_the_same_specification(texts: dict[str, str]) -> None:
    reading = TRAIN.read(texts)
    assert reading.errors == {}
    parsed = parse_specification(reading.words[1:], "manyhands train", "")
    assert parsed.specification == reading.value


@settings(max_examples=15)
@given(filled())
def test_a_specification_fills_in_a_form_that_means_it(texts: dict[str, str]) -> None:
    specification = TRAIN.read(texts).value
    assert TRAIN.read(TRAIN.fill(specification.to_json())).value == specification
