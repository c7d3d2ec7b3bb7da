"""What docs/federated.md says can be had, can be had, and nothing is left out."""

import re
import shlex
from pathlib import Path

import pytest

from manyhands.aggregation import AGGREGATIONS
from manyhands.clusters.faults import FAULTS
from manyhands.strategies import STRATEGIES
from manyhands.strategies.cohort import COHORTS
from manyhands.study_file import load_study
from manyhands.tasks.partition import PARTITIONS

TEXT = (Path(__file__).parents[1] / "docs" / "federated.md").read_text()


def section(heading: str) -> str:
    return TEXT.partition(f"\n## {heading}")[2].partition("\n## ")[0]


def first_column(heading: str) -> set[str]:
    """The names in code in the first column of a section's table."""
    rows = [line.split("|")[1] for line in section(heading).splitlines() if line.startswith("| `")]
    return {name.partition(":")[0] for row in rows for name in re.findall(r"`([^`]+)`", row)}


@pytest.mark.parametrize(
    ("heading", "members"),
    [
        ("Methods", {name for name, strategy in STRATEGIES.items() if strategy.unit == "round"}),
        ("Partitions", set(PARTITIONS.members)),
        ("Who takes part", set(COHORTS.members)),
        ("Aggregation", set(AGGREGATIONS.members)),
        ("Attacks", set(FAULTS.members)),
    ],
)
def test_tables_are_whole(heading: str, members: set[str]) -> None:
    assert first_column(heading) == members


def test_options_of_methods_are_those_that_they_have() -> None:
    for line in section("Methods").splitlines():
        if line.startswith("| `"):
            _, name, _, options, _, paper, _ = line.split("|")
            strategy = STRATEGIES[name.strip(" `")]
            assert f"]({strategy.url})" in paper
            for option, default in re.findall(r"`(\w+)` \(`?([\w.]+)`?\)", options):
                assert str(getattr(strategy(), option)) in (default, f"{default}.0"), f"{name}, {option}"


def test_its_commands_can_be_parsed() -> None:
    from manyhands.cli.arguments import parse_specification

    blocks = re.findall(r"^```bash\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
    commands = [shlex.split(line) for line in "".join(blocks).replace("\\\n", " ").splitlines()]
    trainings = [words[2:] for words in commands if words[:2] == ["manyhands", "train"]]
    assert len(trainings) >= 3
    for words in trainings:
        assert parse_specification(words, "manyhands train", "").specification.strategy.unit == "round"


def test_its_study_can_be_run(tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "mine.py").write_text(code)
    study = load_study(tmp_path / "mine.py")
    assert len(study.specifications) == 6
    assert study.target == 0.9
