"""Runs what a page of the documentation tells its reader to run, and holds the page to what that prints.

Of the fenced blocks of a page, in order and in one new folder:

- ``bash``: commands, which are run;
- ``python``: a file, saved under the name in its first line (``# mine.py``); without one it is run;
- ``output``: what the block before printed, as far as processors agree (see `agree`);
- ``text`` and ``shell``: what differs from machine to machine, and commands for machines that are not here; shown only.

``python tests/docs/pages.py docs/tutorials/student.md`` writes anew what the commands of a page print.
"""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block; ``start`` and ``end`` are where its content stands in the page."""

    language: str
    content: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Printed:
    """What a block of output says, and what was printed."""

    block: Block
    command: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [
        Block(language=found[1], content=found[2], start=found.start(2), end=found.end(2))
        for found in FENCE.finditer(page.read_text())
    ]


def commands(block: Block) -> list[list[str]]:
    """One a line, as words; lines that end in a backslash go on in the next, and what follows a # is for the reader."""
    lines = block.content.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def run(page: Path, folder: Path) -> Iterator[Printed]:
    """Run a page's blocks in a folder; gives each block of output with what was printed."""
    printed, last = "", ""
    for block in blocks(page):
        if block.language == "output":
            yield Printed(block=block, command=last, text=printed)
        elif block.language == "bash":
            printed, last = "".join(_run(words, folder) for words in commands(block)), block.content
        elif block.language == "python":
            if name := re.match(r"# (\w+\.py)\n", block.content):
                (folder / name[1]).write_text(block.content)
            else:
                printed, last = _python(["-c", block.content], folder), block.content


def _run(words: list[str], folder: Path) -> str:
    if words[0] == "manyhands":
        return _manyhands(words[1:], folder)
    if words[0] == "python":
        return _python(words[1:], folder)
    return _output([*words], folder)


def _manyhands(words: list[str], folder: Path) -> str:
    """In this process, as Python and torch take seconds to start."""
    from manyhands.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    assert status == 0, f"manyhands {shlex.join(words)}\n{err.getvalue()}"
    return out.getvalue()


def _python(words: list[str], folder: Path) -> str:
    return _output([sys.executable, *words], folder)


def _output(words: list[str], folder: Path) -> str:
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    scripts = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PYTHONPATH": paths, "PATH": scripts}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr}"
    return done.stdout


def tidy(text: str) -> str:
    """As it stands in a page: without spaces at the ends of lines, and empty lines around it."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n") + "\n"


NUMBER = re.compile(r"(± *)?(\d[\d,]*\.?\d*(?:e-?\d+)?)( %)?")


def agree(said: str, printed: str) -> bool:
    """Whether two texts are the same but for what processors make of the last bits of a sum, which training magnifies.

    Words must be equal; numbers differ by a tenth at most, percentages by two points, and half-widths of intervals
    at will.
    """
    if " ".join(NUMBER.sub("#", said).split()) != " ".join(NUMBER.sub("#", printed).split()):
        return False
    for one, other in zip(NUMBER.finditer(said), NUMBER.finditer(printed), strict=True):
        a, b = (float(found[2].replace(",", "")) for found in (one, other))
        if not one[1] and abs(a - b) > (2 if one[3] else 0.1 * max(a, b)):
            return False
    return True


def write(page: Path) -> None:
    """Put what the commands print now into the page."""
    with tempfile.TemporaryDirectory() as folder:
        found = [(one.block, tidy(one.text)) for one in run(page, Path(folder))]
    text = page.read_text()
    for block, printed in reversed(found):
        text = text[: block.start] + printed + text[block.end :]
    page.write_text(text)


if __name__ == "__main__":
    os.environ["COLUMNS"] = "80"
    for argument in sys.argv[1:]:
        write(Path(argument))
