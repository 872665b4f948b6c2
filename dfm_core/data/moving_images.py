"""Clips of still images in motion: videos for CPUs, computed and not stored.

Each image is shrunk and crosses a black canvas in a straight line, on both axes at once, and turns at the walls.
"""

from __future__ import annotations

import numpy as np

from dfm_core.catalog.datasets import Motion
from dfm_core.seeding import sample_generator

_SEED = 0


def moving_clips(images: np.ndarray, motion: Motion, frames: int, canvas: int, split: str) -> np.ndarray:
    """Return one clip of each image. Clip i depends on its image, its motion on (split, i) alone.

    Args: images: uint8, [N, H, H]. frames: of a clip. canvas: side of the frames, at least `motion.side`.
        split: the clips of two splits move differently.
    Returns: uint8, [N, T, canvas, canvas].
    """
    shrunk = shrink(images, motion.side)
    corners = corner_positions(len(images), motion, frames, canvas, split)
    clips = np.zeros((len(images), frames, canvas, canvas), np.uint8)
    clip, frame, row, column = np.ogrid[: len(images), :frames, : motion.side, : motion.side]
    top, left = corners[..., 0], corners[..., 1]
    clips[clip, frame, top[..., None, None] + row, left[..., None, None] + column] = shrunk[:, None]
    return clips


def corner_positions(num_clips: int, motion: Motion, frames: int, canvas: int, split: str) -> np.ndarray:
    """Row and column of each image's upper left pixel in each frame, [N, T, 2] int64.

    The way along an axis starts anywhere, has a constant speed of up to `motion.max_speed` pixels a frame, and is
    reflected at both walls; then it is rounded to whole pixels, so that every frame shows the same image.
    """
    room = canvas - motion.side
    draws = np.array([sample_generator(_SEED, f"motion/{split}", clip).random(4) for clip in range(num_clips)])
    start, speed = draws[:, None, :2] * room, (2 * draws[:, None, 2:] - 1) * (motion.max_speed if room else 0.0)
    way = start + speed * np.arange(frames)[None, :, None]
    place: np.ndarray = np.rint(room - np.abs(way % max(2 * room, 1) - room)).astype(np.int64)
    return place


def shrink(images: np.ndarray, side: int) -> np.ndarray:
    """Means over the areas that new pixels cover of old ones, in whole numbers, so that no machine rounds differently.

    Args: images: uint8, [N, H, H]. Returns: uint8, [N, side, side], halves rounded up.
    """
    old = images.shape[-1]
    fine = np.arange(old * side)  # both grids divide it
    overlap = np.zeros((side, old), np.int64)
    np.add.at(overlap, (fine // old, fine // side), 1)  # each row sums to old
    total = np.einsum("ij,njk,lk->nil", overlap, images.astype(np.int64), overlap, optimize=True)
    means: np.ndarray = ((total + old**2 // 2) // old**2).astype(np.uint8)
    return means
