"""How soon the live page shows 200 runs of 1,000 rows: the server's share, and in Chromium from the click to the list.

Then, how long after a row was written to a file it stands in the list, and on the page of its run, chart included.

python benchmarks/live_page.py [RUNS] [ROWS]
"""

import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import sync_playwright

from manyhands.cli.ui import forms
from manyhands.runs.specification import Specification
from manyhands.ui.index import Index
from manyhands.ui.serve import Server, bind
from manyhands.ui.server import Application

REPEATS = 5
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


def write_runs(folder: Path, runs: int, rows: int) -> None:
    for number in range(runs):
        run = folder / f"run-{number:04d}"
        run.mkdir()
        record: dict[str, Any] = {"format": 1, "status": "finished", "created": "2026-01-01T00:00:00+00:00"}
        record["specification"] = Specification(seed=number, epochs=rows).to_json()
        (run / "run.json").write_text(json.dumps(record))
        lines = []
        for row in range(rows):
            done = {
                "seconds": 0.1 * row,
                "epoch": float(row),
                "completed": row,
                "samples": 6000 * row,
                "consensus": 0.0,
            }
            learnt = {"train_loss": 1 / (row + 1), "test_loss": 1 / (row + 1), "test_accuracy": row / rows}
            lines.append(json.dumps(done | learnt | {"bytes": 1_000_000 * row}) + "\n")
        (run / "history.jsonl").write_text("".join(lines))


def seen(run: Path, text: Callable[[], str]) -> list[float]:
    """Seconds from a row's being written until a text of the page holds its accuracy."""
    times = []
    for number in range(REPEATS):
        row = json.loads((run / "history.jsonl").read_text().splitlines()[-1])
        row |= {"completed": row["completed"] + 1, "epoch": row["epoch"] + 1, "test_accuracy": 0.4321 + number / 1e4}
        with (run / "history.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        begun = time.perf_counter()
        while f"{100 * row['test_accuracy']:.2f}" not in text():
            time.sleep(0.01)
        times.append(time.perf_counter() - begun)
    return times


def told(what: str, times: list[float]) -> None:
    print(f"{what} after {median(times):.3f} s ({min(times):.3f} to {max(times):.3f}, {len(times)} times)")


def main() -> None:
    runs, rows = (int(word) for word in (sys.argv[1:] or ["200", "1000"]))
    with tempfile.TemporaryDirectory() as scratch:
        write_runs(Path(scratch), runs, rows)
        index = Index(Path(scratch))
        for which in ("first", "again"):
            begun, worked = time.perf_counter(), time.process_time()
            index.refresh()
            wall, cpu = time.perf_counter() - begun, time.process_time() - worked
            print(f"index of {runs} runs of {rows} rows, {which}: {wall:.3f} s, {cpu:.3f} s of a core")

        with bind(0) as listener:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}/?token=t"
            server = Server(Application(Path(scratch), forms(), allow_launch=False), "t", listener.getsockname()[1])
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
                times = []
                for _ in range(REPEATS):
                    window = browser.new_page()
                    window.goto(address)
                    window.wait_for_selector(f"tr.run >> nth={runs - 1}")
                    times.append(window.evaluate("performance.getEntriesByName('list drawn')[0].startTime") / 1e3)
                    window.close()
                told("list drawn in Chromium", times)
                run = Path(scratch) / "run-0000"
                window = browser.new_page()
                window.goto(address)
                window.wait_for_selector(f"tr.run >> nth={runs - 1}")
                told("a row of a file is in the list", seen(run, window.locator(f"tr[data-id={run.name}]").inner_text))
                window.goto(f"{address.partition('?')[0]}run?id={run.name}")
                window.wait_for_selector("figure[data-key=test_accuracy] svg")
                chart = window.locator("figure[data-key=test_accuracy] .plot")
                told("a row of a file is on its run's page", seen(run, window.locator(".tiles").inner_text))
                told("a row of a file is in its run's chart", seen(run, lambda: str(chart.get_attribute("aria-label"))))
                browser.close()
            server.should_exit = True
            thread.join()


if __name__ == "__main__":
    main()
