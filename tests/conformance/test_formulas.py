"""What every strategy says that it sends is what the simulated ledger counts, to the byte."""

from pathlib import Path
from typing import Any

import pytest
from table import VARIANTS, specify, train
from toys import Normed, toy

from manyhands import lab
from manyhands.clusters.experiment import Experiment
from manyhands.runs.specification import Specification
from manyhands.strategies import STRATEGIES, formula

WORKERS, BATCH, SAMPLES = 4, 8, 320
"""of which ten steps make an epoch, so that all that is sent every so many steps fits into it"""
FEATURES = 6
WHOLE = [variant for variant in VARIANTS if "compression=" not in variant and "period=" not in variant]
"""variants whose messages are not compressed, and whose periods end when epochs do"""


def symbols(experiment: Experiment) -> dict[str, float]:
    """What the letters stand for in a run; see `manyhands.strategies.formula.SYMBOLS`."""
    node, specification = experiment.make_nodes(experiment.make_learner())(0), experiment.specification
    layout, workers, steps = node.layout, specification.size, experiment.plan.steps_per_epoch
    gradient, statistics = 4 * layout.parameters, 4 * layout.buffers
    common = {"n": workers, "P": gradient + statistics, "G": gradient, "B": statistics, "X": BATCH * (4 * FEATURES + 8)}
    return common | specification.strategy.quantities(layout, workers, steps)


def sent(specification: Specification, nodes: list[dict[str, Any]]) -> dict[str, int]:
    """By role the bytes that its nodes sent; the root is the worker that conducts the others."""
    conductors = specification.strategy.conductors(range(specification.size), range(0))
    roots = conductors if len(conductors) < specification.size else range(0)
    by_role: dict[str, int] = {}
    for node in nodes:
        role = "root" if node["rank"] in roots else node["role"]
        by_role[role] = by_role.get(role, 0) + node["bytes_sent"]
    return by_role


def stated(experiment: Experiment, nodes: int, role: str) -> float:
    """By the formula, of so many nodes of a role."""
    specification, roles = experiment.specification, formula.read(experiment.specification.strategy.sends)
    amounts = roles.get(role, roles["worker"] if role == "root" else [])
    steps = experiment.plan.steps_per_epoch
    return nodes * formula.total(amounts, symbols(experiment), steps=steps, units=specification.total)


@pytest.mark.parametrize("variant", WHOLE)
def test_what_is_said_is_what_is_sent(variant: str, tmp_path: Path) -> None:
    specification, task = specify(variant, WORKERS, batch_size=BATCH), toy(Normed, SAMPLES)
    experiment = lab.prepare(specification, task)
    found = sent(specification, train(specification, task, tmp_path / "run").ledger["nodes"])
    roles = formula.read(specification.strategy.sends)
    assert roles.keys() <= found.keys()
    for role, size in found.items():
        nodes = {"worker": specification.size - ("root" in found), "root": 1}.get(role, specification.strategy.servers)
        if formula.is_bound(specification.strategy.sends):
            assert size <= stated(experiment, nodes, role) <= 4 * size
        else:
            assert size == stated(experiment, nodes, role), role


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_says_it_with_letters_that_are_explained(name: str) -> None:
    strategy = STRATEGIES[name]()
    assert strategy.method().keys() == {"about", "paper", "url", "sends"}
    every = dict.fromkeys(formula.SYMBOLS, 1.0)
    amounts = [amount for role in formula.read(strategy.sends).values() for amount in role]
    assert all(amount.bytes(every) >= 0 for amount in amounts)
    assert bool(amounts) == (name != "single")
