"""Images in rows and columns, as one raster with names beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from analysis.drawing.chart import ImagePanel
from analysis.drawing.lines import escape_dollars, shorten_label
from analysis.drawing.theme import Theme

_GAP = 0.03
"""Gap between images, as a share of their width."""
_LINE_INCHES, _EDGE_INCHES = 0.17, 0.1
_WIDEST_NAME, _LARGEST_IMAGE_INCHES = 24, 1.1
_SMALL_LETTER_INCHES, _NARROWEST, _MOST_LINES = 0.075, 10, 4


def draw_images(panel: ImagePanel, caption: str, theme: Theme, width_inches: float) -> Figure:
    """Draw images with names on the left and above, every pixel as a square of one colour."""
    names = ["\n".join(textwrap.wrap(shorten_label(name), _WIDEST_NAME)) for name in panel.rows]
    left = max(_inches(line) for name in names for line in [*name.splitlines(), ""]) + 2 * _EDGE_INCHES
    notes = textwrap.wrap(escape_dollars(caption), 120)
    canvas = make_mosaic(panel)
    rows, columns, height, width, _ = panel.pixels.shape
    wide = min(width_inches - left - _EDGE_INCHES, _LARGEST_IMAGE_INCHES * columns)
    above = _wrapped(panel.columns, wide / columns)
    top = _LINE_INCHES * (len(notes) + max(len(name.splitlines()) for name in above or [""])) + _EDGE_INCHES
    high = wide * canvas.shape[0] / canvas.shape[1]
    full_width, full_height = left + wide + _EDGE_INCHES, top + high + _EDGE_INCHES
    figure = Figure(figsize=(full_width, full_height))
    place = (left / full_width, _EDGE_INCHES / full_height, wide / full_width, high / full_height)
    axes = figure.add_axes(place)
    axes.imshow(canvas, interpolation="none", aspect="auto")
    gap = _gap(width)
    axes.set_yticks([row * (height + gap) + height / 2 for row in range(rows)], names)
    axes.set_xticks([column * (width + gap) + width / 2 for column in range(columns)], above, fontsize="small")
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=theme.ink)
    if notes:
        figure.text(_EDGE_INCHES / full_width, 1 - _EDGE_INCHES / 2 / full_height, "\n".join(notes), va="top")
    return figure


def make_mosaic(panel: ImagePanel) -> np.ndarray:
    """Join all images with gaps between them, [H, W, 4] uint8; gaps are transparent."""
    rows, columns, height, width, _ = panel.pixels.shape
    gap = _gap(width)
    canvas = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 4), dtype=np.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = row * (height + gap), column * (width + gap)
            canvas[top : top + height, left : left + width, :3] = panel.pixels[row, column]
            canvas[top : top + height, left : left + width, 3] = 255
    return canvas


def _wrapped(names: Sequence[str], inches: float) -> list[str]:
    """Return names in lines as wide as an image; captions have many words."""
    width = max(_NARROWEST, int(inches / _SMALL_LETTER_INCHES))
    return ["\n".join(textwrap.wrap(shorten_label(name), width)[:_MOST_LINES]) for name in names]


def _inches(line: str) -> float:
    """Return the width of a line of text in the font of charts."""
    points, _, _ = text_to_path.get_text_width_height_descent(line, FontProperties(), False)
    return float(points) / 72


def _gap(width: int) -> int:
    return max(1, round(_GAP * width))
