"""The picture of a run's first steps."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from manyhands.report.figure import Figure
from manyhands.report.lanes import MOST_SPANS, lanes_figure
from manyhands.report.page import write_report
from manyhands.runs import trace
from manyhands.runs.reading import RunView
from manyhands.runs.trace import Trace

MS = 1_000_000
STEP = 20 * MS
"""of `node`: 10 ms of gradient, behind which a bucket is hidden for 4, 6 exposed, 1 of arithmetic, 3 of waiting"""


def node(steps: int, offset: int = 0, first: int = 0, compressed: bool = False) -> Trace:
    kept = Trace()
    kept.add("evaluation", 0, 5 * MS, "evaluation")
    now = 5 * MS + offset
    for number in range(steps):
        late = first if number == 0 else 0
        kept.add("compute", now, now + 10 * MS + late, "gradient")
        now += 10 * MS + late
        kept.add("hidden", now - 4 * MS, now, "bucket 0")
        kept.add("compression" if compressed else "exposed", now, now + 6 * MS, "bucket 1")
        kept.add("compute", now + 6 * MS, now + 7 * MS, "vector arithmetic")
        kept.add("waiting", now + 7 * MS, now + 10 * MS, "for all")
        now += 10 * MS
    kept.add("evaluation", now, now + 100 * MS, "evaluation")
    return kept


def figure_of(folder: Path, traces: list[Trace], workers: int | None = None) -> Figure:
    run = RunView.read(folder)
    content = trace.encode(dict(enumerate(traces)), workers or run.workers, clock=run.clock)
    (folder / "trace.json").write_bytes(content)
    (figure,) = lanes_figure(RunView.read(folder), "run-0")
    return figure


def spans(figure: Figure) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = figure.spec["datasets"]["spans"]
    return rows


def test_four_steps_are_drawn_of_every_node(fake: ModuleType, tmp_path: Path) -> None:
    figure = figure_of(fake.write_run(tmp_path / "run", workers=2), [node(9), node(9)])
    gradients = [(row["from"], row["to"]) for row in spans(figure) if row["name"] == "gradient" and row["top"] < 0]
    assert sorted(gradients) == [(0, 10), (20, 30), (40, 50), (60, 70)]  # milliseconds
    assert max(row["to"] for row in spans(figure)) == 80
    assert {row["kind"] for row in spans(figure)} == {
        "compute", "exposed communication", "hidden communication", "waiting"
    }  # fmt: skip
    assert figure.header == ("Node", "Compute", "Exposed communication", "Hidden communication", "Waiting")
    assert [[cell.replace("\u00a0", " ") for cell in row] for row in figure.rows] == [
        [f"worker {rank}", "44.0 ms", "24.0 ms", "16.0 ms", "12.0 ms"] for rank in (0, 1)
    ]
    assert "overlap = 1 − exposed / (exposed + hidden) = 40\u00a0%" in figure.caption


def test_hidden_communication_lies_below_its_node(fake: ModuleType, tmp_path: Path) -> None:
    figure = figure_of(fake.write_run(tmp_path / "run", workers=2), [node(9), node(9)])
    for row in spans(figure):
        place = round((row["top"] + row["end"]) / 2)
        inside = row["top"] >= place + 0.2 if row["kind"] == "hidden communication" else row["end"] <= place + 0.21
        assert inside, row


def test_the_very_first_step_of_a_real_run_is_left_out(fake: ModuleType, tmp_path: Path) -> None:
    slow = [node(9, first=500 * MS), node(9, first=500 * MS)]
    figure = figure_of(fake.write_run(tmp_path / "run", workers=2, clock="real"), slow)
    assert max(row["to"] for row in spans(figure)) == 80
    assert "but for the very first" in figure.caption
    assert "very first" not in figure_of(fake.write_run(tmp_path / "other", workers=2), slow).caption


def test_it_goes_on_until_communication_is_seen_but_not_into_an_evaluation(fake: ModuleType, tmp_path: Path) -> None:
    kept = Trace()
    for number in range(7):
        kept.add("compute", number * MS, (number + 1) * MS, "gradient")
    kept.add("exposed", 7 * MS, 8 * MS, "all-reduce")
    kept.add("compute", 8 * MS, 9 * MS, "gradient")
    kept.add("evaluation", 9 * MS, 900 * MS, "evaluation")
    figure = figure_of(fake.write_run(tmp_path / "run", workers=1), [kept])
    assert [row["to"] for row in spans(figure) if row["name"] == "all-reduce"] == [8]
    assert max(row["to"] for row in spans(figure)) == 8
    assert "evaluation" not in {row["kind"] for row in spans(figure)}


def test_servers_have_lanes_beside_many_workers(fake: ModuleType, tmp_path: Path) -> None:
    figure = figure_of(fake.write_run(tmp_path / "run", workers=40), [node(3)] * 42)
    names = [row[0] for row in figure.rows]
    assert names == [*(f"worker {rank}" for rank in range(8)), "server 40", "server 41"]
    assert "10 of 42 nodes" in figure.caption
    assert len(spans(figure)) <= MOST_SPANS


def test_compression_has_a_colour_of_its_own(fake: ModuleType, tmp_path: Path) -> None:
    figure = figure_of(fake.write_run(tmp_path / "run", workers=1), [node(5, compressed=True)])
    scale = figure.spec["layer"][0]["encoding"]["color"]["scale"]
    assert len(set(scale["range"])) == len(scale["range"]) == len(scale["domain"]) == 4
    assert "compression" in scale["domain"]


def test_it_can_be_drawn(fake: ModuleType, tmp_path: Path) -> None:
    import vl_convert

    figure = figure_of(fake.write_run(tmp_path / "run", workers=3), [node(9, offset=rank * MS) for rank in range(3)])
    svg = vl_convert.vegalite_to_svg({**figure.spec, "width": 520})
    assert svg.count("worker") >= 3
    assert "gradient" in svg
    assert "NaN" not in svg


def test_the_page_shows_it(fake: ModuleType, tmp_path: Path) -> None:
    folder = fake.write_run(tmp_path / "run", workers=2)
    figure_of(folder, [node(9), node(9)])
    html = write_report([folder], tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'id="run-0-lanes"' in html
    assert '<figure class="broad">' in html


@pytest.mark.parametrize("content", [None, "{", "[]", '{"traceEvents": [{"ph": "X"}]}', '{"traceEvents": []}'])
def test_without_a_whole_trace_there_is_no_picture_and_no_complaint(
    content: str | None, fake: ModuleType, tmp_path: Path
) -> None:
    folder = fake.write_run(tmp_path / "run")
    if content is not None:
        (folder / "trace.json").write_text(content)
    run = RunView.read(folder)
    assert lanes_figure(run, "run-0") == []
    assert run.problems == ()


def test_a_trace_without_steps_has_no_picture(fake: ModuleType, tmp_path: Path) -> None:
    folder = fake.write_run(tmp_path / "run", workers=1)
    idle = Trace()
    idle.add("waiting", 0, 5, "for all")
    (folder / "trace.json").write_bytes(trace.encode({0: idle}, 1, clock="simulated"))
    assert lanes_figure(RunView.read(folder), "run-0") == []
