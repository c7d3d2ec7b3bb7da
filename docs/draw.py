"""Draws the pictures of the strategies' pages: each from the command that stands before it on its page.

A picture ``pictures/STRATEGY-KEY.svg`` is the figure KEY of a report on the command's runs, such as
``accuracy-by-epoch``, or ``topology-0``, who sent how much to whom. Pictures that are there already are kept. As an
extension of Sphinx, it draws those that are missing before the site is built.

usage: python docs/draw.py [STRATEGY …]       default: all
"""

import json
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from manyhands import lab
from manyhands.cli import compare
from manyhands.cli.arguments import parse_specification
from manyhands.cli.flags import Variants, parse
from manyhands.report.charts import run_figures, study_figures
from manyhands.report.figure import Figure
from manyhands.report.figures import write_charts
from manyhands.report.tables import summary_rows
from manyhands.runs.reading import RunView
from manyhands.runs.specification import Specification
from manyhands.training.optimizer import OPTIMIZERS, Optimizer

PAGES = Path(__file__).parent / "strategies"
PICTURES = PAGES / "pictures"
PADDING = {"left": 2, "top": 6, "right": 40, "bottom": 2}
"""pixels; on the right, as a browser's font may be wider than the one in which names were measured"""


class Picture(NamedTuple):
    """One picture of a page."""

    name: str
    key: str
    commands: tuple[str, ...]


def pictures(page: Path) -> Iterator[Picture]:
    """Those of a page, each with the commands of the last block before it."""
    commands: tuple[str, ...] = ()
    parts = re.compile(r"^```bash\n(.*?)^```|^!\[[^\]]*\]\(pictures/([\w-]+)\.svg\)", flags=re.MULTILINE | re.DOTALL)
    for block, name in parts.findall(page.read_text(encoding="utf-8")):
        if name:
            yield Picture(name, name.removeprefix(f"{page.stem}-"), commands)
        else:
            commands = tuple(line for line in block.replace("\\\n", " ").splitlines() if line.startswith("manyhands "))


def specifications(command: str) -> list[Specification]:
    """The runs of ``manyhands train`` or ``manyhands compare``."""
    _, verb, *words = shlex.split(command)
    if verb == "train":
        return [parse_specification(words, "manyhands train", "").specification]
    assert verb == "compare", f"{command} makes no runs"
    variants: dict[type[Any], Variants] = {Optimizer: Variants(OPTIMIZERS, "sgd")}
    options = parse(compare.Compare, words, "manyhands compare", "", variants=variants)
    return list(compare.study_of(options, words).specifications)


class Runs:
    """Trains what is asked for, nothing twice."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, specification: Specification) -> RunView:
        text = json.dumps(specification.to_json(), sort_keys=True)
        path = self._folder / f"{specification.strategy.name}-{sha256(text.encode()).hexdigest()[:12]}"
        if not path.exists():
            lab.train(specification, out=path)
        return RunView.read(path)


def figure(picture: Picture, runs: Runs) -> Figure:
    """The report's figure; raises KeyError if the runs have none of that key."""
    done = [runs(each) for command in picture.commands for each in specifications(command)]
    figures = [figure for group in study_figures(summary_rows(done)).values() for figure in group]
    figures += run_figures(done[-1], "run")
    return {figure.key: figure for figure in figures}[picture.key]


def draw(pages: Sequence[Path], folder: Path = PICTURES) -> list[Path]:
    """Draw what is missing on the pages, into ``folder``; returns the new files."""
    drawn = []
    with TemporaryDirectory() as scratch:
        runs = Runs(Path(scratch))
        for picture in (picture for page in pages for picture in pictures(page)):
            if not (folder / f"{picture.name}.svg").exists():
                chart = figure(picture, runs)
                named = replace(chart, key=picture.name, spec=chart.spec | {"padding": PADDING})
                drawn += write_charts([named], folder, ["svg"])
    return drawn


def setup(app: Any) -> dict[str, bool]:
    """Make it an extension of Sphinx."""
    app.connect("builder-inited", lambda _: draw(sorted(PAGES.glob("*.md"))))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    names = sys.argv[1:] or [page.stem for page in sorted(PAGES.glob("*.md"))]
    for file in draw([PAGES / f"{name}.md" for name in names]):
        print(file)
