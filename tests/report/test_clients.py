"""What a report says and shows of clients, and of how what they hold differs."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import altair
import numpy as np
import pytest
import vl_convert

from manyhands.report.charts import run_figures, study_figures
from manyhands.report.clients import MOST_DOTS, client_run_figures
from manyhands.report.curves import client_curves
from manyhands.report.each import MOST_VALUES
from manyhands.report.fairness import fairness
from manyhands.report.figure import THEME, Figure
from manyhands.report.page import write_report
from manyhands.report.summary import sentences
from manyhands.report.tables import Row
from manyhands.runs.reading import RunView

RowsOf = Callable[[Path], list[Row]]


def check_drawing(figure: Figure) -> str:
    altair.Chart.from_dict(figure.spec | {"config": THEME})  # raises where it breaks Vega-Lite's schema
    svg = str(vl_convert.vegalite_to_svg(figure.spec | {"config": THEME} | ({"width": 400} if figure.wide else {})))
    assert svg.startswith("<svg")
    assert "NaN" not in svg
    return svg


def of_run(folder: Path) -> dict[str, Figure]:
    return {figure.key: figure for figure in client_run_figures(RunView.read(folder), "run")}


def of_study(rows: list[Row]) -> dict[str, Figure]:
    return {figure.key: figure for figures in study_figures(rows).values() for figure in figures}


@pytest.fixture
def federated(fake: ModuleType, tmp_path: Path) -> Path:
    """Two strategies with two seeds each; the second does better at the worst clients."""
    for seed in range(2):
        fake.with_clients(fake.write_run(tmp_path / f"a{seed}", "fedavg", seed=seed))
        fake.with_clients(fake.write_run(tmp_path / f"b{seed}", "fedprox", seed=seed), level=0.05, own=False)
    return tmp_path


# ---- one run


@pytest.mark.parametrize("clients", [1, 8, 100, 101, 700])
def test_a_run_shows_its_clients(fake: ModuleType, tmp_path: Path, clients: int) -> None:
    figures = of_run(fake.with_clients(fake.write_run(tmp_path / "a", "fedavg"), clients))
    keys = ["run-clients-accuracy", "run-clients-loss", "run-fairness", *(["run-sizes"] if clients > 1 else [])]
    assert list(figures) == keys
    for figure in figures.values():
        check_drawing(figure)
        assert figure.caption
        assert len(figure.alt) > 40
        assert all(len(row) == len(figure.header) for row in figure.rows)


def test_few_clients_have_lines_and_the_worst_are_marked(fake: ModuleType, tmp_path: Path) -> None:
    figures = of_run(fake.with_clients(fake.write_run(tmp_path / "a", "fedavg"), 20))
    for key in ("run-clients-accuracy", "run-clients-loss"):
        lines = figures[key].spec["datasets"]["each"]
        assert len(lines) == 20
        assert {line["who"] for line in lines if line["worst"]} == {0, 1}
        assert all(len(line["x"]) == len(line["y"]) == 11 for line in lines)
    accuracy = figures["run-clients-accuracy"]
    lines, means = (accuracy.spec["datasets"][name] for name in ("each", "mean"))
    assert means[-1]["y"] == pytest.approx(np.mean([line["y"][-1] for line in lines]), abs=1e-4)  # four digits
    assert len(accuracy.rows) == 20
    assert accuracy.rows[3][:3] == ["3", "130", "13"]


def test_many_clients_are_bands_of_quantiles(fake: ModuleType, tmp_path: Path) -> None:
    folder = fake.with_clients(fake.write_run(tmp_path / "a", "fedavg"), 400)
    figure = of_run(folder)["run-clients-accuracy"]
    last = figure.spec["datasets"]["rows"][-1]
    values = RunView.read(folder).at_clients["accuracy"]
    theirs = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
    assert [last[name] for name in ("lowest", "low", "middle", "high", "highest")] == pytest.approx(theirs)
    assert len(figure.rows) == 11


def test_long_runs_of_many_clients_stay_small(fake: ModuleType, tmp_path: Path) -> None:
    folder = fake.with_clients(fake.write_run(tmp_path / "a", "fedavg", epochs=300), 100)
    lines = of_run(folder)["run-clients-accuracy"].spec["datasets"]["each"]
    assert sum(len(line["y"]) for line in lines) <= MOST_VALUES
    assert lines[0]["x"][-1] == 300
    dots = of_run(fake.with_clients(fake.write_run(tmp_path / "b", "fedavg"), 3_000))["run-sizes"]
    assert len(dots.rows) <= MOST_DOTS
    assert f"{len(dots.rows)} of 3,000 clients are drawn" in dots.caption


def test_a_client_without_test_samples_is_left_out(fake: ModuleType, tmp_path: Path) -> None:
    figures = of_run(fake.with_clients(fake.write_run(tmp_path / "a", "fedavg"), 5, gap=2))
    for figure in figures.values():
        check_drawing(figure)
    assert {line["who"] for line in figures["run-clients-loss"].spec["datasets"]["each"]} == {0, 1, 3, 4}
    assert figures["run-clients-accuracy"].rows[2] == ["2", "120", "0", "–", "–"]
    assert sum(bar["n"] for bar in figures["run-fairness"].spec["datasets"]["bars"]) == 4


def test_the_histogram_has_the_measures_behind_it(fake: ModuleType, tmp_path: Path) -> None:
    folder = fake.with_clients(fake.write_run(tmp_path / "a", "fedavg"), 20)
    figure = of_run(folder)["run-fairness"]
    accuracy = np.array(RunView.read(folder).at_clients["accuracy"])
    told = {row[0]: row[1].replace("\u00a0", " ") for row in figure.rows}
    assert told["Mean over the clients"] == f"{100 * accuracy.mean():.2f} %"
    assert told["Worst 10 %"] == f"{100 * np.sort(accuracy)[:2].mean():.2f} %"
    assert told["Best 10 %"] == f"{100 * np.sort(accuracy)[-2:].mean():.2f} %"
    assert told["Spread"] == f"{100 * accuracy.std():.2f} %"
    assert told["Clients"] == "20"
    assert figure.rows[-1][2] == "10"
    assert sum(bar["n"] for bar in figure.spec["datasets"]["bars"]) == 20
    assert "√(Σ (aᵢ − ā)² / n)" in figure.caption


def test_runs_without_clients_show_none(fake: ModuleType, tmp_path: Path, rows: list[Row]) -> None:
    assert of_run(fake.write_run(tmp_path / "a", "fedavg")) == {}
    assert not any(heading.startswith("Clients") for heading in study_figures(rows))
    assert "tenth" not in " ".join(sentences(rows))
    assert all(fairness(row.series) is None for row in rows)


def test_clients_of_equal_size_have_no_picture_of_size(fake: ModuleType, tmp_path: Path) -> None:
    folder = fake.with_clients(fake.write_run(tmp_path / "a", "fedavg"))
    record = fake.read_json(folder / "run.json")
    for node in record["nodes"]:
        node["samples"] = 100
    fake.write_json(folder / "run.json", record)
    assert "run-sizes" not in of_run(folder)
    record["nodes"] = []
    fake.write_json(folder / "run.json", record)
    figures = of_run(folder)
    assert "run-sizes" not in figures
    assert figures["run-clients-loss"].rows[0][1] == "–"


# ---- several series


def test_series_are_compared_at_their_clients(federated: Path, rows_of: RowsOf) -> None:
    rows = rows_of(federated)
    sections = study_figures(rows)
    assert [figure.key for figure in sections["Clients"]] == [
        "fairness",
        "worst-clients-by-round",
        "personalisation-gain-by-round",
    ]
    for figure in sections["Clients"]:
        check_drawing(figure)
    ranges = {row["series"]: row for row in sections["Clients"][0].spec["datasets"]["rows"]}
    assert ranges["fedprox"]["worst"] > ranges["fedavg"]["worst"]
    assert all(row["worst"] < row["mean"] < row["best"] for row in ranges.values())
    table = {row[0]: row[1:] for row in sections["Clients"][0].rows}
    assert table["fedavg"][0] == "8"
    assert table["fedavg"][-1].replace("\u00a0", " ") == "5.00 %"
    assert table["fedprox"][-2:] == ["–", "–"]


def test_curves_by_round_are_those_of_the_history(federated: Path, rows_of: RowsOf) -> None:
    series = [row.series for row in rows_of(federated)]
    worst, gain = client_curves(series)
    points = [point for point in worst.spec["datasets"]["points"] if point["series"] == "fedavg"]
    assert [point["x"] for point in points] == list(range(11))
    mean = np.mean([run.history[-1]["worst_decile"] for run in series[0].runs])
    assert points[-1]["y"] == pytest.approx(mean, rel=1e-4)
    assert {row[0] for row in gain.rows} == {"fedavg"}


def test_a_loss_by_local_steps_is_drawn_below_nothing(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    folder = fake.with_clients(fake.write_run(tmp_path / "a", "fedavg"))
    history = folder / "history.jsonl"
    history.write_text(history.read_text().replace('gain": 0.05', 'gain": -0.2'))
    rows = rows_of(tmp_path)
    gain = of_study(rows)["personalisation-gain-by-round"]
    low, high = gain.spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert gain.spec["datasets"]["zero"] == [{"y": 0}]
    assert low < -0.2
    assert high == 0
    check_drawing(gain)
    assert "were 20.00\u00a0percentage points less accurate on their own samples" in " ".join(sentences(rows))


def test_the_summary_tells_who_is_fair(
    federated: Path, fake: ModuleType, tmp_path_factory: pytest.TempPathFactory, rows_of: RowsOf
) -> None:
    text = " ".join(sentences(rows_of(federated))).replace("\u00a0", " ")
    assert "At the worst tenth of its clients fedprox was most accurate" in text
    assert "and fedavg least" in text
    assert (
        "After local steps the clients of fedavg were 5.00 percentage points more accurate on their own samples."
        in text
    )
    alone = fake.with_clients(fake.write_run(tmp_path_factory.mktemp("one") / "a", "fedavg"))
    text = " ".join(sentences(rows_of(alone))).replace("\u00a0", " ")
    assert "At its 8 clients fedavg was" in text
    assert "at the worst tenth of them" in text


def test_one_run_of_a_series_without_clients_leaves_the_series_out(
    federated: Path, fake: ModuleType, rows_of: RowsOf
) -> None:
    (federated / "b1" / "clients.jsonl").unlink()
    known = {row.series.label: fairness(row.series) for row in rows_of(federated)}
    assert known["fedprox"] is None
    assert known["fedavg"] is not None


def test_the_page_has_a_section_of_the_clients(federated: Path, tmp_path: Path) -> None:
    html = write_report([federated], tmp_path / "report.html").read_text(encoding="utf-8")
    assert ">Clients</h2>" in html
    assert "Personalisation gain by round" in html
    assert 'id="run-3-fairness"' in html


def test_damaged_rows_are_told_and_the_others_drawn(fake: ModuleType, tmp_path: Path) -> None:
    folder = fake.with_clients(fake.write_run(tmp_path / "a", "fedavg"))
    lines = (folder / "clients.jsonl").read_text().splitlines()
    (folder / "clients.jsonl").write_text("\n".join([*lines[:4], "{", *lines[5:], '{"comp']))
    figure = of_run(folder)["run-clients-accuracy"]
    assert figure.spec["datasets"]["each"][0]["x"] == [0, 1, 2, 3, *range(5, 11)]
    assert "clients.jsonl: line 5 is damaged and left out" in RunView.read(folder).problems


# ---- who holds which samples


def test_sizes_are_drawn_where_they_differ(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.write_run(tmp_path / "a", "gossip")
    figure = of_study(rows_of(tmp_path))["sizes-0"]
    check_drawing(figure)
    partition = RunView.read(tmp_path / "a").partition
    assert partition is not None
    assert [int(row[1].replace(",", "")) for row in figure.rows] == [sum(row) for row in partition["counts"]]
    even = {**partition, "counts": [[5, *[4] * 9]] * 4 + [[4] * 10] * 4}
    fake.write_json(tmp_path / "a" / "partition.json", even)
    assert "sizes-0" not in of_study(rows_of(tmp_path))


def test_many_sizes_are_a_curve(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.write_run(tmp_path / "a", "gossip", workers=500)
    figure = of_study(rows_of(tmp_path))["sizes-0"]
    check_drawing(figure)
    drawn = [row["n"] for row in figure.spec["datasets"]["rows"]]
    assert drawn == sorted(drawn, reverse=True)
    assert len(drawn) <= 200


def test_feature_skew_is_shown_by_a_sample_of_each_worker(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.with_portraits(fake.write_run(tmp_path / "a", "gossip", partition="noise:0.1"))
    figures = of_study(rows_of(tmp_path))
    svg = check_drawing(figures["portraits-0"])
    assert svg.count("<image") == 8
    assert ">7</text>" in svg
    assert figures["partition-0"].caption.startswith("Worker i has noise. Samples of each class")


def test_equal_shares_that_look_different_are_two_partitions(fake: ModuleType, tmp_path: Path, rows_of: RowsOf) -> None:
    fake.with_portraits(fake.write_run(tmp_path / "a", "gossip", partition="noise:0.1"))
    folder = fake.write_run(tmp_path / "b", "gossip", partition="iid")
    counts: Any = fake.read_json(tmp_path / "a" / "partition.json")["counts"]
    fake.write_json(folder / "partition.json", fake.read_json(folder / "partition.json") | {"counts": counts})
    assert {"partition-0", "partition-1", "portraits-0"} <= set(of_study(rows_of(tmp_path)))


@pytest.mark.parametrize(
    "portraits", [[{"worker": 0, "png": "<script>"}], [{"worker": 99, "png": "AAAA"}], [{"png": "AAAA"}], [3]]
)
def test_portraits_that_are_none_are_damage(fake: ModuleType, tmp_path: Path, portraits: Any) -> None:
    folder = fake.write_run(tmp_path / "a", "gossip")
    fake.write_json(folder / "partition.json", fake.read_json(folder / "partition.json") | {"portraits": portraits})
    run = RunView.read(folder)
    assert run.partition is None
    assert run.problems == ("partition.json is damaged and left out",)


def test_all_figures_of_a_federated_report_have_keys_of_their_own(federated: Path, rows_of: RowsOf) -> None:
    rows = rows_of(federated)
    keys = [figure.key for figures in study_figures(rows).values() for figure in figures]
    runs = [run for row in rows for run in row.series.runs]
    keys += [figure.key for number, run in enumerate(runs) for figure in run_figures(run, f"run-{number}")]
    assert len(keys) == len(set(keys))
