"""The pixels that a network is trained on, out of an image of any size: the crop of ADM, DiT and EDM."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

_MOST_PIXELS = 2**26
"""Largest resized image that the centre is cut from; of one that would be larger, a part alone is resized."""
_MARGIN = 8
"""Pixels around a part; bicubic weights of less than half a size reach over 4."""


def centre_crop(pixels: np.ndarray, side: int) -> np.ndarray:
    """Return the square of a side; see `cover_crop`. DiT's `center_crop_arr`.

    Args: pixels: uint8, [H, W, 3]. Returns: uint8, [side, side, 3].
    """
    return cover_crop(pixels, side, side)


def cover_crop(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the centre of an image that was resized to cover a size: halved by boxes while both sides are at least
    twice as large, then bicubic.

    Images that are smaller are enlarged. An image of 1 x 60,000 would be 11 GB so enlarged: its centre is cut out
    first, which gives the same pixels up to the rounding between Pillow's two passes.

    Args: pixels: uint8, [H, W, 3]. Returns: uint8, [height, width, 3].
    """
    image = Image.fromarray(pixels)
    while image.width >= 2 * width and image.height >= 2 * height:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = max(width / image.width, height / image.height)
    full = round(image.width * scale), round(image.height * scale)
    left, top = (full[0] - width) // 2, (full[1] - height) // 2
    if full[0] * full[1] > _MOST_PIXELS:
        across, down = image.width / full[0], image.height / full[1]
        box = left * across, top * down, (left + width) * across, (top + height) * down
        return _resized_part(image, box, (width, height))
    resized = np.asarray(image.resize(full, Image.Resampling.BICUBIC))
    return resized[top : top + height, left : left + width]


def _resized_part(image: Image.Image, box: tuple[float, float, float, float], size: tuple[int, int]) -> np.ndarray:
    """Args: box: left, top, right and bottom of the part, in pixels of the image. size: width and height.

    Returns: uint8, [height, width, 3].
    """
    left, top = (max(0, math.floor(start) - _MARGIN) for start in box[:2])
    right, bottom = (math.ceil(end) + _MARGIN for end in box[2:])
    part = image.crop((left, top, min(right, image.width), min(bottom, image.height)))
    inside = (box[0] - left, box[1] - top, min(box[2] - left, part.width), min(box[3] - top, part.height))
    return np.asarray(part.resize(size, Image.Resampling.BICUBIC, inside))
