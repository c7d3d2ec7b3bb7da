"""Formulas of what is sent are read as they are meant, and what is none is refused."""

import pytest

from manyhands.strategies import AllReduce, Strategy
from manyhands.strategies.formula import is_bound, read, total

SYMBOLS = {"n": 4.0, "P": 100.0, "G": 80.0, "k": 5.0, "f": 0.25}


@pytest.mark.parametrize(
    ("text", "role", "expected"),
    [
        ("nothing", "worker", 0),
        ("G a step", "worker", 80 * 30),
        ("2 (n − 1)/n · G a step", "worker", 120 * 30),
        ("2(n − 1)/n · G a step", "worker", 120 * 30),
        ("P every k steps", "worker", 100 * 6),
        ("P a round", "worker", 300),
        ("P an epoch, and 2 · G once", "worker", 300 + 160),
        ("(f · G + (1 − f) · P/k) a step", "worker", (20 + 15) * 30),
        ("log₂ n · G a step", "worker", 160 * 30),
        ("at most 2 · P a step", "worker", 200 * 30),
        ("P a step; server: n · P a step; root: 3 once", "server", 400 * 30),
        ("P a step; server: n · P a step; root: 3 once", "root", 3),
    ],
)
def test_formulas_are_worked_out(text: str, role: str, expected: float) -> None:
    """In a training of three epochs or rounds of ten steps."""
    assert total(read(text)[role], SYMBOLS, steps=10, units=3) == expected


@pytest.mark.parametrize("text", ["", "P", "P a day", "P a step; n · P a step", "worker: P a step"])
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        read(text)


@pytest.mark.parametrize("text", ["n P a step", "P ** 2 a step", "[P] a step", "P.real a step", "'P' a step"])
def test_nothing_is_evaluated_but_arithmetic(text: str) -> None:
    with pytest.raises(ValueError, match="formula"):
        total(read(text)["worker"], SYMBOLS, steps=1, units=1)


def test_letters_must_have_a_value() -> None:
    with pytest.raises(KeyError):
        total(read("Q a step")["worker"], SYMBOLS, steps=1, units=1)


def test_bounds_are_told_from_amounts() -> None:
    assert is_bound("at most 2 · P a step")
    assert not is_bound("2 · P a step")


def test_a_formula_may_depend_on_options() -> None:
    assert AllReduce().sends != AllReduce(combine="adasum").sends


def test_a_strategy_may_say_nothing_about_itself() -> None:
    class Mine(Strategy):
        """Mine alone."""

    assert Mine().method() == {"about": "Mine alone."}
