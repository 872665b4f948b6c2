"""The square that a network is trained on, out of an image of any size: the crop of ADM, DiT and EDM."""

from __future__ import annotations

import numpy as np
from PIL import Image


def centre_crop(pixels: np.ndarray, side: int) -> np.ndarray:
    """Halved by boxes while the short side is at least twice `side`, then bicubic, then the centre.

    DiT's `center_crop_arr`. Images that are smaller are enlarged, as there.

    Args: pixels: uint8, [H, W, 3]. Returns: uint8, [side, side, 3].
    """
    image = Image.fromarray(pixels)
    while min(image.size) >= 2 * side:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = side / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    resized = np.asarray(image)
    top, left = (resized.shape[0] - side) // 2, (resized.shape[1] - side) // 2
    return resized[top : top + side, left : left + side]
