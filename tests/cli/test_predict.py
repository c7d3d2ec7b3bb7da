"""``manyhands predict``: a table, pictures and JSON, and reasons for what cannot be predicted."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from manyhands.cli.main import main
from manyhands.clusters.node import Node
from manyhands.clusters.simulated.profile import DeviceProfile
from manyhands.strategies import STRATEGIES, Strategy

TINY = ["predict", "--task", "mnist-mini/logistic", "--out", "out"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_profile(**changes: object) -> str:
    profile = replace(DeviceProfile.load("nominal"), **({"name": "mine"} | changes))  # type: ignore[arg-type]
    Path("mine.json").write_text(json.dumps(profile.to_json()))
    return "mine.json"


def test_all_strategies_in_80_columns_and_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--strategies", "all", "--workers", "2", "4", "--network", "1G", "wan"]) == 0
    captured = capsys.readouterr()
    *table, last = captured.out.splitlines()
    assert last == "out"
    assert max(map(len, table)) <= 80
    text = captured.out
    assert all(name in text for name in STRATEGIES if name != "single")
    assert "1G (1Gbit/s, 50us), batch 32" in text
    assert "T₁/(n·Tₙ)" in text
    assert "no ±" in text
    names = {path.name for path in Path("out").iterdir()}
    assert {"prediction.json", "predicted-speedup.png", "predicted-speedup.svg", "predicted-epoch-time.png"} <= names
    assert Path("out/predicted-speedup.png").read_bytes().startswith(b"\x89PNG")


def test_json_has_every_quantity_with_its_interval(capsys: pytest.CaptureFixture[str]) -> None:
    profile = write_profile(compute_spread=0.03, link_spread=0.1)
    argv = ["--strategies", "single", "all-reduce", "--workers", "1", "4", "--profile", profile, "--json"]
    assert main([*TINY, *argv]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    content = json.loads(captured.out)
    saved = json.loads(Path("out/prediction.json").read_text())
    assert {key: content[key] for key in saved} == saved
    assert content["profile"]["digest"] == DeviceProfile.load(profile).digest
    rows = content["predictions"]
    assert [(row["name"], row["workers"]) for row in rows] == [("single", 1), ("all-reduce", 1), ("all-reduce", 4)]
    for row in rows:
        for quantity in ("step_seconds", "epoch_seconds", "speedup", "efficiency", "communication"):
            assert row[quantity]["low"] <= row[quantity]["value"] <= row[quantity]["high"]
    assert rows[-1]["epoch_seconds"]["low"] < rows[-1]["epoch_seconds"]["high"]
    assert rows[-1]["bytes_per_step"] > 0
    assert "efficiency" in content["formulas"]


def test_one_number_of_workers_is_drawn_too() -> None:
    assert main([*TINY, "--strategies", "gossip", "local-sgd", "--workers", "4", "--quiet"]) == 0
    assert Path("out/predicted-epoch-time.svg").read_text().startswith("<svg")


def test_no_data_are_needed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MANYHANDS_DATA", "nowhere")
    argv = ["predict", "--task", "cifar10/resnet18", "--strategies", "all-reduce", "--workers", "1024", "--out", "out"]
    assert main([*argv, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["predictions"]
    assert row["steps_per_epoch"] == 2
    assert not Path("nowhere").exists()


def test_a_profile_of_another_task_warns_or_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    argv = [*TINY, "--strategies", "gossip", "--workers", "2", "--profile", write_profile(task="mnist/cnn")]
    assert main([*argv, "--strict"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "mine may not fit: it was measured on the task mnist/cnn, not mnist-mini/logistic" in error
    assert not Path("out").exists()
    assert main([*argv, "--quiet"]) == 0
    captured = capsys.readouterr()
    assert "manyhands: warning: profile mine may not fit: it was measured on the task mnist/cnn" in captured.err
    assert json.loads(Path("out/prediction.json").read_text())["warnings"]


class Curious(Strategy):
    async def worker(self, node: Node) -> None:
        async for batch in node.batches():
            if (await node.gradient(batch)).norm() > 1:
                return


def test_a_strategy_that_looks_at_values(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Curious, "name", "curious", raising=False)
    monkeypatch.setitem(STRATEGIES, "curious", Curious)
    argv = [*TINY, "--workers", "2", "--strategies", "curious"]
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert "curious cannot be predicted without learning: __bool__ needs the values of a tensor" in error
    assert not Path("out").exists()
    assert main([*argv, "gossip"]) == 0
    assert "not predicted: curious ×2: curious cannot be predicted without learning" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--network", "fast"], "unknown network 'fast'"),
        (["--strategies", "gosip"], "unknown strategy 'gosip'"),
        (["--profile", "none"], "unknown device profile 'none'"),
        (["--workers", "7000"], "7000 is more than the 6000 training samples"),
        (["--task", "mnist-mini/lenet6"], "unknown task"),
        (["--workers", "2", "--stragglers", "9:2"], "names node 9"),
        (["--jitter", "-1"], "jitter"),
    ],
)
def test_bad_input(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--strategies", "gossip", *flags]) == 2
    error = capsys.readouterr().err
    assert error.startswith("manyhands: error: ")
    assert error.count("\n") == 1
    assert words in error
    assert not Path("out").exists()


def test_predictions_have_a_page_and_report_makes_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--strategies", "all-reduce", "gossip", "--workers", "2", "4", "--network", "1G", "wan"]) == 0
    page = Path("out/report.html")
    text = page.read_text(encoding="utf-8")
    assert "Predictions for mnist-mini/logistic" in text
    assert "1G, batch 32: the shortest epoch is that of" in text
    assert text.count('class="plot"') == 4
    capsys.readouterr()
    page.unlink()
    assert main(["report", "out"]) == 0
    assert capsys.readouterr().out == "out/report.html\n"
    assert page.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"task": "a", "profile": {}, "predictions": [{}]}'])
def test_damaged_predictions_are_told(content: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    Path("out/prediction.json").write_text(content)
    assert main(["report", "out"]) == 2
    assert "prediction.json is damaged: predict again" in capsys.readouterr().err
