"""What every chart and every table of a report is, with its words and numbers; and how all charts look."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from manyhands.runs.files import Json

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"

# All ink is the colour of the text around the chart, so that one drawing is right on a light page, on a dark
# one, on paper, and (there it is black) as a file.
THEME: Json = {
    "background": "transparent",
    "font": FONT,
    "padding": {"left": 2, "top": 6, "right": 6, "bottom": 2},
    "view": {"stroke": None},
    "axis": {
        "labelColor": "currentColor",
        "labelOpacity": 0.75,
        "labelFontSize": 11,
        "titleColor": "currentColor",
        "titleOpacity": 0.75,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "gridColor": "currentColor",
        "gridOpacity": 0.1,
        "domainColor": "currentColor",
        "domainOpacity": 0.3,
        "tickColor": "currentColor",
        "tickOpacity": 0.3,
        "tickSize": 4,
        "labelPadding": 4,
        "titlePadding": 8,
        "labelFlush": False,
    },
    "legend": {
        "labelColor": "currentColor",
        "labelFontSize": 11,
        "titleColor": "currentColor",
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "orient": "top",
        "labelLimit": 260,
    },
    "text": {"fill": "currentColor", "fontSize": 11},
    "line": {"strokeWidth": 2, "strokeCap": "round", "strokeJoin": "round"},
    "scale": {"bandPaddingInner": 0.25},
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One chart: ``spec`` is Vega-Lite without the theme, ``header`` and ``rows`` its numbers as a table."""

    key: str  # unique in a report, fit for a file's name
    title: str
    caption: str
    alt: str
    spec: Json
    header: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    broad: bool = False  # whether it has a line of the page for itself

    @property
    def wide(self) -> bool:
        """Whether it takes all the width there is."""
        return self.spec.get("width") == "container"

    @property
    def table(self) -> "Table":
        """Its numbers."""
        return Table(key=self.key, title=self.title, words=self.caption, header=self.header, rows=self.rows)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A title, what the columns mean, and the cells as they are written."""

    key: str  # unique in a report, fit for a file's name
    title: str
    words: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    plain: tuple[Sequence[str], Sequence[Sequence[object]]] | None = None
    """the same for programs, in SI units and without words: a header and rows; None: there is nothing plainer"""


def to_spec(chart: Any, **datasets: list[Json]) -> Json:
    """An altair chart over named data, with the data themselves: altair would copy those at every step.

    What is the same for all charts (schema, altair's own theme) is left out.
    """
    spec: Json = chart.to_dict(validate=False)
    return {key: value for key, value in spec.items() if key not in ("$schema", "config")} | {"datasets": datasets}
