"""The studies that come with manyhands: their settings are the published ones, and they run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from manyhands.cli.main import main
from manyhands.runs.specification import Specification
from manyhands.strategies import FedAvg
from manyhands.study_file import StudyFile, load_study
from manyhands.tasks.partition import Dirichlet, Iid, Shards
from manyhands.training.optimizer import SGD

STUDIES = Path(__file__).parents[1] / "studies"
NIID_BENCH = {"niid_bench_mnist": "mnist", "niid_bench_fashion": "fashion-mnist", "niid_bench_cifar10": "cifar10"}


def load(name: str) -> StudyFile:
    return load_study(STUDIES / f"{name}.py")


def test_every_file_is_a_study_or_what_studies_share() -> None:
    assert {path.stem for path in STUDIES.glob("*.py")} == {*NIID_BENCH, "niid", "mcmahan_2nn"}
    for name in (*NIID_BENCH, "mcmahan_2nn"):
        study = load(name)
        assert f"--from studies/{name}.py" in (STUDIES / f"{name}.py").read_text()
        for one in study.specifications:
            assert Specification.from_json(one.to_json()) == one


@pytest.mark.parametrize(("name", "dataset"), NIID_BENCH.items())
def test_niid_bench_has_the_settings_of_its_paper(name: str, dataset: str) -> None:
    runs = load(name).specifications
    assert [(one.strategy.name, one.seed) for one in runs] == [
        (method, seed) for seed in (0, 1, 2) for method in ("fedavg", "fedprox", "scaffold", "fednova")
    ]
    for one in runs:
        assert one.task == f"{dataset}/niid-cnn:normalise=false"
        assert (one.size, one.batch_size, one.lr, one.epochs) == (10, 64, 0.01, None)
        assert one.chosen_optimizer == SGD(momentum=0.9, weight_decay=1e-5)
        assert one.partition == Dirichlet(0.5, least=10, balanced=True)
        assert one.strategy.local_epochs == 10  # type: ignore[attr-defined]
        assert one.strategy.fraction == 1  # type: ignore[attr-defined]
        assert one.augment == (dataset == "cifar10")
    pulls = {one.strategy.name: getattr(one.strategy, "mu", 0.0) for one in runs}
    assert pulls == {
        "fedavg": 0,
        "fedprox": 0.001 if dataset == "cifar10" else 0.01,
        "scaffold": 0,
        "fednova": 0,
    }


def test_the_table_of_mcmahan_et_al_is_whole() -> None:
    study = load("mcmahan_2nn")
    assert study.target == 0.97
    published = {  # rounds by share, batch size and whether skewed
        (0.01, 10): (316, 3275), (0.1, 10): (87, 664), (0.2, 10): (77, 619), (0.5, 10): (75, 443), (1.0, 10): (70, 380),
        (0.01, 600): (1455, 4278), (0.1, 600): (1474, 1796), (0.2, 600): (1658, 1528),
    }  # fmt: skip
    assert len(study.specifications) == 2 * len(published)
    for one in study.specifications:
        assert isinstance(one.strategy, FedAvg)
        rounds = published[one.strategy.fraction, one.batch_size]
        assert one.rounds == min(rounds[one.partition == Shards(2)], 700)
        assert one.partition in (Iid(), Shards(2))
        assert (one.task, one.size, one.strategy.local_epochs) == ("mnist/mlp:normalise=false", 100, 1)
        assert replace(one.strategy, fraction=1.0) == FedAvg()


@pytest.mark.real_data("mnist")
def test_a_study_runs_and_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["compare", "--from", str(STUDIES / "niid_bench_mnist.py"), "--out", str(tmp_path / "study"), "--json"]
    assert main([*argv, "--rounds", "1", "--samples", "300", "--seeds", "0"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["strategy"], row["accuracy"]["n"]) for row in rows] == [
        (method, 1) for method in ("fedavg", "fedprox", "scaffold", "fednova")
    ]
