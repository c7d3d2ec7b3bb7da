"""What a run tells of its clients, and how fairness and gain are made of it."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.runs.clients import Clients, best_decile, spread, worst_decile

SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=60)


def clients(**changes: Any) -> Clients:
    """Four clients, of which the third has no test samples; the others have 10, 20 and 5."""
    return Clients(
        **{
            "loss_sums": np.array([1.0, 50.0, 0.0, 10.0]),
            "right": np.array([9, 10, 0, 5]),
            "samples": np.array([10, 20, 0, 5]),
            "trained": {},
            "own": {},
            **changes,
        }
    )


@given(SHARES)
def test_deciles_are_means_of_the_worst_and_the_best_tenth(values: list[float]) -> None:
    count = math.ceil(len(values) / 10)
    ordered = np.sort(values)
    assert worst_decile(values) == pytest.approx(ordered[:count].mean())
    assert best_decile(values) == pytest.approx(ordered[-count:].mean())
    assert spread(values) == pytest.approx(np.std(values), abs=1e-12)


def test_a_tenth_is_rounded_up_to_whole_clients() -> None:
    values = [place / 100 for place in range(70)]
    assert worst_decile(values) == pytest.approx(0.03)  # of seven, not eight
    assert worst_decile([*values, 1.0]) == pytest.approx(0.035)
    assert worst_decile([0.5]) == best_decile([0.5]) == 0.5


def test_of_no_clients_nothing_is_known() -> None:
    assert (worst_decile([]), best_decile([]), spread([])) == (None, None, None)


def test_fairness_counts_every_client_once_and_those_without_samples_never() -> None:
    figures = clients().figures()
    assert figures["worst_decile"] == 0.5
    assert figures["spread"] == pytest.approx(np.std([0.9, 0.5, 1.0]))
    assert (figures["personal_accuracy"], figures["personalisation_gain"]) == (None, None)


def test_the_gain_is_over_the_same_samples_of_the_same_clients() -> None:
    figures = clients(trained={0: 0.1, 1: 0.2, 2: 0.3}, own={0: (2.0, 8), 1: (10.0, 16)}).figures()
    assert figures["personal_accuracy"] == 24 / 30
    assert figures["personalisation_gain"] == pytest.approx(24 / 30 - 19 / 30)


def test_a_row_has_all_clients_and_those_that_trained() -> None:
    row = clients(trained={3: 0.25, 0: 0.123456789, 2: 7.0}, own={0: (2.0, 8)}).row(4)
    assert row == {
        "completed": 4,
        "ranks": [0, 2, 3],
        "train_loss": [0.12346, 7.0, 0.25],
        "own_loss": [0.2, None, None],
        "own_accuracy": [0.8, None, None],
        "loss": [0.1, 2.5, None, 2.0],
        "accuracy": [0.9, 0.5, None, 1.0],
    }
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_what_is_no_number_is_null() -> None:
    row = clients(trained={0: math.inf}, own={0: (math.nan, 1)}).row(1)
    assert row["train_loss"] == row["own_loss"] == [None]
    json.dumps(row, allow_nan=False)
