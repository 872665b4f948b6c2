"""Charts as SVG and PNG files, and the identity of a drawing."""

from __future__ import annotations

import hashlib
import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis.drawing.bars import bars_height, draw_bars
from analysis.drawing.chart import BarPanel, Chart, ImagePanel, Panel
from analysis.drawing.images import draw_images
from analysis.drawing.lines import Entries, draw_lines, escape_dollars
from analysis.drawing.theme import LIGHT, Theme

_Format = Literal["png", "svg"]
_WIDTH_INCHES = 9.2
_PANEL_INCHES = {1: 3.5, 2: 2.75, 3: 2.6}
"""Height, by the number of panels in a row."""
_PNG_DPI = 150
_LEGEND_CHARACTERS = 125
_CAPTION_CHARACTERS = 120
_DEFAULTS = {key: value for key, value in mpl.rcParamsDefault.items() if key != "backend"}
"""Settings of matplotlib itself."""
SOURCES = tuple(sorted(Path(__file__).parent.glob("*.py")))
"""Modules that decide how a chart is drawn: a changed one makes all earlier drawings stale."""


@dataclass(frozen=True)
class Drawing:
    """A chart in both formats."""

    svg: bytes
    png: bytes


def draw(chart: Chart, theme: Theme = LIGHT) -> Drawing:
    """Draw a chart as image files; the same chart gives the same bytes, whatever a matplotlibrc or style says."""
    svg, png = _draw(chart, theme, ("svg", "png"))
    return Drawing(svg, png)


def draw_svg(chart: Chart) -> bytes:
    """Draw a chart as an SVG alone, for a page."""
    (svg,) = _draw(chart, LIGHT, ("svg",))
    return svg


def _draw(chart: Chart, theme: Theme, formats: Sequence[_Format]) -> list[bytes]:
    settings = {
        **_DEFAULTS,
        "svg.hashsalt": chart.name,
        "font.family": "DejaVu Sans",
        "font.size": 9.5,
        "hatch.linewidth": 0.7,
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": theme.faint,
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
    }
    with mpl.rc_context(settings):
        figure = _figure(chart, theme)
        FigureCanvasAgg(figure)
        engine = figure.get_layout_engine()
        if engine is not None:
            engine.execute(figure)
            figure.set_layout_engine("none")  # or each format would lay it out anew
        return [_save(figure, file_format, theme) for file_format in formats]


def _save(figure: Figure, file_format: _Format, theme: Theme) -> bytes:
    metadata = {"Date": None, "Creator": None} if file_format == "svg" else {"Software": None}
    buffer = io.BytesIO()
    figure.savefig(buffer, format=file_format, dpi=_PNG_DPI, metadata=metadata, facecolor=theme.background)
    return buffer.getvalue()


def drawing_id(chart: Chart) -> str:
    """Return the digest of everything that a drawing depends on: the chart, this package and matplotlib."""
    digest = hashlib.sha256(mpl.__version__.encode())
    for path in SOURCES:
        digest.update(path.read_bytes())
    digest.update(repr(chart).encode())  # arrays only in part, so these in full:
    for panel in chart.panels:
        if isinstance(panel, ImagePanel):
            digest.update(panel.pixels.tobytes())
    return digest.hexdigest()


def _figure(chart: Chart, theme: Theme) -> Figure:
    image_panels = [panel for panel in chart.panels if isinstance(panel, ImagePanel)]
    if image_panels:
        assert len(chart.panels) == 1, "images fill a chart of their own"
        return draw_images(image_panels[0], f"{chart.caption} {chart.note}".strip(), theme, _WIDTH_INCHES)
    return _plot([panel for panel in chart.panels if not isinstance(panel, ImagePanel)], chart, theme)


def _plot(panels: list[Panel | BarPanel], chart: Chart, theme: Theme) -> Figure:
    columns = min(chart.columns, len(panels))
    caption = textwrap.wrap(escape_dollars(f"{chart.caption} {chart.note}".strip()), _CAPTION_CHARACTERS)
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [max(_height(panel, columns) for panel in row) for row in rows]
    figure = Figure(layout="constrained")
    if caption:
        figure.suptitle("\n".join(caption), x=0.02, ha="left", fontsize="medium")
    axes = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights).flatten()
    entries: Entries = {}
    for index, (place, panel) in enumerate(zip(axes, panels, strict=False)):
        if isinstance(panel, BarPanel):
            draw_bars(place, panel, theme, _WIDTH_INCHES / columns)
            continue
        left = panels[index - 1] if index % columns else None
        repeats = isinstance(left, Panel) and left.y_label == panel.y_label
        entries |= draw_lines(place, panel, theme, markers=chart.markers, with_y_label=not repeats)
    for place in axes[len(panels) :]:
        place.remove()
    legend_inches = _legend(figure, entries)
    figure.set_size_inches(_WIDTH_INCHES, sum(heights) + legend_inches + 0.2 * len(caption))
    return figure


def _height(panel: Panel | BarPanel, columns: int) -> float:
    return bars_height(panel) if isinstance(panel, BarPanel) else _PANEL_INCHES.get(columns, 2.6)


def _legend(figure: Figure, entries: Entries) -> float:
    """Draw the legend; return its height in inches."""
    if not entries:
        return 0.0
    handles, labels = zip(*(entries[key] for key in sorted(entries)), strict=True)
    columns = max(1, min(len(labels), _LEGEND_CHARACTERS // (max(map(len, labels)) + 8)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    return 0.2 * (math.ceil(len(labels) / columns) + 1)
