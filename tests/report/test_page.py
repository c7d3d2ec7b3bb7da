"""The page as a file: whole, offline, escaped, small; and drawn by a browser where there is one."""

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from manyhands.errors import UserError
from manyhands.report.page import json_for_script, write_report

EVIL = '</script><script>alert(1)</script><img src=x onerror="alert(2)">'


class Page(HTMLParser):
    """Elements with their attributes, and the text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self.inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts[-1] += data
        elif self.inside != "style":
            self.text += data

    def tags(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]

    def plots(self) -> list[dict[str, str | None]]:
        return [attributes for attributes in self.tags("div") if attributes.get("class") == "plot"]

    @property
    def specifications(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.scripts[0])
        return content


def written(paths: list[Path], out: Path) -> Page:
    return Page(write_report(paths, out).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def report(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report([study], tmp_path_factory.mktemp("report") / "deep" / "report.html")


@pytest.fixture(scope="module")
def page(report: Path) -> Page:
    return Page(report.read_text(encoding="utf-8"))


def test_the_page_is_one_small_file_that_asks_for_nothing(report: Path, page: Page) -> None:
    assert report.stat().st_size <= 1_500_000
    assert not page.tags("link")
    assert not page.tags("img")
    assert all("src" not in script for script in page.tags("script"))
    assert "@import" not in report.read_text(encoding="utf-8")
    assert [item.name for item in report.parent.iterdir()] == ["report.html"]


def test_the_page_tells_the_study(page: Page) -> None:
    text = re.sub(r"\s+", " ", page.text.replace("\u00a0", " "))
    assert "Six ways to share the training" in text
    assert "Study of strategy, seed · 14 runs" in text
    assert "Accuracy after 10 epochs all-reduce 97.47 ± 4.71 %" in text
    assert "Not settled: the 95 % interval (2 seeds, paired by seed) includes zero." in text
    assert "T₁ / (n · Tₙ)" in text
    assert "algbw = S / t" in text
    assert "manyhands train --task mnist-mini/lenet5 --strategy gossip --seed 1" in text
    assert "Intel(R) Xeon(R) Platinum 8488C, 2 cores, 15.6 GiB" in text


def test_every_chart_has_its_place_its_description_and_its_table(page: Page) -> None:
    charts = page.specifications["charts"]
    plots = page.plots()
    assert {plot["id"] for plot in plots} == set(charts)
    assert len(plots) == len(charts) == 9 + 1 + 1 + 2 + 2 * 2 + 2 * 14 + 2
    assert all(plot["role"] == "img" and plot["aria-label"] for plot in plots)
    assert len([one for one in page.tags("details") if one.get("class") == "data"]) == len(plots)


def test_lists_of_a_specification_are_written_plainly(fake: ModuleType, tmp_path: Path) -> None:
    fake.write_run(tmp_path / "a", "gossip", slow=("0:4", "3:2"))
    page = written([tmp_path], tmp_path / "report.html")
    assert "0:4, 3:2" in page.text
    fake.write_run(tmp_path / "b" / "c", "gossip")
    assert "cluster slow" not in written([tmp_path / "b"], tmp_path / "report.html").text


def test_what_is_known_of_the_strategy_is_with_its_specification(page: Page) -> None:
    assert page.text.count("spectral gap") == 2
    assert "0.1953" in page.text


def test_headings_do_not_skip_a_level(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_ids_are_unique(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)


def test_names_from_runs_are_text(fake: ModuleType, tmp_path: Path) -> None:
    fake.write_run(
        tmp_path / "a", EVIL, name=EVIL, task=EVIL, classes=(EVIL, "b"), options={EVIL: EVIL}, partition=EVIL
    )
    fake.write_run(tmp_path / "b", EVIL, options={EVIL: "\ud800"}, status=EVIL)
    page = written([tmp_path], tmp_path / "report.html")
    assert len(page.scripts) == 3
    assert not page.tags("img")
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert EVIL in page.text
    assert EVIL in json.dumps(page.specifications, ensure_ascii=False).replace('\\"', '"')


@pytest.mark.parametrize("content", ["</script>", "<!--", "]]>", "&lt;", '"', "\u2028"])
def test_json_in_a_script_reads_back_and_cannot_end_it(content: str) -> None:
    text = json_for_script({"a": content})
    assert json.loads(text) == {"a": content}
    assert not set(text) & set("<>&\u2028")


def test_damaged_and_unfinished_runs_break_nothing_else(fake: ModuleType, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    fake.write_run(runs / "whole", "gossip")
    fake.write_run(runs / "under-way", "fedavg", status="running")
    fake.write_run(runs / "failed", "local-sgd", status="failed")
    bare = fake.write_run(runs / "bare", "all-reduce")
    for name in ("history.jsonl", "ledger.json", "partition.json", "evaluation.json"):
        (bare / name).unlink()
    broken = fake.write_run(runs / "broken", "single")
    (broken / "run.json").write_text('{"format": 1, ')
    fake.write_study(runs, [runs / name for name in ("whole", "under-way", "failed", "bare", "broken", "gone")])
    text = written([runs], tmp_path / "report.html").text
    assert f"{broken / 'run.json'} is damaged: it must hold one JSON object" in text
    assert f"{runs / 'gone' / 'run.json'} is missing" in text
    assert "under-way (running), failed (failed)" in text
    assert "running at epoch 5" in text
    assert "failed: loss is not a number at step 412" in text
    assert "history.jsonl is missing or cannot be read" in text
    assert "93.84" in text


def test_a_path_given_twice_is_one_run(fake: ModuleType, tmp_path: Path) -> None:
    run = fake.write_run(tmp_path / "a", "gossip")
    page = written([run, tmp_path, tmp_path / "." / "a"], tmp_path / "report.html")
    details = [one for one in page.tags("details") if one.get("class") == "run"]
    assert details == [{"class": "run", "open": None}]


def test_where_nothing_can_be_read_nothing_is_written(fake: ModuleType, tmp_path: Path) -> None:
    run = fake.write_run(tmp_path / "a", "gossip")
    fake.write_json(run / "run.json", {"format": 99})
    with pytest.raises(UserError, match="has format 99"):
        write_report([run], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_an_unwritable_place_is_told_and_left_as_it_was(fake: ModuleType, tmp_path: Path) -> None:
    run = fake.write_run(tmp_path / "a", "gossip")
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UserError, match=r"cannot write .*file.report.html"):
        write_report([run], tmp_path / "file" / "report.html")
    (tmp_path / "report.html").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        write_report([run], tmp_path / "report.html")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a", "file", "report.html"]


def test_a_large_study_stays_small(fake: ModuleType, tmp_path: Path) -> None:
    runs = [
        fake.write_run(tmp_path / f"{strategy}-{workers}-{seed}", strategy, workers=workers, seed=seed, epochs=100)
        for strategy in fake.CHARACTER
        for workers in (4, 64)
        for seed in range(2)
    ]
    page = write_report([fake.write_study(tmp_path, runs)], tmp_path / "report.html")
    assert page.stat().st_size <= 2_000_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_browser_draws_every_chart_without_a_network(browser: Any, report: Path, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    tab = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(report.as_uri())
    tab.wait_for_function("document.querySelectorAll('main > section .plot svg').length >= 12")
    tab.locator("details.run").first.evaluate("run => { run.open = true; }")
    tab.wait_for_function("document.querySelectorAll('details.run[open] .plot svg').length === 2")
    assert asked == [report.as_uri()]
    assert said == []
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    context.close()
