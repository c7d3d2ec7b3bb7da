"""Scaling: which runs, what follows from their times, and whole benchmarks on simulated and real workers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import Normed, toy

from manyhands.clusters.cluster import Cluster, Processes, Simulated
from manyhands.errors import UserError
from manyhands.measure import scaling_tables as tables
from manyhands.measure.overlap import Overlap
from manyhands.measure.results import Result, Spread, Table, bench_folder
from manyhands.measure.runner import Account, plain
from manyhands.measure.scaling import PARTS, Plan, clustered, measure_scaling, placed, usual_workers
from manyhands.runs.specification import Specification
from manyhands.strategies import AllReduce, ParameterServer, Single
from noting import Noting

SAMPLES = 240


def plan_of(cluster: Cluster, **changes: Any) -> Plan:
    base = Specification(cluster=cluster, workers=1, batch_size=24, epochs=1)
    values: dict[str, Any] = {
        "base": base,
        "strategies": (AllReduce(), ParameterServer()),
        "workers": (2, 4),
        "parts": PARTS,
        "repeats": 2,
        "seeds": (0, 1),
        "accuracy_epochs": 1,
        "margin": 0.5,
        "samples": SAMPLES,
    }
    return Plan(**(values | changes))


# ---- which runs


def test_strong_shares_the_work_and_weak_gives_each_the_same() -> None:
    plan = plan_of(Simulated())
    for count in plan.counts:
        strong, weak = plan.strong(AllReduce(), count), plan.weak(AllReduce(), count)
        assert (strong.size * strong.batch_size, strong.samples) == (24, None)
        assert weak.samples is not None
        assert (weak.batch_size, weak.samples / weak.size) == (24, SAMPLES / 4)


def test_all_runs_are_known_before_the_first() -> None:
    runs = plan_of(Simulated()).specifications()
    assert {(run.strategy.name, run.workers) for run in runs} == {
        ("single", 1),
        *((name, count) for name in ("all-reduce", "parameter-server") for count in (2, 4)),
    }
    assert len(runs) == 2 * (1 + 2 * 2) + 2 * 2 + 2 * (1 + 2)  # strong and weak, load, accuracy over two seeds


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"workers": ()}, "--workers"),
        ({"workers": (1,)}, "2 or more"),
        ({"workers": (2, 5)}, "--batch-size 24 cannot be shared by 5"),
        ({"workers": (2, 12)}, "weak scaling gives each of 12 workers"),
        ({"repeats": 0}, "--repeats"),
        ({"samples": 20}, "--batch-size 24 is more than the 20"),
        ({"margin": 0.0}, "--margin"),
        ({"seeds": (0, 0)}, "two seeds"),
    ],
)
def test_plans_that_cannot_be(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        plan_of(Simulated(), **changes)


def test_a_worker_alone_has_no_more_of_the_machine() -> None:
    on_hosts = clustered(Processes(hosts=4), 5, 2)
    assert isinstance(on_hosts, Processes)
    assert (on_hosts.threads, on_hosts.cpus) == (1, 0.5)
    alone = placed(Specification(cluster=on_hosts, workers=4), Single(), workers=1)
    assert isinstance(alone.cluster, Processes)
    assert (alone.cluster.hosts, alone.cluster.cpus) == (1, 0.5)
    assert clustered(Processes(), 2, 8) == Processes(threads=4)
    assert clustered(Processes(threads=3), 2, 8) == Processes(threads=3)
    assert clustered(Simulated(), 2, 8) == Simulated()


def test_usual_workers() -> None:
    assert usual_workers(Simulated()) == (2, 4, 8, 16)
    assert usual_workers(Processes()) == (2,)
    assert usual_workers(Processes(hosts=4)) == (2, 3, 4)


def test_names_of_folders() -> None:
    assert plain("strong-gossip:topology=ring-4") == "strong-gossip-topology-ring-4"


# ---- what follows from times


def account(seconds: float, role: str = "worker", **counts: Any) -> Account:
    spent = {"compute": seconds / 2, "exposed_communication": seconds / 4, "waiting": seconds / 4}
    node = {"role": role, "seconds": spent, "bytes_sent": 600, "bytes_received": 400, **counts}
    return Account(seconds, 1, [node, {**node, "role": "worker"}])


@given(
    single=st.lists(st.floats(1, 10), min_size=3, max_size=3),
    many=st.lists(st.floats(1, 10), min_size=3, max_size=3),
    n=st.sampled_from([2, 3, 4]),
    kind=st.sampled_from(["strong", "weak"]),
)
def test_speedup_and_efficiency_are_the_formulas(single: list[float], many: list[float], n: int, kind: str) -> None:
    runs = [Specification(strategy=Single(), batch_size=24), Specification(workers=n, batch_size=24)]
    accounts = [[account(seconds) for seconds in times] for times in (single, many)]
    table, sentences = tables.scaling(kind, runs, accounts, [[0.01] * 3, [0.01] * 3], lambda run: 10)
    first, row = table.rows
    ratio = sorted(a / b for a, b in zip(single, many, strict=True))[1]
    expected = (ratio, ratio / n) if kind == "strong" else (n * ratio, ratio)
    assert value(row["speedup"]) == pytest.approx(expected[0])
    assert value(row["efficiency"]) == pytest.approx(expected[1])
    assert value(first["speedup"]) == value(first["efficiency"]) == 1
    middle = sorted(many)[1]
    assert value(row["exposed_step"]) == pytest.approx(middle / 10 - 0.01)
    assert value(row["compute"]) + value(row["exposed"]) + value(row["waiting"]) == pytest.approx(middle)
    assert value(row["bandwidth"]) == pytest.approx(600 / (middle / 2))
    assert len(sentences) == 1


def test_overlap_rows() -> None:
    table, _ = tables.overlap([Specification(workers=2)], [Overlap([10.0], [8.0], [4.0])], simulated=False)
    row = table.rows[0]
    assert (value(row["exposed"]), value(row["hidden"]), value(row["overlap"])) == (2, 2, 0.5)


def test_load_is_predicted_and_counted() -> None:
    measured = {"bytes": {"measured": {"sent": 700, "received": 500}}}
    ring, server = account(1.0), account(2.0, "server", **measured)
    table, _ = tables.load([(4, ring, server)], (1000, 24), steps=10)
    row = table.rows[0]
    assert (row["server_predicted"], row["ring_predicted"]) == (2 * 4 * 1024, 4 * 1000 * 3 / 4)
    assert (row["server_ledger"], row["server_measured"]) == (100, 120)
    assert (row["ring_ledger"], row["ring_measured"]) == (100, None)


def test_accuracy_is_tested_against_single() -> None:
    arms = {"single": [0.90, 0.91, 0.92], "all-reduce": [0.90, 0.91, 0.92], "gossip": [0.5, 0.6, 0.7]}
    table, sentences = tables.accuracy(arms, 4, 0.05, 3)
    assert [row.get("equivalent") for row in table.rows] == [None, "yes", "not shown"]
    assert [row["workers"] for row in table.rows] == [1, 4, 4]
    assert "is equivalent to" in sentences[0]
    assert "is not shown" in sentences[1]


def value(cell: Any) -> float:
    return float(cell.value if isinstance(cell, Spread) else cell)


# ---- whole benchmarks


def measure(plan: Plan, folder: Path, **task: Any) -> dict[str, Table]:
    result = Result(kind="scaling", title="", conditions={})
    say = Noting()
    with bench_folder(folder, result, "") as bench:
        measure_scaling(bench, plan, toy(**task), say)
    assert len(say.said) == say.expected
    return {table.key: table for table in result.tables}


def test_simulated_from_one_end_to_the_other(tmp_path: Path) -> None:
    found = measure(plan_of(Simulated()), tmp_path / "new", model=Normed)
    assert list(found) == list(PARTS)
    for kind in ("strong", "weak"):
        rows = found[kind].rows
        assert [(row["strategy"], row["workers"]) for row in rows] == [
            ("single", 1),
            *((name, count) for name in ("all-reduce", "parameter-server") for count in (2, 4)),
        ]
        for row in rows[1:]:
            assert value(row["exposed_step"]) > 0
            parts = sum(value(row[part]) for part in ("compute", "exposed", "waiting"))
            assert parts == pytest.approx(value(row["time"]), rel=0.02)
        assert value(rows[0]["exposed_step"]) == pytest.approx(0, abs=1e-8)
    for row in found["overlap"].rows:
        assert 0 <= value(row["overlap"]) <= 1
        assert value(row["step"]) <= value(row["nothing"]) + value(row["alone"]) + 1e-6
    for row in found["load"].rows:
        assert row["server_ledger"] == row["server_predicted"]
        assert value(row["ring_ledger"]) == pytest.approx(value(row["ring_predicted"]), rel=0.05)
    assert [row["seeds"] for row in found["accuracy"].rows] == [2, 2, 2]
    runs = sorted(path.name for path in (tmp_path / "new/runs").iterdir())
    assert len(runs) == 6  # the timed ones are gone through without learning
    assert json.loads((tmp_path / "new/result.json").read_text())["status"] == "finished"


@pytest.mark.slow
def test_processes_from_one_end_to_the_other(tmp_path: Path) -> None:
    plan = plan_of(Processes(threads=1, timeout=60), workers=(2,))
    plan = replace(plan, strategies=(ParameterServer(),))
    found = measure(plan, tmp_path / "new")
    assert list(found) == list(PARTS)
    assert [row["strategy"] for row in found["strong"].rows] == ["single", "parameter-server"]
    assert all(value(row["time"]) > 0 and value(row["alone"]) > 0 for row in found["weak"].rows)
    (load,) = found["load"].rows
    assert load["server_ledger"] == load["server_predicted"]
    assert load["server_measured"] is None  # on loopback no node has an interface of its own
    runs = [path.name for path in (tmp_path / "new/runs").iterdir()]
    assert {"strong-single-1-0", "strong-parameter-server-2-1", "load-all-reduce-2"} <= set(runs)
    assert not any("warm" in name for name in runs)


@pytest.mark.namespaces
def test_emulated_hosts_measure_bytes_too(tmp_path: Path, emulation: None) -> None:
    cluster = Processes(hosts=3, network="1Gbit/s", threads=1, cpus=0.5, timeout=60)
    found = measure(plan_of(cluster, workers=(2,), parts=("load",)), tmp_path / "new")
    (load,) = found["load"].rows
    assert load["server_ledger"] == load["server_predicted"]
    assert value(load["server_measured"]) > value(load["server_ledger"])
    assert value(load["ring_measured"]) > value(load["ring_ledger"])
