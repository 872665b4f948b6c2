"""Preprocessing of 8-bit pixels for each feature network. Filter, antialiasing and rounding are part of a metric.

Golden numbers of the original implementations: `fid_resize`, `fvd_preprocess`, `image_preprocessing`.
Pillow's filters work on the CPU and round to 8 bits, which DINOv2's and CLIP's published numbers contain.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from dfm_core.catalog.feature_networks import FEATURE_NETWORKS

INCEPTION_SIDE = 299
VIT_SIDE = 224
I3D_SIDE = 224
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def as_rgb_images(pixels: Tensor) -> Tensor:
    """8-bit images [B, 1 or 3, H, W] as [B, 3, H, W] uint8; grey is repeated. Raises: ValueError for anything else."""
    return _as_rgb(pixels, 4, "images [B, C, H, W]")


def as_rgb_clips(pixels: Tensor) -> Tensor:
    """8-bit clips [B, 1 or 3, T, H, W] as [B, 3, T, H, W] uint8; grey is repeated. Raises: ValueError otherwise."""
    return _as_rgb(pixels, 5, "clips [B, C, T, H, W]")


def fid_input(pixels: Tensor) -> Tensor:
    """Input of Inception as pytorch-fid makes it: / 255, bilinear to 299 x 299, [-1, 1].

    Args: pixels: [B, 1 or 3, H, W] uint8. Returns: [B, 3, 299, 299] float32.
    """
    return 2.0 * resize_bilinear(as_rgb_images(pixels).float() / 255.0, (INCEPTION_SIDE, INCEPTION_SIDE)) - 1.0


def fid_input_tensorflow(pixels: Tensor) -> Tensor:
    """Input of Inception as its TensorFlow graph makes it: TensorFlow 1's bilinear to 299 x 299, (v - 128) / 128.

    Args: pixels: [B, 1 or 3, H, W] uint8. Returns: [B, 3, 299, 299] float32, from -1 to 127 / 128.
    """
    return (resize_bilinear_tensorflow(as_rgb_images(pixels).float(), INCEPTION_SIDE) - 128.0) / 128.0


def fdd_input(pixels: Tensor) -> Tensor:
    """Input of DINOv2 as dgm-eval makes it: squashed to 224 x 224 by Pillow's bicubic, / 255, ImageNet mean and std.

    Args: pixels: [B, 1 or 3, H, W] uint8. Returns: [B, 3, 224, 224] float32 on the CPU.
    """
    resized = [_pillow_bicubic(image, VIT_SIDE, VIT_SIDE) for image in as_rgb_images(pixels).cpu()]
    return _standardize(torch.stack(resized), IMAGENET_MEAN, IMAGENET_STD)


def clip_input(pixels: Tensor) -> Tensor:
    """Input of CLIP: Pillow's bicubic of the short side to 224, centre crop, / 255, CLIP's mean and std.

    Args: pixels: [B, 1 or 3, H, W] uint8. Returns: [B, 3, 224, 224] float32 on the CPU.
    """
    images = as_rgb_images(pixels).cpu()
    height, width = images.shape[-2:]
    short = min(height, width)
    height, width = VIT_SIDE * height // short, VIT_SIDE * width // short
    top, left = round((height - VIT_SIDE) / 2), round((width - VIT_SIDE) / 2)
    resized = torch.stack([_pillow_bicubic(image, height, width) for image in images])
    return _standardize(resized[..., top : top + VIT_SIDE, left : left + VIT_SIDE], CLIP_MEAN, CLIP_STD)


def fvd_input(pixels: Tensor) -> Tensor:
    """Input of I3D as StyleGAN-V makes it: / 255, short side bilinear to 224, centre crop, [-1, 1].

    Args: pixels: [B, 1 or 3, T, H, W] uint8, T at least 10. Returns: [B, 3, T, 224, 224] float32.
    Raises: ValueError for fewer frames.
    """
    clips = as_rgb_clips(pixels)
    needed = FEATURE_NETWORKS["i3d"].min_frames
    if clips.shape[2] < needed:
        raise ValueError(f"I3D needs clips of {needed} frames or more, got {clips.shape[2]}")
    return 2.0 * centre_of_frames(clips.float() / 255.0, I3D_SIDE) - 1.0


def resize_bilinear(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear between pixel centres, without antialiasing; [B, C, H, W] -> [B, C, *size]."""
    return interpolate(images, size=size, mode="bilinear", align_corners=False)


def resize_bilinear_tensorflow(images: Tensor, side: int) -> Tensor:
    """Bilinear as in TensorFlow 1: pixel i reads at i * (old / new), so that the first pixels coincide.

    [B, C, H, W] -> [B, C, side, side]; the image shifts by half a pixel towards the top left.
    """
    rows, columns = (_tensorflow_taps(old, side, images.device) for old in images.shape[-2:])
    return _blend(_blend(images, -1, *columns), -2, *rows)


def centre_of_frames(clips: Tensor, side: int) -> Tensor:
    """Short side bilinear to `side`, long side rounded up, centre crop; [B, C, T, H, W] -> [B, C, T, side, side]."""
    batch, channels, frames, height, width = clips.shape
    scale = side / min(height, width)
    size = (side, math.ceil(width * scale)) if height < width else (math.ceil(height * scale), side)
    resized = resize_bilinear(clips.flatten(1, 2), size)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    return resized[..., top : top + side, left : left + side].reshape(batch, channels, frames, side, side)


def _as_rgb(pixels: Tensor, num_axes: int, expected: str) -> Tensor:
    if pixels.dtype != torch.uint8:
        raise ValueError(f"feature networks take 8-bit values (uint8), got {pixels.dtype}")
    if pixels.ndim != num_axes or pixels.shape[1] not in (1, 3) or pixels.numel() == 0:
        raise ValueError(f"feature networks take {expected} with 1 or 3 channels, got shape {list(pixels.shape)}")
    return pixels.expand(-1, 3, *pixels.shape[2:])


def _pillow_bicubic(image: Tensor, height: int, width: int) -> Tensor:
    """[3, H, W] uint8 -> [3, height, width] uint8; the filter widens when shrinking."""
    resized = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)


def _standardize(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return (pixels.float() / 255.0 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def _tensorflow_taps(old: int, new: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the two old pixels around each new one and the weight of the second, [new] each."""
    position = torch.arange(new, device=device, dtype=torch.float32) * (old / new)
    first = position.floor().long().clamp(max=old - 1)
    return first, (first + 1).clamp(max=old - 1), position - first


def _blend(images: Tensor, axis: int, first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    weight = weight if axis == -1 else weight[:, None]
    low, high = images.index_select(axis, first), images.index_select(axis, second)
    return low + (high - low) * weight
