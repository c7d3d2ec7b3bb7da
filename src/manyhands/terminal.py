"""What a person at a terminal sees: the consoles, and bars on standard error that live while something takes long.

There is one terminal, and one display in it for all: bars join it and leave it, whoever opens them. Nothing is drawn
where standard error is no terminal, where the terminal cannot move its cursor (TERM=dumb), and while `silenced`.
NO_COLOR takes away colours and styles (https://no-color.org).
"""

import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

COLUMNS = 80
REFRESHES = 4
"""a second"""
WIDTH = 12
"""of the bar itself, in columns"""

Gauge = Callable[[], float]
"""how far something is, from 0 to 1, at any time and from any thread; NaN before it has begun"""


def console(*, stderr: bool = False) -> "Console":
    """For tables and text on standard output, or on standard error."""
    from rich.console import Console

    return Console(stderr=stderr, color_system=None if os.environ.get("NO_COLOR") else "auto", highlight=False)


def is_watched() -> bool:
    """Whether somebody looks: bars are drawn."""
    return sys.stderr.isatty() and os.environ.get("TERM") not in (None, "", "dumb", "unknown") and not _screen.silent


def wrapped(text: str, indent: str = "", hanging: str | None = None) -> str:
    """Prose in lines of 80 columns; ``hanging`` is the indent of all but the first, the same by default."""
    return textwrap.fill(
        text,
        COLUMNS,
        initial_indent=indent,
        subsequent_indent=indent if hanging is None else hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


@contextmanager
def silenced(silent: bool = True) -> Iterator[None]:
    """In here no bars are drawn, if ``silent``."""
    before, _screen.silent = _screen.silent, _screen.silent or silent
    try:
        yield
    finally:
        _screen.silent = before


class Bar:
    """One line: what goes on, how far it is, how fast, how long it will take, and a few words of its own."""

    def __init__(self, what: str, total: float | None, unit: str, gauge: Gauge | None = None) -> None:
        self.what, self.total, self.unit, self.state = what, total, unit, ""
        self.completed = 0.0
        self._gauge: Gauge | None = None
        self._begin(0.0)
        if gauge:
            self.follow(gauge)

    def _begin(self, completed: float) -> None:
        self.completed = self._begun = completed
        self._start = self._moved = time.monotonic()

    def move(
        self,
        completed: float | None = None,
        *,
        total: float | None = None,
        what: str | None = None,
        state: str | None = None,
    ) -> None:
        """Change what is given; a bar does not go back."""
        self.total = self.total if total is None else total
        self.what = self.what if what is None else what
        self.state = self.state if state is None else state
        if completed is not None and completed > self.completed:
            self.completed, self._moved = completed, time.monotonic()

    def follow(self, gauge: Gauge) -> None:
        """Ask a gauge, whenever the bar is drawn, how far it is; what it tells first is where the clock starts."""
        self._gauge, self._waits = gauge, True

    def look(self) -> None:
        """Ask the gauge, if there is one."""
        if self._gauge is None or not isfinite(share := self._gauge()):
            return
        completed = share * (self.total or 0.0)
        if self._waits:
            self._begin(completed)
            self._waits = False
        self.move(completed)

    @property
    def share(self) -> float:
        """Of the whole, 0 to 1."""
        return self.completed / self.total if self.total else 0.0

    @property
    def rate(self) -> float | None:
        """Units per second since the beginning, up to the last move."""
        seconds, done = self._moved - self._start, self.completed - self._begun
        return done / seconds if done and seconds else None

    @property
    def seconds_left(self) -> float | None:
        rate = self.rate
        if rate is None or self.total is None:
            return None
        return max(0.0, (self.total - self.completed) / rate - (time.monotonic() - self._moved))

    def cells(self) -> "list[RenderableType]":
        """What is drawn, in columns."""
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        self.look()
        waits = not self.total or (self._gauge is not None and self._waits)
        bar = ProgressBar(self.total or 1.0, self.completed, width=WIDTH, pulse=waits, animation_time=time.monotonic())
        left = self.seconds_left
        return [
            Text(self.what, no_wrap=True, overflow="ellipsis"),
            bar,
            Text(_amount(self.completed, self.total, self.unit), style="progress.download"),
            Text("" if self.rate is None else _rate(self.rate, self.unit), style="progress.data.speed"),
            Text("" if left is None else f"{_clock(left)} left", style="progress.remaining"),
            Text(self.state, no_wrap=True, overflow="ellipsis"),
        ]


@contextmanager
def bar(what: str, total: float | None, unit: str, gauge: Gauge | None = None) -> Iterator[Bar]:
    """A bar for as long as the context lasts; ``unit`` is the plural, or ``B`` for bytes."""
    line = Bar(what, total, unit, gauge)
    with _screen.showing(line):
        yield line


def tell(line: str) -> None:
    """A line on standard error that stays, above the bars; none while `silenced`."""
    from rich.text import Text

    if _screen.silent:
        return

    shown = _screen.console
    (shown or console(stderr=True)).print(Text(line), soft_wrap=shown is None)


class _Screen:
    """The one display: it comes with the first bar, and goes with the last."""

    def __init__(self) -> None:
        self.silent = False
        self.console: Console | None = None
        self._live: Live | None = None
        self._bars: list[Bar] = []

    @contextmanager
    def showing(self, line: Bar) -> Iterator[None]:
        if not is_watched():
            yield
            return
        self._bars.append(line)
        try:
            if self._live is None:
                self._open()
            yield
        finally:
            self._bars.remove(line)
            if not self._bars:
                self._close()

    def _open(self) -> None:
        from rich.live import Live

        self.console = console(stderr=True)
        # What is printed to standard output may be meant for a file.
        self._live = Live(
            console=self.console,
            get_renderable=self._draw,
            refresh_per_second=REFRESHES,
            transient=True,
            redirect_stdout=False,
        )
        self._live.start(refresh=True)

    def _close(self) -> None:
        if self._live:
            self._live.stop()
        self._live = self.console = None

    def _draw(self) -> "RenderableType":
        from rich.table import Column, Table

        fixed = [Column(no_wrap=True, justify="right") for _ in range(3)]
        table = Table.grid(Column(min_width=8), Column(no_wrap=True), *fixed, Column(), padding=(0, 1))
        for line in list(self._bars):
            table.add_row(*line.cells())
        return table


_screen = _Screen()


# ---- numbers


def _amount(completed: float, total: float | None, unit: str) -> str:
    """``3.4/10 epochs``, ``34.5/170.5 MB``."""
    if unit == "B":
        scale, prefix = _decimal(total or completed)
        whole = "" if total is None else f"/{total / scale:.1f}"
        return f"{completed / scale:.1f}{whole} {prefix}B"
    done = f"{completed:,.0f}" if completed == int(completed) else f"{completed:,.1f}"
    if total is None:
        return f"{done} {unit}" if completed else ""
    return f"{done}/{total:,.0f} {unit}".rstrip()


def _rate(rate: float, unit: str) -> str:
    """``5.2 MB/s``, ``3.4/s``, and of what is slow ``12 s each``."""
    if unit == "B":
        scale, prefix = _decimal(rate)
        return f"{rate / scale:.1f} {prefix}B/s"
    return f"{rate:,.3g}/s" if rate >= 1 else f"{1 / rate:,.3g} s each"


def _decimal(value: float) -> tuple[float, str]:
    return next(((scale, name) for scale, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= scale), (1.0, ""))


def _clock(seconds: float) -> str:
    """``0:07``, ``12:30``, ``1:02:03``."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
