"""What a run's folder says, whole, under way or damaged; and the quantities made of it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.errors import UserError
from manyhands.runs import reading
from manyhands.runs.reading import RunView, StudyView, find_runs

ROWS = [
    {"seconds": 10.0 * epoch, "epoch": epoch, "test_loss": 2.3 - epoch, "test_accuracy": 0.1 + 0.4 * epoch}
    for epoch in range(3)
]
NODES: list[dict[str, Any]] = [
    {
        "rank": rank,
        "role": role,
        "seconds": {
            "compute": 6.0 + 2 * rank,
            "exposed_communication": 2.0,
            "hidden_communication": 5.0,
            "waiting": 2.0 - 2 * rank,
        },
        "bytes_sent": sent,
        "bytes_received": 0,
        "messages_sent": 1,
    }
    for rank, (role, sent) in enumerate([("worker", 100), ("worker", 300), ("server", 9_000)])
]
LEDGER = {
    "clock": "simulated",
    "seconds": 20.0,
    "nodes": NODES,
}
PARTITION = {"partition": "iid", "classes": ["cat", "dog"], "counts": [[1, 2], [3, 4]]}
EVALUATION = {
    "accuracy": 0.9,
    "loss": 0.3,
    "classes": ["cat", "dog"],
    "per_class_accuracy": [1.0, None],
    "confusion": [[3, 0], [1, 2]],
}


def specification(**changes: Any) -> dict[str, Any]:
    return {
        "task": "mnist-mini/lenet5",
        "strategy": {"name": "gossip", "topology": "ring"},
        "cluster": {"name": "simulated"},
        "workers": 2,
        "batch_size": 32,
        "seed": 0,
        **changes,
    }


def write(folder: Path, clock: str = "simulated", rows: Any = ROWS, **changes: Any) -> Path:
    folder.mkdir(parents=True)
    record = {
        "format": 1,
        "name": "a run",
        "status": "finished",
        "specification": specification(**changes),
        "hardware": {"cpu": "one"},
        "nodes": [{"rank": 0, "role": "worker", "samples": 3}, "broken"],
    }
    files = {
        "run": record,
        "ledger": LEDGER | {"clock": clock},
        "partition": PARTITION,
        "evaluation": EVALUATION,
    }
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def single(folder: Path, **changes: Any) -> RunView:
    return RunView.read(write(folder, strategy={"name": "single"}, workers=1, **changes))


def change(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_whole_run_has_no_problems(tmp_path: Path) -> None:
    run = RunView.read(write(tmp_path / "run"))
    assert run.problems == ()
    assert (run.name, run.status, run.strategy, run.workers, run.clock) == (
        "a run",
        "finished",
        "gossip",
        2,
        "simulated",
    )
    assert len(run.history) == 3
    assert run.history[0]["train_loss"] is None
    assert run.partition == PARTITION
    assert run.evaluation == EVALUATION
    assert run.nodes == [{"rank": 0, "role": "worker", "samples": 3}]


@settings(deadline=None)
@given(cut=st.integers(0, 400))
def test_a_history_cut_anywhere_gives_the_whole_rows_before_the_cut(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = write(tmp_path_factory.mktemp("cut") / "run")
    written = (folder / "history.jsonl").read_bytes()[:cut]
    (folder / "history.jsonl").write_bytes(written)
    run = RunView.read(folder)
    assert len(run.history) == written.count(b"\n")
    assert all(row["epoch"] == epoch for epoch, row in enumerate(run.history))
    assert bool(run.problems) == (not run.history)


def test_a_damaged_line_is_named_and_left_out(tmp_path: Path) -> None:
    folder = write(tmp_path / "run")
    lines = (folder / "history.jsonl").read_text().splitlines()
    (folder / "history.jsonl").write_text("\n".join([lines[0], "{oops", "[1, 2]", lines[2], ""]))
    run = RunView.read(folder)
    assert [row["epoch"] for row in run.history] == [0, 2]
    assert run.problems == ("history.jsonl: line 2, 3 is damaged and left out",)


def test_what_is_not_a_finite_number_is_none(tmp_path: Path) -> None:
    rows = [*ROWS, {"seconds": float("inf"), "epoch": True, "test_loss": float("nan"), "test_accuracy": "1"}]
    last = RunView.read(write(tmp_path / "run", rows=rows)).history[-1]
    assert {last[key] for key in ("seconds", "epoch", "test_loss", "test_accuracy", "bytes")} == {None}


def test_missing_files_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "run")
    for name in ("history.jsonl", "ledger.json", "partition.json", "evaluation.json"):
        (folder / name).unlink()
    run = RunView.read(folder)
    assert len(run.problems) == 4
    assert (run.history, run.ledger, run.partition, run.evaluation) == ([], None, None, None)
    assert run.clock == "simulated"
    assert reading.seconds(run) is None
    assert reading.bytes_per_worker(run) is None
    assert reading.time_shares(run) is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ledger", '{"clock": "simulated", "sec'),
        ("ledger", "[]"),
        ("ledger", json.dumps(LEDGER | {"clock": "sundial"})),
        ("ledger", json.dumps(LEDGER | {"nodes": [{"rank": 0, "role": "worker"}]})),
        ("ledger", json.dumps(LEDGER | {"seconds": 10**400})),
        ("partition", json.dumps(PARTITION | {"counts": [[1, 2], [3]]})),
        ("partition", json.dumps(PARTITION | {"classes": [], "counts": [[], []]})),
        ("evaluation", json.dumps(EVALUATION | {"confusion": [[1, 2]]})),
        ("evaluation", json.dumps(EVALUATION | {"accuracy": float("nan")})),
        ("evaluation", json.dumps(EVALUATION | {"per_class_accuracy": ["a", "b"]})),
    ],
)
def test_a_damaged_part_is_named_and_left_out(tmp_path: Path, name: str, content: str) -> None:
    folder = write(tmp_path / "run")
    (folder / f"{name}.json").write_text(content)
    run = RunView.read(folder)
    assert run.problems == (f"{name}.json is damaged and left out",)
    assert getattr(run, name) is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "is missing"),
        ("{", "must hold one JSON object"),
        ("3", "must hold one JSON object"),
        ("{}", "'format' must be 1"),
        ('{"format": true}', "'format' must be 1"),
        ('{"format": 2}', "update manyhands"),
        ('{"format": 1}', "must have 'specification'"),
        ('{"format": 1, "specification": []}', "must name a task"),
        (json.dumps({"format": 1, "specification": specification(workers=0)}), "some workers"),
        (json.dumps({"format": 1, "specification": specification(strategy="gossip")}), "a strategy"),
    ],
)
def test_an_unusable_record_is_told_in_one_line(tmp_path: Path, content: str | None, says: str) -> None:
    folder = write(tmp_path / "run")
    (folder / "run.json").unlink()
    if content is not None:
        (folder / "run.json").write_text(content)
    with pytest.raises(UserError, match=says) as caught:
        RunView.read(folder)
    assert str(folder / "run.json") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_runs_are_found_in_a_run_a_study_and_a_folder(tmp_path: Path) -> None:
    runs = [write(tmp_path / "study" / name) for name in "ba"]
    assert find_runs(runs[0]) == [runs[0]]
    assert find_runs(tmp_path) == sorted(runs)
    study = {"format": 1, "name": "a study", "factors": ["seed"], "runs": ["b", "gone", "a"]}
    (tmp_path / "study" / "study.json").write_text(json.dumps(study))
    view = StudyView.read(tmp_path / "study")
    assert (view.name, view.factors) == ("a study", ("seed",))
    assert find_runs(tmp_path / "study") == [runs[0], tmp_path / "study" / "gone", runs[1]]


@pytest.mark.parametrize("runs", [["../elsewhere"], ["/etc"], "a", [1]])
def test_a_study_lists_folders_below_it(tmp_path: Path, runs: Any) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"format": 1, "runs": runs}))
    with pytest.raises(UserError, match=r"study.json is damaged: its 'runs' must list folders below it"):
        StudyView.read(tmp_path)


def test_a_place_without_runs_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run in"):
        find_runs(tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        find_runs(tmp_path / "nothing")


def test_quantities_are_the_last_evaluations(tmp_path: Path) -> None:
    rows = [*ROWS, {**ROWS[1], "seconds": 30.0, "epoch": 3}]
    run = RunView.read(write(tmp_path / "run", rows=rows))
    assert reading.final(run, "test_accuracy") == 0.5  # not the best, 0.9
    assert reading.seconds(run) == 30.0
    assert reading.seconds_to_accuracy(run, 0.5) == 10.0
    assert reading.seconds_to_accuracy(run, 0.95) is None


@pytest.mark.parametrize(("epoch", "expected"), [(0, 0.0), (0.5, 5.0), (2, 20.0), (2.1, None)])
def test_seconds_between_evaluations_are_linear(tmp_path: Path, epoch: float, expected: float | None) -> None:
    assert reading.seconds_at_epoch(RunView.read(write(tmp_path / "run")), epoch) == expected


def test_bytes_and_time_are_the_workers_own(tmp_path: Path) -> None:
    run = RunView.read(write(tmp_path / "run"))
    assert reading.bytes_per_worker(run) == 200
    shares = reading.time_shares(run)
    assert shares is not None
    assert (shares.compute, shares.communication, shares.waiting) == pytest.approx((0.7, 0.2, 0.1))
    assert shares.in_communication == pytest.approx(0.3)


def test_staleness_is_counted_over_all_nodes(tmp_path: Path) -> None:
    folder = write(tmp_path / "run")
    assert reading.staleness(RunView.read(folder)) == {}
    nodes: list[dict[str, Any]] = [dict(node) for node in NODES]
    nodes[1]["staleness"], nodes[2]["staleness"] = {"10": 1, "2": 3}, {"2": 4}
    change(folder / "ledger.json", nodes=nodes)
    run = RunView.read(folder)
    assert run.problems == ()
    assert list(reading.staleness(run).items()) == [(2, 7), (10, 1)]


def test_ledgers_that_tell_who_sent_to_whom_are_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "run")
    change(folder / "ledger.json", nodes=[{**NODES[0], "to": {"10": 60, "2": 40}}, NODES[1], {**NODES[2], "to": {}}])
    run = RunView.read(folder)
    assert run.problems == ()
    assert run.ledger is not None
    assert run.ledger["nodes"][0]["to"] == {"10": 60, "2": 40}


@pytest.mark.parametrize("to", [{"-1": 2}, {"one": 2}, {"1": -2}, {"1": 0.5}, [1, 2]])
def test_impossible_receivers_are_damage(tmp_path: Path, to: Any) -> None:
    folder = write(tmp_path / "run")
    change(folder / "ledger.json", nodes=[{**NODES[0], "to": to}])
    assert RunView.read(folder).ledger is None


@pytest.mark.parametrize("staleness", [{"-1": 2}, {"one": 2}, {"1": -2}, {"1": "2"}, {"1": 0.5}, [1, 2]])
def test_impossible_staleness_is_damage(tmp_path: Path, staleness: Any) -> None:
    folder = write(tmp_path / "run")
    change(folder / "ledger.json", nodes=[{**NODES[0], "staleness": staleness}])
    run = RunView.read(folder)
    assert run.problems == ("ledger.json is damaged and left out",)
    assert reading.staleness(run) == {}


def test_conditions_and_facts_are_read(tmp_path: Path) -> None:
    slow = {"name": "simulated", "slow": ["0:4", "3:2"]}
    folder = write(tmp_path / "run", cluster=slow, partition="dirichlet:0.1")
    run = RunView.read(folder)
    assert (run.partition_text, run.stragglers, run.facts) == ("dirichlet:0.1", "0:4+3:2", {})
    facts = {"spectral_gap": 0.12, "sampling": "Poisson", "broken": [1], "infinite": float("inf")}
    change(folder / "run.json", facts=facts)
    assert RunView.read(folder).facts == {"spectral_gap": 0.12, "sampling": "Poisson"}
    plain = RunView.read(write(tmp_path / "plain"))
    assert (plain.partition_text, plain.stragglers) == ("iid", "")


AT_CLIENTS = {
    "completed": 1,
    "ranks": [1],
    "train_loss": [0.5],
    "own_loss": [None],
    "own_accuracy": [0.75],
    "loss": [1.5, None],
    "accuracy": [0.5, None],
}


def test_a_run_without_clients_has_none_and_no_problem(tmp_path: Path) -> None:
    run = RunView.read(write(tmp_path / "run"))
    assert (run.clients, run.at_clients, run.problems) == ([], {}, ())
    assert run.history[-1]["worst_decile"] is None  # as in folders of earlier versions
    assert run.history[-1]["round"] is None


def test_clients_are_read_as_they_were_written(tmp_path: Path) -> None:
    folder = write(tmp_path / "run")
    first = AT_CLIENTS | {"completed": 0, "ranks": [], "train_loss": [], "own_loss": [], "own_accuracy": []}
    rows = [first, AT_CLIENTS | {"loss": [float("inf"), "x"]}]
    (folder / "clients.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"ranks"')
    run = RunView.read(folder)
    assert run.problems == ()
    assert run.clients == [first, AT_CLIENTS | {"loss": [None, None]}]
    assert run.at_clients == run.clients[-1]


@pytest.mark.parametrize(
    "change",
    [
        {"accuracy": [0.5]},
        {"ranks": [2]},
        {"ranks": [0, 1]},
        {"own_loss": []},
        {"loss": 3},
        {"completed": None},
        {"ranks": ["x"]},
    ],
)
def test_a_damaged_row_of_clients_is_named_and_left_out(tmp_path: Path, change: dict[str, Any]) -> None:
    folder = write(tmp_path / "run")
    rows = [AT_CLIENTS, AT_CLIENTS | change, {"completed": 3}, AT_CLIENTS]
    (folder / "clients.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = RunView.read(folder)
    assert run.clients == [AT_CLIENTS, AT_CLIENTS]
    assert run.problems == ("clients.jsonl: line 2, 3 is damaged and left out",)


@pytest.mark.parametrize("tested", [[1], [1, 2, 3], ["a", "b"], 3])
def test_test_samples_that_do_not_fit_are_damage(tmp_path: Path, tested: Any) -> None:
    folder = write(tmp_path / "run")
    change(folder / "partition.json", test_samples=tested)
    assert RunView.read(folder).problems == ("partition.json is damaged and left out",)
    change(folder / "partition.json", test_samples=[4, 0])
    assert RunView.read(folder).problems == ()


def test_speedup_is_at_an_equal_number_of_epochs(tmp_path: Path) -> None:
    twice_as_slow = [{**row, "seconds": 2 * row["seconds"]} for row in ROWS]
    baseline = single(tmp_path / "single", rows=twice_as_slow[:2])  # stopped after one epoch
    run = RunView.read(write(tmp_path / "run"))
    assert reading.speedup(run, baseline) == 2.0
    assert reading.efficiency(run, baseline) == 1.0
    assert reading.speedup(baseline, baseline) == 1.0


def test_clocks_are_not_compared(tmp_path: Path) -> None:
    run = RunView.read(write(tmp_path / "run"))
    real = single(tmp_path / "single", clock="real")
    assert reading.speedup(run, real) is None
    assert reading.find_baseline(run, [real]) is None


def test_the_baseline_is_the_most_alike(tmp_path: Path) -> None:
    run = RunView.read(write(tmp_path / "run", seed=1, batch_size=64))
    other_task = single(tmp_path / "task", task="cifar10/resnet18", seed=1, batch_size=64)
    other_batch = single(tmp_path / "batch", seed=1)
    other_seed = single(tmp_path / "seed", batch_size=64)
    alike = single(tmp_path / "alike", seed=1, batch_size=64)
    assert reading.find_baseline(run, [run, other_task, other_batch, other_seed, alike]) is alike
    assert reading.find_baseline(run, [run, other_task, other_batch, other_seed]) is other_seed
    assert reading.find_baseline(run, [run, other_task]) is None


def test_real_time_is_compared_on_the_same_hardware_only(tmp_path: Path) -> None:
    run = RunView.read(write(tmp_path / "run", clock="real"))
    baseline = single(tmp_path / "single", clock="real")
    assert reading.find_baseline(run, [baseline]) is baseline
    change(tmp_path / "single" / "run.json", hardware={"cpu": "another"})
    assert reading.find_baseline(run, [RunView.read(tmp_path / "single")]) is None


def test_reading_needs_neither_torch_nor_charts() -> None:
    code = "import sys, manyhands.runs.reading, manyhands.report.page, manyhands.report.figures;"
    code += "sys.exit(any(name in sys.modules for name in ('torch', 'altair', 'jinja2', 'vl_convert', 'rich')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
