"""What strategies do, and where they are from."""

from pathlib import Path
from types import ModuleType

import pytest

from manyhands.report.methods import methods
from manyhands.report.page import write_report
from manyhands.runs.reading import RunView


def test_each_strategy_is_told_once_with_its_paper_linked(fake: ModuleType, tmp_path: Path) -> None:
    for seed in range(2):
        fake.with_method(fake.write_run(tmp_path / f"a{seed}", "all-reduce", seed=seed))
    fake.write_run(tmp_path / "b", "gossip")
    html = write_report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    section = html[html.index('id="strategies"') : html.index('id="runs"')]
    assert section.count("<dt>") == 1
    assert (
        '<a href="https://arxiv.org/abs/2006.15704" rel="noreferrer">Li et al. 2020, PyTorch Distributed</a>' in section
    )
    assert "2 (n − 1) / n · P · 4 B a step" in section


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", " JAVASCRIPT:x", '"onclick="x', ""])
def test_only_addresses_of_the_web_are_linked(fake: ModuleType, tmp_path: Path, url: str) -> None:
    run = fake.with_method(fake.write_run(tmp_path / "a", "all-reduce"), url=url, about="<script>x</script>")
    (method,) = methods([RunView.read(run)])
    assert method.url == ""
    html = write_report([run], tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<a href="http' not in html[html.index('id="strategies"') : html.index('id="runs"')]
    assert "<script>x" not in html


@pytest.mark.parametrize("told", [None, [], "x", {"about": None}])
def test_runs_of_earlier_versions_tell_nothing(fake: ModuleType, tmp_path: Path, told: object) -> None:
    run = fake.write_run(tmp_path / "a", "all-reduce")
    fake.write_json(run / "run.json", fake.read_json(run / "run.json") | {"method": told})
    assert methods([RunView.read(run)]) == []
