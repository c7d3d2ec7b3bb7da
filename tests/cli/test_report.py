"""``manyhands report``: where pages and figures go."""

import json
from pathlib import Path

import pytest

from manyhands.cli.main import main


def test_the_page_lies_where_it_is_told_to(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "new" / "page.html"
    assert main(["report", str(finished), "--out", str(page)]) == 0
    assert capsys.readouterr().out == f"{page}\n"
    assert page.read_text().startswith("<!doctype html>")


def test_figures_lie_beside_the_page(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(finished), "--out", str(tmp_path / "page.html"), "--figures", "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert written["report"] == str(tmp_path / "page.html")
    assert {Path(figure).suffix for figure in written["figures"]} == {".svg", ".png"}
    assert all(Path(figure).parent == tmp_path / "figures" for figure in written["figures"])
    assert all(Path(figure).stat().st_size for figure in written["figures"])


def test_the_files_that_are_promised_are_written(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--figures", "--tables", "--json"]
    assert main(["report", str(finished), "--out", str(tmp_path / "page.html"), *flags]) == 0
    names = {file.name for file in tmp_path.rglob("*.*")}
    assert names >= {"training_curves.png", "per_class_accuracy.png", "confusion_matrix.png"}
    assert names >= {"speedup_analysis.png", "baseline_vs_distributed_comparison.png"}
    assert names >= {"performance_comparison.csv", "test_summary.json"}
    told = json.loads(capsys.readouterr().out)
    assert {Path(file).name for file in (*told["figures"], *told["tables"])} == names - {"page.html"}


def test_one_folder_keeps_its_page_and_several_have_theirs_here(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(finished.parent)]) == 0
    assert capsys.readouterr().out == f"{finished.parent / 'report.html'}\n"
    assert main(["report", str(finished), str(finished.parent)]) == 0
    assert capsys.readouterr().out == "report.html\n"
