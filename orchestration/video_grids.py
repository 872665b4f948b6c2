"""Grids of videos for people: all frames in motion, and the frames of some clips in a row.

A measurement of videos leaves three pictures of the same samples: `samples.png`, the grid of `image_grid` with each
clip's middle frame; `samples.gif`, that grid in motion; and `samples_strips.png`, one clip a row. The last says in its
text `dfm.grid` how to cut it: `frames` are the numbers of the frames in its columns, out of `num_frames`, and `labels`
has one entry for each row.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from orchestration.grids import GRID_IMAGES, arranged, grid_layout, image_grid, png_with_layout

STRIP_CLIPS, STRIP_FRAMES = 8, 10
FRAME_MILLISECONDS = 120
_MOST_SIDE = 128
"""Of a clip in motion; larger ones are shown smaller, by a whole factor: a GIF has every frame."""


def moving_grid_gif(clips: np.ndarray, labels: Sequence[str]) -> bytes:
    """The grid of all clips' frames at a time, over and over, as an animated GIF. Grey clips are shown exactly.

    Args: clips: [n, C, T, H, W] uint8, C 1 or 3; the first 40 are shown. labels: the class of each.
    """
    shown = _shrunk(clips[:GRID_IMAGES])
    mode = "L" if clips.shape[1] == 1 else "RGB"
    frames = [image_grid(shown[:, :, frame], labels).convert(mode) for frame in range(clips.shape[2])]
    buffer = io.BytesIO()
    frames[0].save(buffer, format="GIF", save_all=True, append_images=frames[1:], duration=FRAME_MILLISECONDS, loop=0)
    return buffer.getvalue()


def strips_png(clips: np.ndarray, labels: Sequence[str]) -> bytes:
    """The first clips, each a row of up to ten evenly spaced frames, the first and the last among them.

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
    return png_with_layout(arranged(pictures, captions, columns), layout)


def shown_frames(num_frames: int) -> list[int]:
    """Which frames of a clip a strip has."""
    evenly = np.linspace(0, num_frames - 1, min(num_frames, STRIP_FRAMES)).round()
    return [int(frame) for frame in np.unique(evenly)]


def _shrunk(clips: np.ndarray) -> np.ndarray:
    """Clips with sides of at most 128, by means over blocks; what is left of a block is cut off."""
    *lead, height, width = clips.shape
    factor = -(-max(height, width) // _MOST_SIDE)
    if factor == 1:
        return clips
    high, wide = height // factor, width // factor
    blocks = clips[..., : high * factor, : wide * factor].reshape(*lead, high, factor, wide, factor)
    means: np.ndarray = blocks.mean(axis=(-3, -1)).round().astype(np.uint8)
    return means
