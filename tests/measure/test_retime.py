"""A finished run on another network: the same history, with the seconds of a run there."""

import json
from pathlib import Path

import pytest
import torch

from manyhands import Specification, train
from manyhands.clusters.cluster import Processes, Simulated
from manyhands.errors import UserError
from manyhands.measure.networks import NetworkKind, parse_network
from manyhands.measure.retime import retime
from manyhands.report.tables import summary_rows
from manyhands.runs.folder import RunFolder
from manyhands.runs.reading import RunView
from manyhands.runs.specification import read_specification
from manyhands.strategies import parse_strategy
from manyhands.tasks.partition import PARTITIONS

SLOW = parse_network("10Mbit/s,2ms")


def make_run(folder: Path, strategy: str = "all-reduce", **options: object) -> Path:
    settings = {"task": "mnist-mini/logistic", "samples": 300, "workers": 3, "epochs": 3, "batch_size": 25}
    return train(Specification(strategy=parse_strategy(strategy), **(settings | options)), out=folder)  # type: ignore[arg-type]


def moved(cluster: Simulated = Simulated(), network: NetworkKind = SLOW) -> Simulated:  # noqa: B008
    return Simulated(bandwidth=network.bandwidth, latency=network.latency, slow=cluster.slow, jitter=cluster.jitter)


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("all-reduce", {}),
        ("parameter-server", {"evaluate_every": 2}),
        ("fedavg:fraction=0.7", {"partition": PARTITIONS.parse("dirichlet:0.5")}),
        ("gossip", {"cluster": Simulated(slow=("1:2",), jitter=0.1)}),
    ],
)
def test_it_is_the_run_that_would_have_been(strategy: str, options: dict[str, object], tmp_path: Path) -> None:
    original = make_run(tmp_path / "here", strategy, **options)
    retimed = RunFolder(retime(original, SLOW, out=tmp_path / "there"))
    cluster = moved(options.get("cluster", Simulated()))  # type: ignore[arg-type]
    real = RunFolder(make_run(tmp_path / "real", strategy, **(options | {"cluster": cluster})))
    assert retimed.read_history() == real.read_history() != RunFolder(original).read_history()
    assert read_specification(retimed) == read_specification(real)
    names = ("ledger.json", "trace.json", "evaluation.json", "partition.json", "model.safetensors")
    for name in names[:-1]:
        assert json.loads((retimed.path / name).read_text()) == json.loads((real.path / name).read_text()), name
    assert all(torch.equal(value, real.read_model()[key]) for key, value in retimed.read_model().items())


def test_it_says_what_it_is(tmp_path: Path) -> None:
    original = make_run(tmp_path / "here")
    record = RunFolder(retime(original, SLOW, out=tmp_path / "there", command="manyhands retime here")).read_run()
    assert record["retimed_of"] == str(original)
    assert record["command"] == "manyhands retime here"
    assert record["status"] == "finished"
    assert record["retimed"]["network"] == "10Mbit/s,2ms"
    assert record["retimed"]["trained_on"]["bandwidth"] == "1Gbit/s"
    assert record["retimed"]["profile"]["name"] == "nominal"
    view = RunView.read(tmp_path / "there")
    assert not view.problems
    assert view.clock == "simulated"
    assert len(summary_rows([view, RunView.read(original)])) == 2


def test_a_run_on_processes_gets_a_simulated_clock(tmp_path: Path) -> None:
    original = make_run(tmp_path / "here", cluster=Processes(threads=1), workers=2, epochs=1)
    with pytest.raises(UserError, match=r"say where .* would run instead: give --network.* since it ran on processes"):
        retime(original, profile="nominal", out=tmp_path / "there")
    assert not (tmp_path / "there").exists()
    retimed = RunFolder(retime(original, SLOW, out=tmp_path / "there"))
    simulated = RunFolder(make_run(tmp_path / "simulated", cluster=moved(), workers=2, epochs=1))
    rows, others = retimed.read_history(), simulated.read_history()
    assert [row["seconds"] for row in rows] == [row["seconds"] for row in others]
    before = RunFolder(original).read_history()
    assert [row["test_accuracy"] for row in rows] == [row["test_accuracy"] for row in before]
    assert RunView.read(retimed.path).clock == "simulated"


def test_another_device_alone(tmp_path: Path) -> None:
    profile = tmp_path / "slow.json"
    from manyhands.clusters.simulated.profile import DeviceProfile

    profile.write_text(json.dumps(DeviceProfile.load("nominal").scaled(compute=10).to_json()))
    original = make_run(tmp_path / "here", "single", workers=1)
    there = RunFolder(retime(original, profile=str(profile), out=tmp_path / "there")).read_history()
    here = RunFolder(original).read_history()
    assert there[-1]["seconds"] == pytest.approx(10 * here[-1]["seconds"], rel=1e-3)
    with pytest.raises(UserError, match="say where"):
        retime(original, out=tmp_path / "nowhere")


@pytest.mark.parametrize("strategy", ["parameter-server:consistency=async", "ad-psgd", "elastic-averaging"])
def test_asynchronous_runs_are_refused(strategy: str, tmp_path: Path) -> None:
    original = make_run(tmp_path / "here", strategy, epochs=1)
    with pytest.raises(UserError, match="is asynchronous: what it learns depends on who was fast"):
        retime(original, SLOW, out=tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_unfinished_runs_are_refused(tmp_path: Path) -> None:
    original = make_run(tmp_path / "here", epochs=1)
    RunFolder(original).update_run(status="stopped")
    with pytest.raises(UserError, match="has not finished"):
        retime(original, SLOW, out=tmp_path / "there")
    with pytest.raises(UserError, match="missing"):
        retime(tmp_path / "nothing", SLOW, out=tmp_path / "there")
    assert not (tmp_path / "there").exists()
