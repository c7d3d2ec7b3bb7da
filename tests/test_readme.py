"""What the README tells a newcomer to do is what is done and tested."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str = "") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), flags=re.MULTILINE | re.DOTALL)


def test_the_first_screen_has_the_two_commands() -> None:
    first = blocks()[0]
    assert first.splitlines() == [
        "pip install -c constraints.txt . && manyhands compare",
        "pip install -c constraints.txt '.[test]' && pytest -n 2",
    ]
    assert README.read_text().index(first) < 1500


def test_continuous_integration_takes_the_commands_from_the_readme() -> None:
    script = (README.parent / ".ci" / "run").read_text()
    assert "README.md" in script
    assert "manyhands compare" not in script
    assert [line for line in script.splitlines() if "pytest" in line] == ["pytest -n 2 -m slow || failed=$?"]


def test_the_commands_can_be_parsed() -> None:
    from manyhands.cli.arguments import parse_specification

    lines = [line for line in "".join(blocks("bash")).replace("\\\n", " ").splitlines() if " train " in line]
    commands = [line.partition(" train ")[2].split() for line in lines if "--resume" not in line]
    assert len(commands) >= 4
    for words in commands:
        parse_specification(words, "manyhands train", "")


def test_the_strategy_shown_is_whole_and_short() -> None:
    (shown,) = [block for block in blocks("python") if "@register" in block]
    assert len([line for line in shown.splitlines() if line.strip()]) <= 30
    assert shown in (README.parent / "docs" / "write-a-strategy.md").read_text()


def test_the_catalogue_is_whole() -> None:
    from manyhands.strategies import STRATEGIES

    rows = re.findall(r"^\| `([\w-]+)` \|.*\]\((\S+)\) \|$", README.read_text(), flags=re.MULTILINE)
    assert dict(rows) == {name: strategy.url for name, strategy in STRATEGIES.items()}


@pytest.mark.parametrize("code", [block for block in blocks("python") if "import" in block])
def test_python_examples_run(code: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "runs").glob("*/model.safetensors"))
