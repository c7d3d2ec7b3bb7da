"""The page in Chromium, clicked through: skipped where there is no Chromium or no playwright to drive it."""

import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from manyhands.cli.ui import forms
from manyhands.ui.serve import LOOPBACK, Server, bind
from manyhands.ui.server import Application

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium"),
    pytest.mark.xdist_group("browser"),
]

TOKEN = "a-token-of-tests"
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
PATIENT = 20_000  # milliseconds


class Running:
    """The server in a thread, which can be stopped and started again at the same address."""

    def __init__(self, root: Path, *, allow_launch: bool = True) -> None:
        self.root, self.allow_launch, self.port = root, allow_launch, 0
        self.start()

    def start(self) -> None:
        self.listener = bind(self.port)
        self.port = self.listener.getsockname()[1]
        self.application = Application(self.root, forms(), allow_launch=self.allow_launch)
        self.server = Server(self.application, TOKEN, self.port)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]})
        self.thread.start()

    def stop(self) -> None:
        self.application.watch.close()
        self.server.should_exit = True
        self.thread.join(30)
        self.listener.close()

    @property
    def base(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def running(fake: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("browser") / "runs"
    fake.six_strategies(folder / "six", seeds=1)
    fake.write_run(folder / "done", "gossip", seed=3)
    fake.write_run(folder / "deep" / "<script>alert(1)<", "all-reduce", seed=5)
    fake.write_run(folder / "going", "local-sgd", seed=1, status="running")
    fake.write_run(folder.parent / "outside", "fedavg")
    (folder / "damaged").mkdir()
    (folder / "damaged" / "run.json").write_text('{"format": 1, "na')
    one = Running(folder)
    yield one
    one.stop()


@pytest.fixture
def page(browser: Any, running: Running) -> Iterator[Any]:
    """A window that was opened at the address with the token, and complains of nothing."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENT)
    window = context.new_page()
    complaints: list[str] = []
    window.on("pageerror", lambda error: complaints.append(str(error)))
    window.on("console", lambda said: complaints.append(said.text) if "Content Security Policy" in said.text else None)
    window.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    window.goto(f"{running.base}/?token={TOKEN}")
    window.wait_for_selector("tr.run")
    yield window
    window.unroute_all(behavior="ignoreErrors")
    context.close()
    assert complaints == []


def append(run: Path, **changes: Any) -> None:
    row = json.loads((run / "history.jsonl").read_text().splitlines()[-1])
    row |= {"epoch": row["epoch"] + 1, "completed": int(row["epoch"]) + 1, "seconds": row["seconds"] + 1} | changes
    with (run / "history.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something is true that asks the page: what the page does is done meanwhile."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < seconds
        time.sleep(0.02)


def test_the_token_is_needed_once_and_leaves_the_address(browser: Any, page: Any, running: Running) -> None:
    assert page.url == f"{running.base}/"
    page.reload()
    page.wait_for_selector("tr.run")
    stranger = browser.new_context().new_page()
    stranger.goto(running.base)
    assert "This page needs its whole address" in stranger.inner_text("body")
    stranger.context.close()


def test_runs_are_filtered_ticked_and_compared(page: Any) -> None:
    assert page.locator("tr.run").count() == 11
    assert page.inner_text("tr.study th").startswith("Six ways to share the training")
    assert "run.json is damaged" in page.inner_text("tr.run.damaged")
    page.fill("input[type=search]", "GOSSIP dirichlet")
    until(lambda: page.locator("tr.run").count() == 2)
    for tick in page.locator("tr.run input[type=checkbox]").all():
        tick.check()
    page.fill("input[type=search]", "no such run")
    assert page.get_by_text("No run matches.").is_visible()
    page.fill("input[type=search]", "single-0")
    page.locator("tr.run input[type=checkbox]").first.check()
    assert "3 ticked" in page.inner_text(".tray")
    page.get_by_role("link", name="Compare").click()
    page.wait_for_selector(".plot svg")
    assert page.inner_text("h1") == "3 runs"
    rows = page.locator(".summary tbody tr")
    assert [text.split("\n")[0].strip() for text in rows.all_inner_texts()] == ["single", "gossip"]
    assert "2\u00a0seeds" in rows.last.inner_text()  # of gossip: one line with their mean
    lines = page.locator("figure[data-key=test_accuracy] svg .mark-line path")
    assert lines.count() == 2
    page.get_by_role("button", name="by bytes").click()
    until(lambda: page.locator("figure h3").first.inner_text() == "Test accuracy by bytes")


def test_a_wicked_name_is_text(page: Any) -> None:
    row = page.locator("tr.run", has_text="alert(1)")
    assert "deep/<script>alert(1)<" in row.inner_text()
    row.get_by_role("link").click()
    page.wait_for_selector("figure")
    assert "<script>alert(1)<" in page.inner_text(".kind")


def test_sorting_by_a_column(page: Any) -> None:
    page.get_by_role("button", name="Accuracy").click()
    told = page.locator("tr.run td.accuracy").all_inner_texts()
    accuracies = [float(text.split("\u00a0")[0]) for text in told if "%" in text]
    assert accuracies == sorted(accuracies, reverse=True)


def test_a_new_row_is_seen_by_itself(page: Any, running: Running) -> None:
    page.goto(f"{running.base}/run?id=going")
    page.wait_for_selector("figure[data-key=test_accuracy] svg")
    chart = page.locator("figure[data-key=test_accuracy] .plot")
    append(running.root / "going", test_accuracy=0.4321)
    until(lambda: "43.21" in page.inner_text(".tiles"))
    until(lambda: "43.21" in (chart.get_attribute("aria-label") or ""))
    page.goto(f"{running.base}/")
    page.wait_for_selector("tr.run")
    append(running.root / "going", test_accuracy=0.5555)
    until(lambda: "55.55" in page.locator("tr[data-id=going]").inner_text())


def held_back(page: Any, question: str) -> list[tuple[Any, Any]]:
    """The answers to a question from now on, none of which the page gets before it is given to it."""
    held: list[tuple[Any, Any]] = []
    page.route(question, lambda route: held.append((route, route.fetch())))
    return held


def test_an_answer_older_than_an_event_takes_nothing_back_of_a_run(page: Any, running: Running) -> None:
    page.goto(f"{running.base}/run?id=going")
    page.wait_for_selector("figure[data-key=test_accuracy] svg")
    held = held_back(page, "**/api/run?*")
    append(running.root / "going", test_accuracy=0.6161)
    until(lambda: "61.61" in page.inner_text(".tiles") and len(held) == 1)
    append(running.root / "going", test_accuracy=0.6262)
    until(lambda: "62.62" in page.inner_text(".tiles"))
    route, answer = held[0]
    route.fulfill(response=answer)
    chart = page.locator("figure[data-key=test_accuracy] .plot")
    until(lambda: "61.61" in (chart.get_attribute("aria-label") or ""))  # the answer has come
    assert "62.62" in page.inner_text(".tiles")


def test_an_answer_older_than_an_event_takes_nothing_back_of_the_list(page: Any, running: Running) -> None:
    held = held_back(page, "**/api/runs")
    page.reload()
    until(lambda: page.locator(".link.on").count() == 1 and len(held) == 2)  # asked at once, and when events begin
    append(running.root / "going", test_accuracy=0.7171)
    until(lambda: "71.71" in page.inner_text("main"))
    assert page.locator("tr.run").count() == 1  # what the event told, nothing else is known yet
    for route, answer in held:
        assert "71.71" not in answer.text()
        route.fulfill(response=answer)
    page.wait_for_selector("tr[data-id=done]")
    assert "71.71" in page.locator("tr[data-id=going]").inner_text()


def test_a_new_run_appears_and_one_that_is_gone_leaves(page: Any, running: Running, fake: ModuleType) -> None:
    fake.write_run(running.root / "fresh", "diloco")
    page.wait_for_selector("tr[data-id=fresh]")
    shutil.rmtree(running.root / "fresh")
    page.wait_for_selector("tr[data-id=fresh]", state="detached")


def test_no_sign_of_life(page: Any, running: Running, fake: ModuleType) -> None:
    silent = fake.write_run(running.root / "silent", "gossip", status="running")
    then = time.time() - 3 * 3600
    for file in silent.iterdir():
        os.utime(file, (then, then))
    page.reload()
    page.wait_for_selector("tr[data-id=silent]")
    assert "no sign of life for 3 h" in page.inner_text("tr[data-id=silent]")


def test_a_damaged_run_has_a_page(page: Any, running: Running) -> None:
    page.goto(f"{running.base}/run?id=damaged")
    page.wait_for_selector(".problem")
    assert "run.json is damaged: it must hold one JSON object" in page.inner_text("main")


def test_a_path_outside_is_refused(page: Any, running: Running) -> None:
    page.goto(f"{running.base}/run?id=../outside")
    page.wait_for_selector(".problem")
    assert re.search(r"\.\./outside is not in .*/runs", page.inner_text("main"))


def test_a_report_opens(page: Any, running: Running) -> None:
    page.goto(f"{running.base}/report?id=done")
    page.wait_for_selector(".plot svg")
    assert page.inner_text("h1")


def test_an_error_stands_beside_its_field(page: Any, running: Running) -> None:
    page.goto(f"{running.base}/new")
    page.get_by_label("Workers").fill("0")
    error = page.locator("[data-for='--workers'] .error")
    error.wait_for()
    assert error.inner_text() == "--workers must be positive and finite, not 0"
    assert page.get_by_label("Workers").get_attribute("aria-invalid") == "true"
    page.get_by_role("button", name="Start").click()
    until(lambda: page.get_by_role("button", name="Start").is_enabled())
    assert page.url.endswith("/new")
    page.get_by_label("Workers").fill("4")
    error.wait_for(state="hidden")
    page.get_by_label("Strategy", exact=False).first.select_option("gossip")
    page.get_by_label("Topology").fill("complete")
    until(lambda: "--strategy gossip --strategy.topology complete" in page.inner_text(".told pre"))


def test_what_only_the_command_finds_wrong_stands_beside_its_field_too(page: Any, running: Running) -> None:
    page.goto(f"{running.base}/new")
    page.get_by_label("Task").fill("mnist-mini/lenet6")
    page.get_by_role("button", name="Start").click()
    error = page.locator("[data-for='--task'] .error")
    error.wait_for(timeout=60_000)
    assert "unknown task 'mnist-mini/lenet6'" in error.inner_text()


@pytest.mark.slow
def test_a_run_is_started_seen_to_finish_and_another_one_stopped(page: Any, running: Running) -> None:
    page.goto(f"{running.base}/new")
    page.get_by_label("Workers").fill("2")
    page.get_by_label("Epochs").fill("1")
    page.get_by_text("More options").click()
    page.get_by_label("Samples").fill("200")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/run?id=*", timeout=60_000)
    page.wait_for_selector(".now .state.good", timeout=60_000)
    assert page.inner_text(".now .state") == "finished"
    page.locator("figure[data-key=run-lanes]").scroll_into_view_if_needed()
    page.wait_for_selector("figure[data-key=run-lanes] svg")

    page.get_by_role("link", name="New run like this").click()
    page.get_by_label("Epochs").fill("900")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/run?id=*", timeout=60_000)
    page.wait_for_selector("figure[data-key=test_accuracy]", timeout=60_000)
    page.wait_for_selector(".progress")
    page.get_by_role("button", name="Stop").click()
    page.wait_for_selector("text=stopped", timeout=60_000)
    assert "manyhands train --resume" in page.inner_text(".resume pre")
    page.get_by_role("button", name="Resume").wait_for()  # as soon as the command has ended


@pytest.mark.parametrize("what", ["run", "compare"])
def test_what_was_not_here_is_shown_once_it_is(page: Any, running: Running, fake: ModuleType, what: str) -> None:
    page.goto(f"{running.base}/{what}?id=late-{what}")
    page.wait_for_selector("text=To all runs")
    fake.write_run(running.root / f"late-{what}", "gossip")
    page.wait_for_selector("figure[data-key=test_accuracy]" if what == "run" else "table.summary")


@pytest.mark.parametrize("place", ["/", "/run?id=done", "/compare?id=six", "/new"])
def test_a_narrow_window_holds_all(browser: Any, running: Running, place: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme="dark")
    window = context.new_page()
    window.goto(f"{running.base}/?token={TOKEN}")
    window.goto(f"{running.base}{place}")
    window.wait_for_selector("tr.run, figure svg, .field")
    assert window.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


def test_an_empty_folder_says_what_to_do(browser: Any, tmp_path: Path) -> None:
    empty = Running(tmp_path / "none yet", allow_launch=False)
    context = browser.new_context()
    window = context.new_page()
    window.goto(f"{empty.base}/?token={TOKEN}")
    window.wait_for_selector(".empty")
    assert "No runs here yet" in window.inner_text(".empty")
    assert f"manyhands train --strategy gossip --out '{tmp_path}/none yet'/first" in window.inner_text(".empty")
    context.close()
    empty.stop()


def test_a_lost_connection_comes_back(page: Any, running: Running) -> None:
    page.goto(f"{running.base}/run?id=going")
    page.wait_for_selector(".tiles dd")
    running.stop()
    page.wait_for_selector("#lost:not([hidden])")
    assert "The connection is lost" in page.inner_text("#lost")
    append(running.root / "going", test_accuracy=0.6789)
    running.start()
    until(lambda: "67.89" in page.inner_text(".tiles"), 40)
    page.wait_for_selector("#lost", state="hidden")
