"""A figure as plain data, and as CSV. Nothing here depends on how it is drawn."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.text.csv_text import csv_text

_LOG_SCALE_FROM_RATIO = 20.0
LineStyle = Literal["line", "points", "published", "level", "guide"]
"""Joined points; single points; the paper's number; a horizontal line at one y, for all x; a thin line."""
Over = Literal["seeds", "seeds and samples", "samples", "pictures"]
"""Source of an interval: drawn as a band, or as error bars if it is over samples."""
BarEnd = Literal["exact", "at least", "at most"]


@dataclass(frozen=True)
class Line:
    """One series of a panel."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    half_widths: tuple[float, ...] = ()
    """Half-widths of the 95% interval at each point, 0 where there is none; empty if there are none."""
    color: int = 0
    """Number of colour, marker and dashes, the same for the same thing in all panels of a chart."""
    style: LineStyle = "line"
    over: Over = "seeds"
    faint: bool = False
    """Context: drawn in grey, and not in the legend."""
    num_seeds: int = 0
    """Seeds that each point is a mean over; 0: not said."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    real_images: float | None = None
    """Score of real images: a dashed line."""
    log_x: bool = False
    log_y: bool = False
    x_names: tuple[str, ...] = ()
    """Names at x = 0, 1, ...; empty if x is a number."""


@dataclass(frozen=True)
class Bar:
    """A quantity that may be known only to lie beyond what was measured."""

    label: str
    value: float
    text: str
    """Text at its end."""
    end: BarEnd = "exact"
    color: int = 0
    low: float | None = None
    high: float | None = None
    """Ends of the 95% interval of the value; None: unknown."""
    share_reached: float | None = None
    """Share of draws in which it was reached."""


@dataclass(frozen=True)
class BarPanel:
    """Horizontal bars, the first on top."""

    x_label: str
    bars: tuple[Bar, ...]
    num_seeds: int = 0
    """Seeds that its bars are means over; 0: not said."""


@dataclass(frozen=True)
class ImagePanel:
    """Images in rows and columns, all of one size."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    """Names above the columns; empty texts if they have none."""
    pixels: np.ndarray
    """[rows, columns, H, W, 3] uint8."""


AnyPanel = Panel | BarPanel | ImagePanel


@dataclass(frozen=True)
class Chart:
    """One figure: panels in rows, with one legend."""

    name: str
    """File name without its ending; unique in a report."""
    title: str
    about: str
    """Alternative text: its content in words."""
    panels: tuple[AnyPanel, ...]
    markers: bool = True
    caption: str = ""
    """Reason why its lines do not compare; empty if they do."""
    note: str = ""
    """Other remarks, e.g. that it does not show all; empty if none."""
    columns: int = 2
    """Most panels in a row."""
    has_choice: bool = False
    """Its panels are the same lines on other axes: a page shows one of them, by choice of the reader."""


@dataclass(frozen=True)
class Group:
    """Charts under one heading."""

    title: str
    charts: tuple[Chart, ...]
    folded: bool = False
    """True if the page opens them on request only."""


CSV_COLUMNS = ("panel", "x_label", "series", "x", "y", "half_width", "what", "seeds", "low", "high", "share_reached")
_NONE = ("", "", "")


def chart_rows(chart: Chart) -> Iterator[tuple[str, ...]]:
    """Yield the data behind a chart at full precision, a line a point, as CSV_COLUMNS; none for images."""
    for panel in chart.panels:
        if isinstance(panel, Panel):
            yield from _panel_rows(panel)
        elif isinstance(panel, BarPanel):
            for bar in panel.bars:
                drawn = ("" if one is None else repr(one) for one in (bar.low, bar.high, bar.share_reached))
                seeds = str(panel.num_seeds) if panel.num_seeds else ""
                yield panel.x_label, "", bar.label, "", repr(bar.value), "", bar.end, seeds, *drawn


def _panel_rows(panel: Panel) -> Iterator[tuple[str, ...]]:
    for line in (line for line in panel.lines if line.label):
        widths = line.half_widths or [0.0] * len(line.x)
        over = f"95% over {line.over}"
        for x, y, width in zip(line.x, line.y, widths, strict=True):
            name = "" if math.isnan(x) else panel.x_names[int(x)] if panel.x_names else repr(x)
            what = "published" if line.style == "published" else over if width else ""
            seeds = str(line.num_seeds) if line.num_seeds else ""
            yield (
                panel.y_label,
                panel.x_label,
                line.label,
                name,
                repr(y),
                repr(width) if width else "",
                what,
                seeds,
                *_NONE,
            )
    if panel.real_images is not None:
        yield panel.y_label, panel.x_label, "real images", "", repr(panel.real_images), "", "floor", "", *_NONE


def chart_csv(chart: Chart) -> str:
    """Write `chart_rows` with a header."""
    return csv_text(CSV_COLUMNS, (dict(zip(CSV_COLUMNS, row, strict=True)) for row in chart_rows(chart)))


def slug(text: str) -> str:
    """Turn a text into a name that is safe in paths and URLs."""
    return re.sub(r"[^A-Za-z0-9_.=]+", "-", text).strip("-.")[:60] or "x"


def wants_log(values: Sequence[float]) -> bool:
    """Return True if values, [N], are spread so far that only a logarithmic axis shows them all."""
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and max(finite) / min(finite) >= _LOG_SCALE_FROM_RATIO
