"""One worker against its batch size: formulas, and a measurement of a second."""

import math
from pathlib import Path

import pytest
import torch
from toys import toy

from manyhands.clusters.cluster import Processes
from manyhands.errors import UserError
from manyhands.measure import batch_size
from manyhands.measure.results import Result, Spread, bench_folder
from manyhands.runs.specification import Specification
from noting import Noting

BASE = Specification(cluster=Processes(threads=1))


def test_the_usual_sizes_are_those_that_fit() -> None:
    assert batch_size.prepare(BASE, (), toy(samples=240), None)[1] == [8, 32, 128]


@pytest.mark.parametrize("size", [0, -1, 241])
def test_a_batch_that_does_not_fit_is_refused(size: int) -> None:
    with pytest.raises(UserError, match=f"--batch-sizes {size}: it must lie in 1 … 240"):
        batch_size.prepare(BASE, (8, size), toy(samples=240), None)


def test_quantities_follow_from_the_step_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size, "LEAST_SECONDS", 0.001)
    monkeypatch.setattr(batch_size, "PEAK_SECONDS", 0.0)
    threads = torch.get_num_threads()
    experiment, sizes = batch_size.prepare(BASE, (64, 16), toy(samples=240), None)
    result = Result(kind="batch-size", title="", conditions={"task": "toy"})
    say = Noting()
    with bench_folder(tmp_path / "new", result, "") as bench:
        batch_size.measure_batch_sizes(bench, experiment, sizes, 3, say)
    assert torch.get_num_threads() == threads
    assert "batch 16, repeat 3 of 3" in say.said
    assert len(say.said) == say.expected
    assert {"task", "peak", "threads", "precision"} <= result.conditions.keys()
    (table,) = result.tables
    assert [row["batch"] for row in table.rows] == [16, 64]
    forward = 2 * (6 * 8 + 8 * 3)  # the toy's two layers
    ratios = set()
    for row in table.rows:
        batch, values = row["batch"], {key: cell.value for key, cell in row.items() if isinstance(cell, Spread)}
        assert isinstance(batch, int)
        assert all(isinstance(row[key], Spread) for key in ("step", "epoch", "rate", "flops", "share"))
        assert values["epoch"] == pytest.approx(math.ceil(240 / batch) * values["step"])
        assert values["rate"] == pytest.approx(batch / values["step"])
        assert values["flops"] == pytest.approx(3 * forward * values["rate"])
        assert 0 < values["share"] < 1
        ratios.add(round(values["flops"] / values["share"]))
    assert len({math.log2(ratio) // 0.001 for ratio in ratios}) <= 2  # one peak for all
    assert result.sentences
