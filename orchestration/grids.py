"""Grids of samples for people: every image with the class that was asked for."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

GRID_ROWS, GRID_COLUMNS = 4, 10
GRID_IMAGES = GRID_ROWS * GRID_COLUMNS
_SHOWN_SIDE = 96
"""Least side of a shown image: smaller ones are enlarged by a whole factor."""
_CAPTION_HEIGHT = 14
_FONT_SIZE = 11
GRID_KEY = "dfm.grid"
"""Of the PNG's text that says how to cut the grid into its pictures again; the analysis reads it."""
_INK, _PAPER = (40, 40, 40), (255, 255, 255)


def grid_png(pixels: np.ndarray, labels: Sequence[str]) -> bytes:
    """`image_grid` as a PNG that says where its pictures lie and of which class they are."""
    count = min(len(pixels), GRID_IMAGES)
    layout = grid_layout(pixels.shape[-2:], GRID_COLUMNS, labels[:count])
    return png_with_layout(image_grid(pixels, labels), layout)


def grid_layout(side: Sequence[int], columns: int, labels: Sequence[str]) -> dict[str, Any]:
    """Where the pictures of a grid lie. Args: side: height and width of a picture. labels: of the pictures."""
    height, width = side
    return {
        "columns": columns,
        "caption": _CAPTION_HEIGHT,
        "side": [height, width],
        "factor": _enlargement(width),
        "labels": list(labels),
    }


def png_with_layout(grid: Image.Image, layout: Mapping[str, Any]) -> bytes:
    """A PNG with the layout in its text."""
    text = PngInfo()
    text.add_itxt(GRID_KEY, json.dumps(layout))
    buffer = io.BytesIO()
    grid.save(buffer, format="PNG", pnginfo=text)
    return buffer.getvalue()


def _enlargement(width: int) -> int:
    """The whole factor by which pictures are shown larger."""
    return max(1, -(-_SHOWN_SIDE // width))


def image_grid(pixels: np.ndarray, labels: Sequence[str]) -> Image.Image:
    """Images side by side, ten a row, each above the name of its class.

    Args: pixels: [n, C, H, W], or videos [n, C, T, H, W] of which the middle frame is shown; uint8, C 1 or 3; the first
        40 are shown. labels: the class of each.
    """
    shown = pixels[:GRID_IMAGES] if pixels.ndim == 4 else pixels[:GRID_IMAGES, :, pixels.shape[2] // 2]
    assert len(labels) >= len(shown), f"{len(labels)} labels for {len(shown)} images"
    return arranged(shown, labels, GRID_COLUMNS)


def arranged(pictures: np.ndarray, captions: Sequence[str], columns: int) -> Image.Image:
    """Pictures side by side, each above its caption.

    Args: pictures: [n, C, H, W] uint8, C 1 or 3. captions: of each, or more.
    """
    height, width = pictures.shape[2:]
    factor = _enlargement(width)
    cell_width, cell_height = width * factor, height * factor + _CAPTION_HEIGHT
    rows = -(-len(pictures) // columns)
    canvas = Image.new("RGB", (columns * cell_width, rows * cell_height), _PAPER)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=_FONT_SIZE)
    for position, (image, caption) in enumerate(zip(pictures, captions, strict=False)):
        left, top = position % columns * cell_width, position // columns * cell_height
        canvas.paste(_picture(image).resize((cell_width, height * factor), Image.Resampling.NEAREST), (left, top))
        text = _fitting(caption, cell_width, font)
        middle = left + (cell_width - font.getlength(text)) / 2
        draw.text((middle, top + height * factor), text, fill=_INK, font=font)
    return canvas


def _picture(image: np.ndarray) -> Image.Image:
    """[C, H, W] uint8, C 1 or 3."""
    return Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).convert("RGB")


def _fitting(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The text, cut with an ellipsis to what fits."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
