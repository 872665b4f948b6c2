"""The pictures of a sample grid, cut out of its PNG again."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

_KEY = "dfm.grid"
_USUAL_COLUMNS, _USUAL_CAPTION = 10, 14
_LARGEST_PIXELS = 64_000_000
"""Most pixels of a grid; a file that claims more is none of ours and is not decoded."""


@dataclass(frozen=True)
class GridImages:
    """The first samples of an evaluation, or real images, at their own resolution."""

    pixels: np.ndarray
    """[N, H, W, 3] uint8."""
    labels: tuple[str, ...]
    """The class of each; empty texts if the grid does not say."""
    said: Mapping[str, Any] = field(default_factory=dict)
    """The text `dfm.grid`; empty for a grid of before there was one."""


def cut_grid(png: bytes, resolution: int | None = None) -> GridImages | None:
    """The pictures of a grid; None if it cannot be cut, as a file of another make.

    Args: png: with the text `dfm.grid`, or a grid of before there was one: ten square pictures a row, captions of 14
        pixels. resolution: side of the pictures, for grids without the text.
    """
    try:
        image = Image.open(io.BytesIO(png))
        if image.width * image.height > _LARGEST_PIXELS:
            return None
        text = getattr(image, "text", {}).get(_KEY)
        said = {} if text is None else json.loads(text)
        layout = _usual_layout(*image.size, resolution) if text is None else _said_layout(said)
        canvas = np.asarray(image.convert("RGB"))
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError, Image.DecompressionBombError):
        return None
    cells = _cells(canvas, layout)
    labels = (*layout.labels, *[""] * len(cells))[: len(cells)]
    return GridImages(np.stack(cells), labels, said) if cells else None


@dataclass(frozen=True)
class _Layout:
    columns: int
    caption: int
    height: int
    width: int
    factor: int
    labels: tuple[str, ...]
    strips: bool = False
    """True if each row has a label, False if each image has."""


def _said_layout(said: Mapping[str, Any]) -> _Layout:
    """Return the layout that a grid describes. Raises: KeyError, TypeError, ValueError if it is none."""
    columns, caption, factor = (int(said[name]) for name in ("columns", "caption", "factor"))
    height, width = map(int, said["side"])
    if min(columns, height, width, factor) < 1 or caption < 0:
        raise ValueError("sizes of a grid are positive")
    return _Layout(columns, caption, height, width, factor, tuple(map(str, said["labels"])), "frames" in said)


def _usual_layout(width: int, height: int, resolution: int | None) -> _Layout:
    """Return the layout of a grid of before there was a text. Raises: ValueError, ZeroDivisionError if it is none."""
    side = width // _USUAL_COLUMNS
    if side * _USUAL_COLUMNS != width or height % (side + _USUAL_CAPTION):
        raise ValueError("not a grid of square pictures")
    own = resolution if resolution and side % resolution == 0 else side
    return _Layout(_USUAL_COLUMNS, _USUAL_CAPTION, own, own, side // own, ())


def _cells(canvas: np.ndarray, layout: _Layout) -> list[np.ndarray]:
    """All cells that lie in the picture; with labels as many as there are labels, of strips that many rows."""
    height, width = layout.height * layout.factor, layout.width * layout.factor
    rows = canvas.shape[0] // (height + layout.caption)
    columns = min(layout.columns, canvas.shape[1] // width)
    cells = [
        # Enlarged pixels are squares of one colour, so that any of theirs is the pixel itself.
        canvas[top : top + height : layout.factor, left : left + width : layout.factor]
        for top in range(0, rows * (height + layout.caption), height + layout.caption)
        for left in range(0, columns * width, width)
    ]
    each = layout.columns if layout.strips else 1
    return cells[: len(layout.labels) * each] if layout.labels else cells
