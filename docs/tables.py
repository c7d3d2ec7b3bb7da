"""Writes into the strategies' pages what follows from the code: their papers, what they cost, their options.

It stands between ``<!-- NAME -->`` and ``<!-- end -->``, so that the pages can be read where they lie.

usage: python docs/tables.py
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import lru_cache
from math import ceil
from pathlib import Path
from textwrap import wrap
from typing import get_type_hints

import torch

from manyhands.clusters.layout import Layout
from manyhands.options import field_help
from manyhands.report.numbers import size
from manyhands.strategies import STRATEGIES, FedAvg, Strategy, formula
from manyhands.tasks.models import build

PAGES = Path(__file__).parent / "strategies"
WORKERS, BATCH = 8, 32
MODELS = {
    "LeNet-5 on MNIST": ("lenet5", (1, 28, 28), 60_000),
    "ResNet-18 on CIFAR-10": ("resnet18", (3, 32, 32), 50_000),
}
"""a model, the shape of an image, and how many there are"""
SHARED = {option.name for option in fields(FedAvg)}
"""options of all federated methods, which stand on the page of `fedavg`"""


def facts(strategy: Strategy) -> str:
    """The paper and the source."""
    source = Path("src", *type(strategy).__module__.split(".")).with_suffix(".py")
    return f"- Paper: [{strategy.paper}]({strategy.url})\n- Source: [`{source.name}`](../../{source})"


def cost(strategy: Strategy) -> str:
    """The formula of what is sent, its letters, and what that is for two models."""
    roles = formula.read(strategy.sends)
    if not roles["worker"]:
        return "The worker sends **nothing**."
    worker, *others = strategy.sends.split("; ")
    said = "; ".join([f"A worker sends **`{worker}`**", *("the {} `{}`".format(*part.split(": ")) for part in others)])
    letters = [letter for letter in formula.SYMBOLS if re.search(rf"\b{letter}\b", strategy.sends)]
    legend = "; ".join(f"{letter}: {formula.SYMBOLS[letter]}" for letter in letters)
    heads = [f"{WORKERS} workers, batch {BATCH}", "a worker", *(f"the {role}" for role in roles if role != "worker")]
    lines = [f"{said}.", *wrap(f"{legend}.", 120), "", _row(heads), _row(["---"] * len(heads))]
    for model in MODELS:
        symbols = symbols_of(strategy, model)
        cells = [_amounts(amounts, symbols, formula.is_bound(strategy.sends)) for amounts in roles.values()]
        lines.append(_row([f"{model}, P = {size(symbols['P'])}", *cells]))
    return "\n".join(lines)


def options(strategy: Strategy) -> str:
    """What can be chosen, and the defaults."""
    kinds = get_type_hints(type(strategy))
    federated = strategy.unit == "round" and strategy.name != "fedavg"
    own = [option for option in fields(strategy) if not (federated and option.name in SHARED)]
    lines = [_row(["option", "default", "meaning"]), _row(["---"] * 3)] if own else []
    for option in sorted(own, key=lambda option: option.name == "compression"):
        flag = f"--strategy.{option.name.replace('_', '-')}"
        about = field_help(type(strategy), option.name, kinds[option.name])
        lines.append(_row([f"`{flag}`", f"`{option.default}`" if str(option.default) else "", about]))
    if federated:
        lines += ["", "It takes those of all federated methods too: see [`fedavg`](fedavg.md#options)."]
    return "\n".join(lines).strip()


def letters(_: Strategy) -> str:
    """What the letters of all formulas stand for."""
    return "\n".join([_row(["letter", "stands for"]), _row(["---"] * 2), *map(_row, formula.SYMBOLS.items())])


BLOCKS: dict[str, Callable[[Strategy], str]] = {"facts": facts, "cost": cost, "options": options, "letters": letters}


def updated(page: Path) -> str:
    """The page's text with its blocks as the code has them."""
    text, strategy = page.read_text(encoding="utf-8"), STRATEGIES.get(page.stem, Strategy)()

    def block(found: re.Match[str]) -> str:
        return f"<!-- {found[1]} -->\n{BLOCKS[found[1]](strategy)}\n<!-- end -->"

    return re.sub(rf"<!-- ({'|'.join(BLOCKS)}) -->\n.*?<!-- end -->", block, text, flags=re.DOTALL)


def symbols_of(strategy: Strategy, model: str) -> dict[str, float]:
    """What the letters of the formula stand for, for one of the models."""
    _, shape, samples = MODELS[model]
    layout, pixels = layout_of(model), shape[0] * shape[1] * shape[2]
    gradient, statistics = 4 * layout.parameters, 4 * layout.buffers
    common = {"n": WORKERS, "P": gradient + statistics, "G": gradient, "B": statistics, "X": BATCH * (4 * pixels + 8)}
    return common | strategy.quantities(layout, WORKERS, ceil(samples / (WORKERS * BATCH)))


@lru_cache
def layout_of(model: str) -> Layout:
    name, shape, _ = MODELS[model]
    with torch.device("meta"):
        return Layout.of(build(name, shape, 10))


def _amounts(amounts: Sequence[formula.Amount], symbols: dict[str, float], at_most: bool) -> str:
    """In words, without those that are nothing."""
    sent = [(amount.bytes(symbols), amount.unit) for amount in amounts]
    return "at most " * at_most + ", and ".join(f"{size(number)} {unit}" for number, unit in sent if number)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    for page in sorted(PAGES.glob("*.md")):
        page.write_text(updated(page), encoding="utf-8")
