"""Grids of samples for people: every image with the class that it should have."""

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
"""Key of the PNG's text that says how to cut the grid into its pictures again; the analysis reads it."""
_INK, _PAPER = (40, 40, 40), (255, 255, 255)


def grid_png(pixels: np.ndarray, labels: Sequence[str]) -> bytes:
    """Return `image_grid` as a PNG whose text holds the places and classes of its pictures."""
    count = min(len(pixels), GRID_IMAGES)
    layout = grid_layout(pixels.shape[-2:], GRID_COLUMNS, labels[:count])
    return png_with_layout(image_grid(pixels, labels), layout)


def grid_layout(side: Sequence[int], columns: int, labels: Sequence[str]) -> dict[str, Any]:
    """Return the layout of a grid. Args: side: height and width of a picture. labels: those of the pictures."""
    height, width = side
    return {
        "columns": columns,
        "caption": _CAPTION_HEIGHT,
        "side": [height, width],
        "factor": _enlargement(width),
        "labels": list(labels),
    }


def png_with_layout(grid: Image.Image, layout: Mapping[str, Any]) -> bytes:
    """Return a PNG with the layout in its text."""
    text = PngInfo()
    text.add_itxt(GRID_KEY, json.dumps(layout))
    buffer = io.BytesIO()
    grid.save(buffer, format="PNG", pnginfo=text)
    return buffer.getvalue()


def _enlargement(width: int) -> int:
    """Return the whole factor by which pictures are enlarged."""
    return max(1, -(-_SHOWN_SIDE // width))


def image_grid(pixels: np.ndarray, labels: Sequence[str]) -> Image.Image:
    """Return images side by side, ten a row, each above the name of its class.

    Args: pixels: [n, C, H, W], or videos [n, C, T, H, W] of which the middle frame is shown; uint8, C 1 or 3; the first
        40 are shown. labels: the class of each.
    """
    shown = pixels[:GRID_IMAGES] if pixels.ndim == 4 else pixels[:GRID_IMAGES, :, pixels.shape[2] // 2]
    assert len(labels) >= len(shown), f"{len(labels)} labels for {len(shown)} images"
    return arrange(shown, labels, GRID_COLUMNS)


def arrange(pictures: np.ndarray, captions: Sequence[str], columns: int) -> Image.Image:
    """Return pictures side by side, each above its caption.

    Args: pictures: [n, C, H, W] uint8, C 1 or 3. captions: one for each, or more.
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
    """Return a picture of [C, H, W] uint8, C 1 or 3."""
    return Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).convert("RGB")


def _fitting(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return the text, cut with an ellipsis if it does not fit."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


STRIP_CLIPS, STRIP_FRAMES = 8, 10
FRAME_MILLISECONDS = 120
_MOST_SIDE = 128
"""Largest side of a moving clip; larger ones are reduced by a whole factor: a GIF has every frame."""


def moving_grid_gif(clips: np.ndarray, labels: Sequence[str]) -> bytes:
    """Return the grids of all clips, frame by frame, as an endless animated GIF. Grey clips are shown exactly.

    Args: clips: [n, C, T, H, W] uint8, C 1 or 3; the first 40 are shown. labels: the class of each.
    """
    shown = _shrunk(clips[:GRID_IMAGES])
    mode = "L" if clips.shape[1] == 1 else "RGB"
    frames = [image_grid(shown[:, :, frame], labels).convert(mode) for frame in range(clips.shape[2])]
    buffer = io.BytesIO()
    frames[0].save(buffer, format="GIF", save_all=True, append_images=frames[1:], duration=FRAME_MILLISECONDS, loop=0)
    return buffer.getvalue()


def strips_png(clips: np.ndarray, labels: Sequence[str]) -> bytes:
    """Return the first clips, each a row of up to ten evenly spaced frames, the first and the last among them.

    Args: as `moving_grid_gif`; eight are shown.
    """
    shown, num_frames = clips[:STRIP_CLIPS], clips.shape[2]
    assert len(labels) >= len(shown), f"{len(labels)} labels for {len(shown)} clips"
    chosen = shown_frames(num_frames)
    columns = len(chosen)
    pictures = shown[:, :, chosen].transpose(0, 2, 1, 3, 4).reshape(-1, *clips.shape[1:2], *clips.shape[3:])
    captions = [label if column == 0 else "" for label in labels[: len(shown)] for column in range(columns)]
    layout = grid_layout(clips.shape[-2:], columns, labels[: len(shown)])
    layout |= {"frames": chosen, "num_frames": num_frames}
    return png_with_layout(arrange(pictures, captions, columns), layout)


def shown_frames(num_frames: int) -> list[int]:
    """Return the frames of a clip that a strip has."""
    evenly = np.linspace(0, num_frames - 1, min(num_frames, STRIP_FRAMES)).round()
    return [int(frame) for frame in np.unique(evenly)]


def _shrunk(clips: np.ndarray) -> np.ndarray:
    """Return clips with sides of at most 128, as means over blocks; incomplete blocks are cut off."""
    *lead, height, width = clips.shape
    factor = -(-max(height, width) // _MOST_SIDE)
    if factor == 1:
        return clips
    high, wide = height // factor, width // factor
    blocks = clips[..., : high * factor, : wide * factor].reshape(*lead, high, factor, wide, factor)
    means: np.ndarray = blocks.mean(axis=(-3, -1)).round().astype(np.uint8)
    return means
