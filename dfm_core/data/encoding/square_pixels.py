"""Square pixels to encode, from the content of files of images and clips."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dfm_core.data.files.centre_crop import centre_crop
from dfm_core.data.files.clips import ClipSpec, decode_clip
from dfm_core.data.files.image_files import MAX_SOURCE_PIXELS, decode_image


def image_square(content: bytes, side: int) -> Tensor:
    """An image, cropped as ADM, DiT and EDM do. Grey is repeated, CMYK converted; `decode_image` says what is refused.

    Returns: uint8, [3, side, side]. Raises: UnusableImageError.
    """
    pixels = centre_crop(image_pixels(content), side)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous()


def image_pixels(content: bytes) -> np.ndarray[Any, Any]:
    """An image whole. Returns: uint8, [H, W, 3]. Raises: UnusableImageError."""
    return decode_image(content, channels=3, max_pixels=MAX_SOURCE_PIXELS)


def clip_square(content: bytes, spec: ClipSpec) -> Tensor:
    """A clip, each frame cropped as an image is. Returns: uint8, [3, T, side, side]. Raises: UnusableImageError."""
    return torch.from_numpy(decode_clip(content, spec)).permute(3, 0, 1, 2).contiguous()


def with_mirror_images(pixels: Tensor) -> Tensor:
    """Return each sample followed by its horizontal flip, which is encoded for itself: a latent's flip is another one.

    Args: pixels: [B, C, ..., W]. Returns: [2B, C, ..., W].
    """
    return torch.stack([pixels, pixels.flip(-1)], dim=1).flatten(0, 1)
