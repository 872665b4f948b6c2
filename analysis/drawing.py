"""Charts as PNG and SVG. Only this module draws; nothing here decides what is shown."""

from __future__ import annotations

import io
import math
import textwrap
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analysis.figures import Chart, Panel
from analysis.tables import superscript


@dataclass(frozen=True)
class Theme:
    """Colours of a chart; the palettes follow Okabe and Ito (2008), lightened for a dark page."""

    ink: str
    faint: str
    palette: tuple[str, ...]
    background: str


LIGHT = Theme(
    "#22272e", "#d5d9df", ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#555555"), "#fff"
)
DARK = Theme(
    "#dfe3e8", "#414851", ("#56b4e9", "#ff8c42", "#2fc79a", "#e59ac4", "#e6c229", "#8f9bff", "#b9bec5"), "none"
)
_MARKERS = "osD^vPX"
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (2, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
_LONGEST_LABEL = 64
_LEGEND_CHARACTERS = 125
_CAPTION_CHARACTERS = 120
_FLOOR_ENTRY = 1_000_000


def draw(chart: Chart, file_format: Literal["png", "svg"], theme: Theme = LIGHT) -> bytes:
    """A chart as an image file; the same bytes for the same chart."""
    settings = {
        "svg.hashsalt": chart.name,
        "font.family": "DejaVu Sans",
        "font.size": 9.5,
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": theme.faint,
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
    }
    metadata = {"Date": None, "Creator": None} if file_format == "svg" else {"Software": None}
    buffer = io.BytesIO()
    with mpl.rc_context(settings):
        figure = _figure(chart, theme)
        FigureCanvasAgg(figure)
        figure.savefig(buffer, format=file_format, dpi=160, metadata=metadata, facecolor=theme.background)
    return buffer.getvalue()


def _figure(chart: Chart, theme: Theme) -> Figure:
    num_lines = max(len(panel.lines) for panel in chart.panels) + 1
    caption = textwrap.wrap(_literal(chart.caption), _CAPTION_CHARACTERS)
    height = 3.1 + 0.2 * math.ceil(num_lines / 2) + 0.2 * len(caption)
    figure = Figure(figsize=(9.2, height), layout="constrained")
    if caption:
        figure.suptitle("\n".join(caption), x=0.02, ha="left", fontsize="medium")
    all_axes = figure.subplots(1, len(chart.panels), squeeze=False)[0]
    entries: dict[int, tuple[Any, str]] = {}
    for axes, panel in zip(all_axes, chart.panels, strict=True):
        entries |= _draw_panel(axes, panel, chart, theme)
    handles, labels = zip(*(entries[key] for key in sorted(entries)), strict=True)
    columns = max(1, min(len(labels), _LEGEND_CHARACTERS // (max(map(len, labels)) + 8)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    return figure


def _draw_panel(axes: Any, panel: Panel, chart: Chart, theme: Theme) -> dict[int, tuple[Any, str]]:
    """Draws the lines; returns the legend's entries by the number of their colour, the floor last."""
    entries = {}
    for line in panel.lines:
        color = theme.palette[line.color % len(theme.palette)]
        style = {
            "color": color,
            "linestyle": _DASHES[line.color // len(theme.palette) % len(_DASHES)],
            "marker": _MARKERS[line.color % len(_MARKERS)] if chart.markers else None,
        }
        x, y = np.array(line.x), np.array(line.y)
        (handle,) = axes.plot(x, y, linewidth=1.8, markersize=5, **style)
        entries[line.color] = handle, _legend_label(line.label)
        if line.half_widths:
            width = np.array(line.half_widths)
            axes.fill_between(x, y - width, y + width, color=color, alpha=0.15, linewidth=0)
    if panel.floor is not None and math.isfinite(panel.floor):
        floor = axes.axhline(panel.floor, color=theme.ink, linestyle=(0, (4, 3)), linewidth=1.1)
        entries[_FLOOR_ENTRY] = floor, "real images"
    size, unit = _unit(max(x for line in panel.lines for x in line.x))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / size:g}"))
    axes.set_xlabel(_literal(f"{panel.x_label}{unit}"))
    axes.set_ylabel(_literal(panel.y_label))
    if chart.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_facecolor("none")
    axes.grid(color=theme.faint, linewidth=0.6, alpha=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0)
    axes.margins(x=0.03)
    return entries


def _unit(largest: float) -> tuple[float, str]:
    """What an axis is divided by, and how its label says so: 6.4e12 reads as 6.4, "(10¹²)"."""
    exponent = 3 * math.floor(math.log10(largest) / 3) if largest >= 1e4 else 0
    return (10.0**exponent, f" (10{superscript(exponent)})") if exponent else (1.0, "")


def _legend_label(label: str) -> str:
    """A label on one line, shortened if need be."""
    short = " ".join(label.split())
    return _literal(short if len(short) <= _LONGEST_LABEL else f"{short[: _LONGEST_LABEL - 1]}…")


def _literal(text: str) -> str:
    """Text in which a dollar sign does not begin mathematics."""
    return text.replace("$", r"\$")
