"""Horizontal bars; one that ends beyond what was measured is hatched and open, and says so."""

from __future__ import annotations

from typing import Any

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter

from analysis.drawing.chart import Bar, BarPanel
from analysis.drawing.lines import axis_unit, escape_dollars, wrap_label
from analysis.drawing.theme import Theme, color_of

_BAR_INCHES, _AXIS_INCHES = 0.33, 0.75
_LABEL_CHARACTERS, _AXIS_CHARACTERS = 34, 100
_MARGIN_INCHES = 0.5
"""Around plot and labels, and between them."""
_GAP_INCHES = 0.2
"""Before and behind a text."""
_MOST_TEXT = 0.75
"""Share of the plot that a text may take; a longer one is cut off."""


def bars_height(panel: BarPanel) -> float:
    """Return the height of a panel in inches."""
    return _AXIS_INCHES + _BAR_INCHES * len(panel.bars)


def draw_bars(axes: Any, panel: BarPanel, theme: Theme, width_inches: float) -> None:
    """Draw a panel; each bar has its text at its end, so that nothing depends on its colour.

    Args: width_inches: of the whole panel, labels at the left included.
    """
    largest = max((bar.value for bar in panel.bars), default=1.0) or 1.0
    texts = [_text(bar) for bar in panel.bars]
    labels = [wrap_label(bar.label, _LABEL_CHARACTERS) for bar in panel.bars]
    for place, (bar, text) in enumerate(zip(panel.bars, texts, strict=True)):
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
        axes.text(bar.value + 0.012 * largest, place, text, va="center", fontsize="small", in_layout=False)
    axes.set_yticks(range(len(panel.bars)), labels)
    axes.invert_yaxis()
    label_inches = max((_inches(line, "medium") for label in labels for line in label.splitlines()), default=0.0)
    plot_inches = width_inches - label_inches - _MARGIN_INCHES
    ends = [
        (bar.value, min((_inches(text, "small") + _GAP_INCHES) / plot_inches, _MOST_TEXT))
        for bar, text in zip(panel.bars, texts, strict=True)
    ]
    axes.set_xlim(0, max((value / (1 - share) for value, share in ends), default=1.0) or 1.0)  # texts end inside
    size, unit = axis_unit(largest)
    axes.set_xlabel(wrap_label(f"{panel.x_label}{unit}", _AXIS_CHARACTERS))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / size:.4g}"))
    axes.set_facecolor("none")
    axes.grid(axis="x", color=theme.faint, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0)


def _text(bar: Bar) -> str:
    arrow = {"exact": "", "at least": "→ ", "at most": "← "}[bar.end]
    return escape_dollars(f"{arrow}{bar.text}")


def _inches(text: str, size: str) -> float:
    """Return the width of a text as it is drawn."""
    return float(TextPath((0, 0), text, prop=FontProperties(size=size)).get_extents().width) / 72 if text else 0.0
