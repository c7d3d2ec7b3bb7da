"""Studies written in Python: what they define, and one line for what is wrong with them."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from manyhands.errors import UserError
from manyhands.runs.specification import Specification
from manyhands.strategies import FedAvg, Gossip
from manyhands.study_file import StudyFile, distinct, load_study, with_rounds, with_seeds

GOOD = """\
from manyhands import Specification
from manyhands.strategies import FedAvg, Gossip

NAME = "Two ways"
TARGET = 0.9

def specifications():
    return [Specification(strategy=strategy, seed=seed) for seed in (0, 1) for strategy in (Gossip(), FedAvg())]
"""

Written = Callable[[str], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(text: str) -> Path:
        path = tmp_path / "mine.py"
        path.write_text(text)
        return path

    return write


def test_a_study_is_what_its_file_defines(written: Written, tmp_path: Path) -> None:
    runs = tuple(Specification(strategy=strategy, seed=seed) for seed in (0, 1) for strategy in (Gossip(), FedAvg()))
    assert load_study(written(GOOD)) == StudyFile(
        name="Two ways", specifications=runs, target=0.9, path=tmp_path / "mine.py"
    )
    assert load_study(written(GOOD.replace("TARGET", "OTHER"))).target is None


def test_a_run_that_is_there_twice_is_made_once(written: Written) -> None:
    assert len(load_study(written(GOOD.replace("(0, 1)", "(0, 0, 1)"))).specifications) == 4


def test_what_lies_beside_it_can_be_imported(written: Written, tmp_path: Path) -> None:
    (tmp_path / "common_to_these_tests.py").write_text("EPOCHS = 7\n")
    text = GOOD.replace("seed=seed", "seed=seed, epochs=EPOCHS")
    study = load_study(written(f"from common_to_these_tests import EPOCHS\n{text}"))
    assert {one.epochs for one in study.specifications} == {7}
    assert sys.path[0] == str(tmp_path)  # as of a script, so that other processes find it too


def test_dataclasses_with_annotations_as_texts_can_be_in_it(written: Written) -> None:
    text = "from __future__ import annotations\nfrom dataclasses import KW_ONLY, dataclass\n"
    text += "@dataclass\nclass Cell:\n    a: int\n    _: KW_ONLY\n    b: int = 2\n"
    assert load_study(written(text + GOOD.replace("seed=seed", "seed=Cell(seed).a"))).name == "Two ways"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("NAME = 'x\n", 1, "unterminated string literal"),
        ("\n\nfrom manyhands import Specifcation\n", 3, "ImportError: cannot import name 'Specifcation'"),
        ("import nothing_of_this_name\n", 1, "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        (GOOD.replace("FedAvg())", "FedAvg(fraction=2))"), 8, "--strategy.fraction of fedavg must lie in (0, 1]"),
        (GOOD.replace("seed=seed", "sed=seed"), 8, "TypeError: "),
        ("raise ValueError\n", 1, "ValueError: no reason given"),
        ("raise ValueError('two\\nlines')\n", 1, "ValueError: two lines"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
        ("x = 1\nopen('nothing-here')\n", 2, "FileNotFoundError: "),
    ],
)
def test_errors_name_the_file_and_the_line(text: str, line: int, message: str, written: Written) -> None:
    path = written(text)
    with pytest.raises(UserError) as caught:
        load_study(path)
    said = " ".join(str(caught.value).split())  # as it is printed
    assert said.startswith(f"{path}, line {line}: ")
    assert message in said


def test_errors_in_a_file_beside_it_name_that_one(written: Written, tmp_path: Path) -> None:
    (tmp_path / "faulty_in_these_tests.py").write_text("\n1 / 0\n")
    with pytest.raises(UserError, match=r"faulty_in_these_tests.py, line 2: ZeroDivisionError"):
        load_study(written("import faulty_in_these_tests\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no study: it must define NAME, a text, and specifications()"),
        ("NAME = 'x'\n", "is no study: it must define NAME"),
        (GOOD.replace('"Two ways"', "3"), "is no study: it must define NAME"),
        ("NAME = 'x'\nspecifications = []\n", "is no study: it must define NAME"),
        (
            "NAME = 'x'\ndef specifications(): pass\n",
            "specifications() must give a list of Specification, at least one",
        ),
        ("NAME = 'x'\ndef specifications(): return []\n", "at least one, not []"),
        ("NAME = 'x'\ndef specifications(): return [3]\n", "at least one, not [3]"),
        (GOOD.replace("0.9", "90"), "TARGET must be an accuracy above 0 and up to 1, such as 0.97, not 90"),
        (GOOD.replace("0.9", "'high'"), "TARGET must be an accuracy"),
    ],
)
def test_files_that_define_no_study(text: str, message: str, written: Written) -> None:
    path = written(text)
    with pytest.raises(UserError) as caught:
        load_study(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.py", tmp_path):
        with pytest.raises(UserError, match=r"cannot read .*: --from takes a study, a Python file"):
            load_study(path)


def test_seeds_replace_those_of_the_file() -> None:
    runs = [Specification(strategy=strategy, seed=seed) for strategy in (Gossip(), FedAvg()) for seed in (0, 1)]
    changed = with_seeds(runs, (5, 3))
    assert [(one.strategy.name, one.seed) for one in changed] == [
        ("gossip", 5), ("fedavg", 5), ("gossip", 3), ("fedavg", 3),
    ]  # fmt: skip


def test_rounds_are_for_those_that_count_them() -> None:
    runs = [Specification(strategy=Gossip(), epochs=3), Specification(strategy=FedAvg(), epochs=3)]
    assert [(one.epochs, one.rounds) for one in with_rounds(runs, 8)] == [(3, None), (None, 8)]
    with pytest.raises(UserError, match="--rounds is for federated strategies, and there are none here"):
        with_rounds(runs[:1], 8)


def test_distinct_keeps_the_order() -> None:
    runs = [Specification(seed=seed) for seed in (2, 0, 2, 1, 0)]
    assert [one.seed for one in distinct(runs)] == [2, 0, 1]
