"""Runs as they should not be: the page is made all the same, and nothing in them is executed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from manyhands.report.contents import Contents
from manyhands.report.export import write_tables
from manyhands.report.page import write_page
from manyhands.report.panels import named_figures

SCRIPT = "<script>alert(1)</script>"
EVENT = '" onload="alert(2)" x="'
IMAGE = "<img src=x onerror=alert(3)>"
LONG = "long-" * 200


def rewrite(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Path:
    rows = [change(json.loads(line)) for line in (folder / "history.jsonl").read_text().splitlines()]
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def half_written(fake: ModuleType, folder: Path) -> None:
    fake.write_run(folder, "gossip")
    text = (folder / "history.jsonl").read_text()
    (folder / "history.jsonl").write_text(text[: len(text) // 2])
    for name in ("ledger.json", "evaluation.json", "partition.json"):
        (folder / name).write_text((folder / name).read_text()[:100])
    (folder / "workers.jsonl").write_text('{"completed": 1, "train')


def of_no_numbers(fake: ModuleType, folder: Path) -> None:
    fake.write_run(folder, "gossip")
    nothing = float("nan")
    rewrite(folder, lambda row: row | {"test_loss": nothing, "test_accuracy": nothing, "train_loss": float("inf")})


def of_no_length(fake: ModuleType, folder: Path) -> None:
    fake.write_run(folder, "gossip", epochs=0)


def of_one_epoch(fake: ModuleType, folder: Path) -> None:
    fake.write_run(folder, "gossip", epochs=1)


def of_many_classes(fake: ModuleType, folder: Path) -> None:
    fake.with_mistakes(fake.write_run(folder, "gossip", classes=tuple(f"a class of number {i}" for i in range(100))))


def of_many_workers(fake: ModuleType, folder: Path) -> None:
    fake.write_run(folder, "gossip", workers=10_000, epochs=2)
    fake.with_worker_losses(folder, 10_000)
    fake.with_traffic(folder, fake.ring(10_000))


def of_long_names(fake: ModuleType, folder: Path) -> None:
    fake.with_method(fake.write_run(folder, LONG, name=LONG, task=LONG, classes=(LONG, "b")), about=LONG, paper=LONG)


def that_attacks(fake: ModuleType, folder: Path) -> None:
    fake.write_run(
        folder, SCRIPT, name=SCRIPT, task=EVENT, classes=(IMAGE, EVENT), options={IMAGE: SCRIPT}, partition=EVENT
    )
    fake.with_mistakes(folder)
    fake.with_traffic(folder, fake.star(8))
    fake.with_method(folder, about=IMAGE, sends=SCRIPT, paper=EVENT, url=f"https://x{EVENT}")
    record = fake.read_json(folder / "run.json")
    fake.write_json(folder / "run.json", record | {"command": IMAGE, "error": SCRIPT, "facts": {EVENT: IMAGE}})


STRANGE = (
    *(half_written, of_no_numbers, of_no_length, of_one_epoch),
    *(of_many_classes, of_many_workers, of_long_names, that_attacks),
)


@pytest.mark.parametrize("strange", STRANGE)
def test_page_tables_and_figures_are_made(
    fake: ModuleType, tmp_path: Path, strange: Callable[[ModuleType, Path], None]
) -> None:
    strange(fake, tmp_path / "strange")
    for number, folders in enumerate(([tmp_path / "strange"], [tmp_path])):
        if number:
            fake.write_run(tmp_path / "whole", "fedavg")
        contents = Contents.read(folders)
        html = write_page(contents, tmp_path / f"{number}.html").read_text(encoding="utf-8")
        assert SCRIPT not in html
        assert IMAGE not in html
        assert EVENT not in html
        assert len(html) < 2_500_000
        assert write_tables(contents, tmp_path / "tables")
        assert all("NaN" not in json.dumps(figure.spec) for figure in (*named_figures(contents), *contents.figures))


@pytest.mark.slow
def test_in_a_browser_nothing_is_executed_and_everything_is_drawn(fake: ModuleType, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine")
    for strange in STRANGE:
        strange(fake, tmp_path / strange.__name__)
    page = write_page(Contents.read([tmp_path]), tmp_path / "report.html")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": 390, "height": 844})
        said: list[str] = []
        tab.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: said.append(request.url) if request.url != page.as_uri() else None)
        tab.goto(page.as_uri())
        tab.evaluate("document.querySelectorAll('details.run').forEach(run => { run.open = true; })")
        drawn = "[...document.querySelectorAll('.plot')].every(plot => plot.querySelector('svg'))"
        tab.wait_for_function(drawn, timeout=120_000)
        assert [text for text in said if not text.startswith("data:image/png;base64,")] == []
        assert tab.locator("h1").count() == 1
        assert SCRIPT in tab.locator("body").inner_text()
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
        browser.close()
