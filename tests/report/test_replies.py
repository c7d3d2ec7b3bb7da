"""What a report says and shows of replies that did not count, and of rounds that were skipped."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import altair
import pytest
import vl_convert

from manyhands.report.charts import run_figures
from manyhands.report.figure import THEME, Figure
from manyhands.report.replies import counted, in_words
from manyhands.report.reply_bars import MOST_BARS, replies_figure
from manyhands.report.summary import sentences
from manyhands.report.tables import summary_rows
from manyhands.runs.reading import RunView


def row(rounds: int, **figures: float) -> dict[str, Any]:
    return {"round": rounds, "figures": figures}


def told(folder: Path, counts: list[dict[str, Any]], every: int = 1) -> Path:
    """Make a run one whose server counted so much from one evaluation to the next, with so many rounds between."""
    first = json.loads((folder / "history.jsonl").read_text().splitlines()[0])
    total: dict[str, float] = {}
    rows = [first | {"round": 0, "completed": 0}]
    for number, each in enumerate(counts, start=1):
        total = {name: total.get(name, 0) + each.get(name, 0) for name in total | each}
        rows.append(first | {"round": number * every, "completed": number * every, "figures": total})
    (folder / "history.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    return folder


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"round": 3}], ""),
        ([row(3, replies=9, late=0, dropped=0)], ""),
        ([row(3, replies=8, late=1, dropped=0)], "8 replies in time, 1 late"),
        ([row(3, replies=1, dropped=5)], "1 reply in time, 5 dropped out"),
        (
            [row(3, replies=4, late=1, dropped=4, skipped=1)],
            "4 replies in time, 1 late, 4 dropped out; 1 of 3\u00a0rounds was",
        ),
        ([row(3, replies=2, skipped=2)], "2 replies in time; 2 of 3\u00a0rounds were skipped"),
        (
            [row(3, late=9, skipped=3)],
            "0 replies in time, 9 late; 3 of 3\u00a0rounds were skipped, and the model is as",
        ),
        (
            [row(3, late=2000, replies=1), row(4, late=1, skipped=1)],
            "1 reply in time, 2,001 late; 1 of 7\u00a0rounds was",
        ),
        ([{"round": 3, "figures": {"late": "many", "skipped": float("nan")}}], ""),
        ([{"round": 3, "figures": ["late"]}], ""),
    ],
)
def test_words(rows: list[dict[str, Any]], words: str) -> None:
    assert in_words(rows).startswith(words)
    assert bool(in_words(rows)) == bool(words)


def test_a_run_shows_its_replies_round_by_round(fake: ModuleType, tmp_path: Path) -> None:
    folder = told(
        fake.write_run(tmp_path / "a", "fedavg"),
        [
            {"replies": 4, "late": 0, "dropped": 0},
            {"replies": 1, "late": 2, "dropped": 1, "skipped": 1},
            {"replies": 3, "late": 1, "dropped": 0},
        ],
    )
    [figure] = replies_figure(RunView.read(folder), "run")
    assert figure.key in [other.key for other in run_figures(RunView.read(folder), "run")]
    assert figure.rows == [["1", "4", "0", "0", "0"], ["2", "1", "2", "1", "1"], ["3", "3", "1", "0", "0"]]
    assert "8 replies in time, 3 late, 1 dropped out; 1 of 3\u00a0rounds was skipped" in figure.caption
    bars = figure.spec["datasets"]["rows"]
    assert [(bar["what"], bar["low"], bar["high"]) for bar in bars if bar["from"] == 1.5] == [
        ("in time", 0, 1),
        ("late", 1, 3),
        ("dropped out", 3, 4),
    ]
    assert {bar["from"] for bar in bars if bar["solid"] < 1} == {1.5}
    altair.Chart.from_dict(figure.spec | {"config": THEME})  # raises where it breaks Vega-Lite's schema
    assert "NaN" not in vl_convert.vegalite_to_svg(figure.spec | {"config": THEME, "width": 400})


def test_of_many_rounds_some_share_a_bar(fake: ModuleType, tmp_path: Path) -> None:
    """And evaluations that are rounds apart."""
    counts = [{"replies": 6, "late": 2, "skipped": place % 2} for place in range(2 * MOST_BARS - 1)]
    [figure] = replies_figure(RunView.read(told(fake.write_run(tmp_path / "a", "fedavg"), counts, every=2)), "run")
    assert len(figure.rows) == MOST_BARS
    assert [rounds[0] for rounds in figure.rows[:3]] == ["1–2", "3–6", "7–10"]
    assert figure.rows[1][1:] == ["12", "4", "0", "1"]
    bars = [bar for bar in figure.spec["datasets"]["rows"] if bar["from"] == 2.5]
    assert [(bar["to"], bar["high"], bar["n"]) for bar in bars] == [(6.5, 3, 12), (6.5, 4, 4)]
    assert _sum(figure, 1) == 6 * len(counts)
    assert _sum(figure, 4) == sum(place % 2 for place in range(len(counts)))


def _sum(figure: Figure, column: int) -> int:
    return sum(int(row[column]) for row in figure.rows)


def test_where_all_counted_there_is_nothing_to_show(fake: ModuleType, tmp_path: Path) -> None:
    all_counted = told(fake.write_run(tmp_path / "a", "fedavg"), [{"replies": 4, "late": 0, "dropped": 0}] * 2)
    assert counted(RunView.read(all_counted).history[-1])["replies"] == 8
    for folder in (all_counted, fake.write_run(tmp_path / "b", "gossip")):
        assert not replies_figure(RunView.read(folder), "run")
    damaged = [{"round": at, "figures": {"late": 3}} for at in (None, 2, 2, 1)]
    for content in ("", *(json.dumps(each) + "\n" for each in damaged)):
        (all_counted / "history.jsonl").write_text(content)
        assert not replies_figure(RunView.read(all_counted), "run")
    (all_counted / "history.jsonl").write_text("".join(json.dumps(each) + "\n" for each in damaged))
    assert not replies_figure(RunView.read(all_counted), "run")


def test_the_summary_says_whose_clients_did_not_count(fake: ModuleType, tmp_path: Path) -> None:
    told(fake.write_run(tmp_path / "a", "fedavg"), [{"replies": 4, "late": 3, "dropped": 0, "skipped": 0}])
    told(fake.write_run(tmp_path / "b", "fedprox"), [{"replies": 4, "late": 0, "dropped": 0}])
    told(fake.write_run(tmp_path / "c", "fedavg", seed=1), [{"replies": 5, "late": 2, "dropped": 0, "skipped": 0}])
    rows = summary_rows([RunView.read(tmp_path / name) for name in "abc"])
    assert "Not all clients counted: fedavg got 9 replies in time, 5 late." in sentences(rows)
    assert not any("Not all clients" in sentence for sentence in sentences(rows[1:]))
