"""The training loss of each worker."""

from pathlib import Path
from types import ModuleType

import vl_convert

from manyhands.report.charts import run_figures
from manyhands.report.each import MOST_LINES
from manyhands.report.figure import THEME, Figure
from manyhands.runs.reading import RunView


def of_run(folder: Path) -> list[Figure]:
    return [figure for figure in run_figures(RunView.read(folder), "run") if figure.key == "run-workers-loss"]


def test_every_worker_has_a_line_and_the_worst_is_marked(fake: ModuleType, tmp_path: Path) -> None:
    (figure,) = of_run(fake.with_worker_losses(fake.write_run(tmp_path / "a", "gossip")))
    lines = figure.spec["datasets"]["each"]
    assert {line["who"] for line in lines if line["worst"]} == {7}
    assert lines[0]["x"] == list(range(1, 11))  # before the first epoch nobody has trained
    assert len(figure.rows) == 8
    assert vl_convert.vegalite_to_svg(figure.spec | {"config": THEME, "width": 300}).startswith("<svg")


def test_many_workers_are_bands(fake: ModuleType, tmp_path: Path) -> None:
    (figure,) = of_run(fake.with_worker_losses(fake.write_run(tmp_path / "a", "gossip"), MOST_LINES + 1))
    assert figure.alt.startswith("Bands")
    assert len(figure.rows) == 10


def test_half_written_rows_are_left_out_and_most_runs_have_none(fake: ModuleType, tmp_path: Path) -> None:
    assert of_run(fake.write_run(tmp_path / "a", "gossip")) == []
    folder = fake.with_worker_losses(fake.write_run(tmp_path / "b", "gossip"))
    lines = (folder / "workers.jsonl").read_text().splitlines()
    (folder / "workers.jsonl").write_text("\n".join([*lines[:3], '{"train_loss": 3}', lines[4], '{"compl']))
    (figure,) = of_run(folder)
    assert figure.spec["datasets"]["each"][0]["x"] == [1, 2, 4]
    assert "workers.jsonl: line 4 is damaged and left out" in RunView.read(folder).problems
