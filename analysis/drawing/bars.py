"""Horizontal bars; one that ends beyond what was measured is hatched and open, and says so."""

from __future__ import annotations

from typing import Any

from matplotlib.ticker import FuncFormatter

from analysis.drawing.chart import BarPanel
from analysis.drawing.lines import axis_unit, escape_dollars, wrap_label
from analysis.drawing.theme import Theme, color_of

_BAR_INCHES, _AXIS_INCHES = 0.33, 0.75
_LABEL_CHARACTERS, _AXIS_CHARACTERS = 34, 100


def bars_height(panel: BarPanel) -> float:
    """Return the height of a panel in inches."""
    return _AXIS_INCHES + _BAR_INCHES * len(panel.bars)


def draw_bars(axes: Any, panel: BarPanel, theme: Theme) -> None:
    """Draw a panel; each bar has its text at its end, so that nothing depends on its colour."""
    largest = max((bar.value for bar in panel.bars), default=1.0) or 1.0
    for place, bar in enumerate(panel.bars):
        color = color_of(theme, bar.color)
        is_open = bar.end != "exact"
        axes.barh(
            place,
            bar.value,
            height=0.66,
            color=theme.background if is_open else color,
            edgecolor=color,
            hatch="////" if is_open else None,
        )
        arrow = {"exact": "", "at least": "→ ", "at most": "← "}[bar.end]
        text = escape_dollars(f"{arrow}{bar.text}")
        axes.text(bar.value + 0.012 * largest, place, text, va="center", fontsize="small", in_layout=False)
    axes.set_yticks(range(len(panel.bars)), [wrap_label(bar.label, _LABEL_CHARACTERS) for bar in panel.bars])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.42 * largest)  # room for the texts at their ends
    size, unit = axis_unit(largest)
    axes.set_xlabel(wrap_label(f"{panel.x_label}{unit}", _AXIS_CHARACTERS))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / size:.4g}"))
    axes.set_facecolor("none")
    axes.grid(axis="x", color=theme.faint, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0)
