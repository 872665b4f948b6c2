"""One pair of axes with lines, points, intervals and levels."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from analysis.drawing.axis_range import y_range
from analysis.drawing.chart import Line, Panel
from analysis.drawing.theme import Theme, color_of, dashes_of, marker_of
from analysis.text.numbers import scientific, superscript

_LONGEST_LABEL, _LONGEST_Y_LABEL, _AXIS_CHARACTERS, _MOST_LEVEL_CHARACTERS = 64, 32, 38, 24
_ENTRIES = {"published": 500_000, "guide": 1_000_000}
"""Offsets in the legend's order of entries that are no row."""
_REAL_IMAGES_ENTRY = 2_000_000
_FROM_SCIENTIFIC = 1e5
_MOST_TICKS = 7
_BAND_OPACITY = 0.15
Entries = dict[int, tuple[Any, str]]
"""Handles and labels of a legend, in the order of their keys."""


def draw_lines(axes: Any, panel: Panel, theme: Theme, *, markers: bool, with_y_label: bool = True) -> Entries:
    """Draw a panel; return the legend's entries by the number of their colour, real images last."""
    entries: Entries = {}
    _draw_faint(axes, [line for line in panel.lines if line.faint], theme)
    num_bands = sum(bool(line.half_widths) and not line.faint for line in panel.lines)
    opacity = min(_BAND_OPACITY, 4 * _BAND_OPACITY / max(num_bands, 1))  # many bands lie over each other
    for line in (line for line in panel.lines if not line.faint):
        handle = _draw_line(axes, line, theme, markers=markers, opacity=opacity)
        if line.label:
            place = line.color + _ENTRIES.get(line.style, 0)
            entries[place] = handle, shorten_label(line.label)
    if panel.real_images is not None and math.isfinite(panel.real_images):
        handle = axes.axhline(panel.real_images, color=theme.ink, linestyle=(0, (4, 3)), linewidth=1.1)
        entries[_REAL_IMAGES_ENTRY] = handle, "real images"
    _scale(axes, panel)
    if with_y_label:
        axes.set_ylabel(shorten_label(panel.y_label, _LONGEST_Y_LABEL))
    axes.set_facecolor("none")
    axes.grid(color=theme.faint, linewidth=0.6, alpha=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0, which="both")
    axes.margins(x=0.04)
    return entries


def _draw_faint(axes: Any, lines: Sequence[Line], theme: Theme) -> None:
    """Draw all lines without a name at once: hundreds of single ones would take seconds."""
    for joined in (True, False):
        alike = [line for line in lines if (line.style == "line") is joined]
        x = np.array([value for line in alike for value in (*line.x, math.nan)])
        y = np.array([value for line in alike for value in (*line.y, math.nan)])
        if joined:
            axes.plot(x, y, color=theme.context, linewidth=0.8, zorder=1.5)
        else:
            axes.plot(x, y, color=theme.context, linestyle="none", marker="o", markersize=3, zorder=1.5)


def _draw_line(axes: Any, line: Line, theme: Theme, *, markers: bool, opacity: float) -> Any:
    color = color_of(theme, line.color)
    if line.style == "level":
        dashes = dashes_of(line.color) if line.label else (0, (4, 3))
        return axes.axhline(line.y[0], color=color if line.label else theme.ink, linestyle=dashes, linewidth=1.3)
    x, y = np.array(line.x), np.array(line.y)
    if line.style == "guide":
        (handle,) = axes.plot(x, y, color=theme.ink, linewidth=1.0, linestyle=(0, (1, 1.5)), zorder=2)
        return handle
    joined = line.style == "line"
    style = {
        "color": color,
        "linestyle": dashes_of(line.color) if joined else "none",
        "linewidth": 1.8,
        "marker": "*" if line.style == "published" else marker_of(line.color),
        "markersize": 11 if line.style == "published" else 5.5,
        "markerfacecolor": theme.background if line.style == "published" else color,
        "zorder": 2.5,
    }
    if joined and not markers:
        style["marker"] = None
    (handle,) = axes.plot(x, y, **style)
    if line.half_widths:
        width = np.array(line.half_widths)
        if line.over != "samples" and joined:
            axes.fill_between(x, y - width, y + width, color=color, alpha=opacity, linewidth=0)
        else:
            axes.errorbar(x, y, width, color=color, linestyle="none", elinewidth=1.2, capsize=3)
    return handle


def _scale(axes: Any, panel: Panel) -> None:
    """Set the axes' scales and the numbers on them."""
    xs = [x for line in panel.lines for x in line.x if math.isfinite(x)]
    size, unit = axis_unit(max(map(abs, xs), default=1.0))
    axes.set_xlabel(wrap_label(f"{panel.x_label}{unit}", _AXIS_CHARACTERS))
    if panel.x_names:
        turned = 20 if sum(map(len, panel.x_names)) > _MOST_LEVEL_CHARACTERS else 0
        axes.set_xticks(range(len(panel.x_names)), [escape_dollars(name) for name in panel.x_names], rotation=turned)
        axes.set_xlim(-0.5, len(panel.x_names) - 0.5)
    else:
        if panel.log_x:
            _logarithmic(axes, "x")
        else:
            axes.xaxis.set_major_locator(MaxNLocator(nbins=_MOST_TICKS, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / size:.4g}"))
    if panel.log_y:
        _logarithmic(axes, "y")
    ends = y_range(panel)
    if ends is not None:
        axes.set_ylim(*ends)
    if panel.log_y:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))


def _logarithmic(axes: Any, which: str) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_formatter(NullFormatter())


def axis_unit(largest: float) -> tuple[float, str]:
    """Return the divisor of an axis, and its text for the label: 6.4e12 reads as 6.4, "(10¹²)"."""
    exponent = 3 * math.floor(math.log10(largest) / 3) if largest >= 1e4 else 0
    return (10.0**exponent, f" (10{superscript(exponent)})") if exponent else (1.0, "")


def _plain(value: float) -> str:
    """Format a number on a logarithmic axis."""
    return f"{value:g}" if value < _FROM_SCIENTIFIC else scientific(value).replace(".00", "")


def shorten_label(label: str, most: int = _LONGEST_LABEL) -> str:
    """Put a label on one line, shortened to a number of characters if need be."""
    short = " ".join(label.split())
    return escape_dollars(short if len(short) <= most else f"{short[: most - 1]}…")


def wrap_label(label: str, most: int) -> str:
    """Wrap a label into two lines at most, of about `most` characters each."""
    return "\n".join(textwrap.wrap(shorten_label(label, 2 * most - 4), most))


def escape_dollars(text: str) -> str:
    """Escape dollar signs, which would begin mathematics."""
    return text.replace("$", r"\$")
