"""The first screen: who was first, by how much, and how sure."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from manyhands.report.answers import Answer, find_answers
from manyhands.report.comparison import comparison_json, comparison_tables
from manyhands.report.tables import Row

RowsOf = Callable[[Path], list[Row]]


def told(answer: Answer) -> str:
    name = answer.winner.label if answer.winner else "nobody"
    said = [f"{answer.question}: {name} {answer.figure}.", answer.lead, answer.certainty, answer.beside]
    return " ".join(filter(None, said)).replace("\u00a0", " ")


def answered(rows: list[Row], target: float | None = None) -> list[str]:
    (one,) = find_answers(rows, target)
    return list(map(told, one.answers))


def test_three_questions_are_answered_with_numbers(rows: list[Row]) -> None:
    accuracy, time, sent = answered(rows)
    assert accuracy.startswith("Accuracy after 10 epochs: all-reduce 97.47 ± 4.71 %.")
    assert "percentage points more than parameter-server. Not settled: the 95 % interval" in accuracy
    assert accuracy.endswith("The baseline single: 97.25 ± 2.71 %.")
    assert time.startswith("Time to 95 %: local-sgd 4.40 ")
    assert "on the simulated clock." in time
    assert "Apart from these, on the real clock: single" in time
    assert sent.startswith("Bytes per worker to 95 %: local-sgd 3.92 ")
    assert "which sent" in sent


def test_who_shares_the_work_competes_and_alone_with_the_baseline(
    fake: ModuleType, tmp_path: Path, rows_of: RowsOf
) -> None:
    fake.write_run(tmp_path / "a", "single")
    fake.write_run(tmp_path / "b", "gossip")
    accuracy, time, _ = answered(rows_of(tmp_path))
    assert accuracy.startswith("Accuracy after 10 epochs: single 97.")
    assert "more than gossip. One seed: it is not known how sure this is." in accuracy
    assert "sooner than the baseline single" in time


@pytest.mark.parametrize(("gap", "word"), [(0.05, "Sure"), (0.0001, "Not settled")])
def test_a_lead_is_sure_where_its_interval_leaves_out_zero(
    fake: ModuleType, tmp_path: Path, rows_of: RowsOf, gap: float, word: str
) -> None:
    for seed in range(3):
        fake.reaches(fake.write_run(tmp_path / f"a{seed}", "gossip", seed=seed), 0.9 + gap - seed * 0.01, 4)
        fake.reaches(fake.write_run(tmp_path / f"b{seed}", "fedavg", seed=seed), 0.9 - seed * 0.0101, 4)
    (answers,) = find_answers(rows_of(tmp_path))
    assert answers.answers[0].certainty.startswith(word)
    assert "3\u00a0seeds, paired by seed" in answers.answers[0].certainty


def test_other_seeds_are_compared_after_welch(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    for seed in range(2):
        fake.write_run(tmp_path / f"a{seed}", "gossip", seed=seed)
        fake.write_run(tmp_path / f"b{seed}", "fedavg", seed=10 + seed)
    (answers,) = find_answers(rows_of(tmp_path))
    assert "Welch" in answers.answers[0].certainty


def test_equal_results_are_said_to_be_equal(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    for name in ("gossip", "fedavg"):
        fake.reaches(fake.write_run(tmp_path / name, name), 0.9, 4)
    assert "The same as gossip." in answered(rows_of(tmp_path))[0]


def test_one_run_alone_has_nothing_to_be_compared_with(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.write_run(tmp_path / "a", "gossip")
    accuracy, time, sent = answered(rows_of(tmp_path))
    assert accuracy.startswith("Accuracy after 10 epochs: gossip 93.84 %. There is nothing to compare it with.")
    assert time.startswith("Time: gossip")
    assert sent.startswith("Bytes per worker: gossip 116 MB.")


def test_a_target_given_is_the_one_that_counts(rows: list[Row]) -> None:
    assert answered(rows, 0.9)[1].startswith("Time to 90 %: local-sgd")
    assert answered(rows, 1.0)[1:] == [
        "Time to 100 %: nobody –. None reached 100 %.",
        "Bytes per worker to 100 %: nobody –. None reached 100 %.",
    ]


def test_unfinished_runs_and_runs_without_history_do_not_compete(
    fake: ModuleType, tmp_path: Path, rows_of: RowsOf
) -> None:
    fake.write_run(tmp_path / "a", "gossip", status="running")
    (fake.write_run(tmp_path / "b", "fedavg") / "history.jsonl").write_text("")
    assert find_answers(rows_of(tmp_path)) == []


def test_tasks_are_answered_apart(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.write_run(tmp_path / "a", "gossip", task="mnist/mlp")
    fake.write_run(tmp_path / "b", "fedavg", task="cifar10/cnn")
    found = find_answers(rows_of(tmp_path))
    assert {one.task for one in found} == {"mnist/mlp", "cifar10/cnn"}
    assert all(not answer.rivals for one in found for answer in one.answers)


def test_what_was_not_measured_is_said(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    for name in ("gossip", "fedavg"):
        fake.without_accuracy(fake.write_run(tmp_path / name, name))
    accuracy, time, _ = answered(rows_of(tmp_path))
    assert accuracy == "Accuracy after 10 epochs: nobody –. It was not measured."
    assert time == "Time to accuracy: nobody –. No round accuracy was reached by two of them."


def test_under_several_conditions_the_undisturbed_one_is_answered(
    fake: ModuleType, tmp_path: Path, rows_of: RowsOf
) -> None:
    (one,) = find_answers(rows_of(fake.conditions(tmp_path)))
    assert one.condition == "iid"
    assert [name for name, _ in one.others] == ["iid, slow 0:4", "dirichlet:0.1", "dirichlet:0.1, slow 0:4"]
    assert one.others[0][1][1].startswith("all-reduce, 5.76")


def test_all_that_competed_stand_in_a_table_and_in_json(rows: list[Row]) -> None:
    found = find_answers(rows)
    (table,) = comparison_tables(found)
    assert (table.rows[0][0], table.rows[0][2]) == ("all-reduce", "first")
    assert table.rows[1][2].startswith("−")
    assert all(len(row) == len(table.header) for row in table.rows)
    content = comparison_json(found[0])
    assert content["questions"][0]["winner"] == "all-reduce"
    assert content["questions"][0]["rivals"][0]["winner_less_this"]["mean"] > 0
    assert content["questions"][0]["rivals"][0]["method"] == "paired by seed"
