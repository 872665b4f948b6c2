"""The square that a network is trained on, out of an image of any size: the crop of ADM, DiT and EDM."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

_MOST_PIXELS = 2**26
"""Largest resized image that the square is cut from; of one that would be larger, a part alone is resized."""
_MARGIN = 8
"""Pixels around a part; bicubic weights of less than half a size reach over 4."""


def centre_crop(pixels: np.ndarray, side: int) -> np.ndarray:
    """Halved by boxes while the short side is at least twice `side`, then bicubic, then the centre.

    DiT's `center_crop_arr`. Images that are smaller are enlarged, as there. An image of 1 x 60,000 would be 11 GB so
    enlarged: its centre is cut out first, which gives the same pixels up to the rounding between Pillow's two passes.

    Args: pixels: uint8, [H, W, 3]. Returns: uint8, [side, side, 3].
    """
    image = Image.fromarray(pixels)
    while min(image.size) >= 2 * side:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = side / min(image.size)
    width, height = round(image.width * scale), round(image.height * scale)
    left, top = (width - side) // 2, (height - side) // 2
    if width * height > _MOST_PIXELS:
        across, down = image.width / width, image.height / height
        return _resized_part(image, (left * across, top * down, (left + side) * across, (top + side) * down), side)
    resized = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    return resized[top : top + side, left : left + side]


def _resized_part(image: Image.Image, box: tuple[float, float, float, float], side: int) -> np.ndarray:
    """Args: box: left, top, right and bottom of the part, in pixels of the image. Returns: uint8, [side, side, 3]."""
    left, top = (max(0, math.floor(start) - _MARGIN) for start in box[:2])
    right, bottom = (math.ceil(end) + _MARGIN for end in box[2:])
    part = image.crop((left, top, min(right, image.width), min(bottom, image.height)))
    inside = (box[0] - left, box[1] - top, min(box[2] - left, part.width), min(box[3] - top, part.height))
    return np.asarray(part.resize((side, side), Image.Resampling.BICUBIC, inside))
