"""``manyhands strategies``: each registered strategy in a line, its paper and its options."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

from manyhands.cli.flags import parse
from manyhands.options import field_help, takes
from manyhands.strategies import STRATEGIES, Strategy
from manyhands.strategies.formula import SYMBOLS
from manyhands.terminal import wrapped

DESCRIPTION = """List the strategies: what the workers do, the paper, and the options with their defaults."""

COMMON = {option.name for option in fields(Strategy)}
"""options of all strategies"""


@dataclass(frozen=True, kw_only=True)
class Strategies:
    """What ``manyhands strategies`` takes."""

    json: bool = False
    """print one JSON object instead of text"""
    quiet: bool = False
    """print nothing but the names"""


def run(argv: Sequence[str]) -> int:
    options = parse(Strategies, argv, "manyhands strategies", DESCRIPTION)
    if options.quiet and not options.json:
        print("\n".join(STRATEGIES))
        return 0
    facts = [_facts(strategy) for strategy in STRATEGIES.values()]
    if options.json:
        print(json.dumps({"strategies": facts, "symbols": SYMBOLS}, ensure_ascii=False))
    else:
        print("\n\n".join([*map(_text, facts), _legend()]))
    return 0


def _facts(strategy: type[Strategy]) -> dict[str, Any]:
    kinds = get_type_hints(strategy)
    return {
        "name": strategy.name,
        **strategy().method(),
        "servers": strategy().servers,
        "unit": strategy.unit,
        "options": [
            {
                "name": option.name,
                "takes": takes(kinds[option.name], option.name),
                "default": str(option.default),
                "about": field_help(strategy, option.name, kinds[option.name]),
            }
            for option in sorted(fields(strategy), key=lambda option: option.name in COMMON)  # its own first
        ],
    }


def _text(facts: dict[str, Any]) -> str:
    lines = [facts["name"], *[wrapped(facts[key], "  ") for key in ("about", "paper", "url") if key in facts]]
    if "sends" in facts:
        lines.append(wrapped(f"a worker sends {facts['sends'].replace('; ', '; the ')}", "  "))
    for option in facts["options"]:
        flag = f"--strategy.{option['name'].replace('_', '-')} {option['takes']}"
        lines += [f"  {flag}", wrapped(f"{option['about']} (default: {option['default']})", "      ")]
    return "\n".join(lines)


def _legend() -> str:
    lines = [wrapped(f"{symbol}  {meaning}", "  ", "     ") for symbol, meaning in SYMBOLS.items()]
    return "\n".join(["where", *lines])
