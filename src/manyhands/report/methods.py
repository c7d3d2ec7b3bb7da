"""What the strategies of a report do, in words, with the formula of what they send and the paper they are from."""

from collections.abc import Sequence
from dataclasses import dataclass

from manyhands.runs.reading import RunView


@dataclass(frozen=True, kw_only=True)
class Method:
    """One strategy as its runs tell of it in ``run.json``; what they do not tell is empty."""

    name: str
    about: str
    sends: str
    """how much a worker sends, as a formula"""
    paper: str
    url: str
    """http or https, else empty: what a file says must not become a script"""


def methods(runs: Sequence[RunView]) -> list[Method]:
    """One for each strategy, in the runs' order; those of which nothing is told are left out."""
    first = {run.strategy: run for run in reversed(runs) if run.record.get("method")}
    named = dict.fromkeys(run.strategy for run in runs)
    found = [method(first[name]) for name in named if name in first]
    return [one for one in found if one.about or one.sends or one.paper]


def method(run: RunView) -> Method:
    """That of one run."""
    told = run.record.get("method")
    told = told if isinstance(told, dict) else {}
    about, sends, paper, url = (str(told.get(key) or "").strip() for key in ("about", "sends", "paper", "url"))
    web = url if url.startswith(("https://", "http://")) else ""
    return Method(name=run.strategy, about=about, sends=sends, paper=paper or web, url=web)
