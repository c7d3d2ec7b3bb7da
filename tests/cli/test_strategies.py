"""``manyhands strategies``: the register, readable."""

import json
import subprocess
import sys
from dataclasses import fields

import pytest

from manyhands.cli.main import main
from manyhands.strategies import STRATEGIES, Strategy, parse_strategy
from manyhands.strategies.formula import SYMBOLS


def options_of(strategy: type[Strategy]) -> list[str]:
    return [option.name for option in fields(strategy)]


def test_every_strategy_has_its_line_paper_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strategies"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    *parts, legend = out.split("\n\n")
    assert [part.splitlines()[0] for part in parts] == list(STRATEGIES)
    for part, strategy in zip(parts, STRATEGIES.values(), strict=True):
        assert strategy.paper in " ".join(part.split())
        assert strategy.url in part
        assert f" a worker sends {str(strategy().sends).partition(';')[0]}" in " ".join(part.split())
        assert all(f"--strategy.{option.replace('_', '-')}" in part for option in options_of(strategy))
    assert [line.split()[0] for line in legend.splitlines()[1:] if line[2] != " "] == list(SYMBOLS)


def test_json_tells_defaults_that_can_be_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strategies", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["symbols"] == SYMBOLS
    for facts in content["strategies"]:
        assert facts["sends"] == STRATEGIES[facts["name"]]().sends
        options = {option["name"]: option["default"] for option in facts["options"]}
        assert sorted(options) == sorted(options_of(STRATEGIES[facts["name"]]))
        assert all(option["about"] and option["takes"] for option in facts["options"])
        text = ",".join(f"{name}={value}" for name, value in options.items())
        assert parse_strategy(f"{facts['name']}:{text}") == STRATEGIES[facts["name"]]()


def test_torch_is_not_imported() -> None:
    code = "import sys; from manyhands.cli.main import main; main(['strategies']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
